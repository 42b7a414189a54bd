//! The random changes of an image in an epoch, drawn from seed, epoch and the image's number.

use kiln_model::{
    AugMix, Augmentation, ColorJitter, ErasingValue, RandAugment, RandomErasing, RandomResizedCrop,
};
use kiln_preprocess::{Adjustment, Crop, Erasing, Filling, Mixture, Transform};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use rand_distr::{Distribution, Gamma};

use crate::random::{Change, Use, generator};

/// The transform of an image of this height and width in an epoch: it follows from the arguments
/// alone, whichever thread asks and whatever it asked before.
///
/// Every number is drawn whether or not the augmentation has a use for it, so that a setting leaves
/// the others' alone.
pub(crate) fn draw(
    augmentation: &Augmentation,
    seed: u64,
    epoch: u64,
    index: u32,
    size: [usize; 2],
) -> Transform {
    let numbers = |change| {
        generator(
            seed,
            Use::Image {
                change,
                epoch,
                index,
            },
        )
    };
    let mut rng = numbers(Change::Keras);
    let mut share = || rng.random::<f64>();
    let mut within = |low: f64, high: f64| low + (high - low) * share();
    let rotation = within(-1.0, 1.0) * augmentation.rotation_range;
    let down = within(-1.0, 1.0) * pixels(augmentation.height_shift_range, size[0]);
    let across = within(-1.0, 1.0) * pixels(augmentation.width_shift_range, size[1]);
    let shear = within(-1.0, 1.0) * augmentation.shear_range;
    let [low, high] = augmentation.zoom_range;
    let zoom = [within(low, high), within(low, high)];
    let [mirrored, upside_down] = [within(0.0, 1.0) < 0.5, within(0.0, 1.0) < 0.5];
    let [low, high] = augmentation.brightness_range.unwrap_or([1.0, 1.0]);
    let brightness = within(low, high) as f32;
    let channel_shift = (within(-1.0, 1.0) * augmentation.channel_shift_range) as f32;
    let mut adjustments = Vec::new();
    if let Some(wanted) = &augmentation.color_jitter {
        adjustments.extend(jitter(wanted, &mut numbers(Change::Jitter)));
    }
    if let Some(wanted) = augmentation.rand_augment {
        let mut rng = numbers(Change::Policy);
        let ops = (0..wanted.num_ops).filter_map(|_| rand_augment(wanted, size, &mut rng));
        adjustments.extend(ops);
    }
    if augmentation.trivial_augment_wide {
        adjustments.extend(trivial_augment_wide(&mut numbers(Change::Policy)));
    }
    Transform {
        crop: augmentation
            .random_resized_crop
            .map(|wanted| crop(&wanted, &mut numbers(Change::Crop))),
        rotation,
        shift: [down, across],
        shear,
        zoom,
        horizontal_flip: augmentation.horizontal_flip && mirrored,
        vertical_flip: augmentation.vertical_flip && upside_down,
        channel_shift,
        brightness: augmentation.brightness_range.map(|_| brightness),
        fill_mode: augmentation.fill_mode,
        cval: augmentation.cval.unwrap_or(0.0),
        adjustments,
        mixture: augmentation
            .aug_mix
            .map(|wanted| aug_mix(&wanted, size, &mut numbers(Change::AugMix))),
        erasing: augmentation
            .random_erasing
            .and_then(|wanted| erasing(&wanted, size, &mut numbers(Change::Erasing))),
    }
}

/// Rectangles that are tried until one fits, as in torchvision.
const TRIES: usize = 10;

/// A number from `low` to `high`.
fn within(rng: &mut ChaCha8Rng, [low, high]: [f64; 2]) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

/// A number whose logarithm is drawn uniformly.
fn ratio(rng: &mut ChaCha8Rng, range: [f64; 2]) -> f64 {
    within(rng, range.map(f64::ln)).exp()
}

/// The part of an image that is seen, by the rules of torchvision's `RandomResizedCrop`.
fn crop(wanted: &RandomResizedCrop, rng: &mut ChaCha8Rng) -> Crop {
    Crop {
        tries: (0..TRIES)
            .map(|_| [within(rng, wanted.scale), ratio(rng, wanted.ratio)])
            .collect(),
        place: [rng.random(), rng.random()],
        ratio: wanted.ratio,
    }
}

/// The changes of torchvision's `ColorJitter` in their order; those that change nothing are left out.
fn jitter(wanted: &ColorJitter, rng: &mut ChaCha8Rng) -> Vec<Adjustment> {
    let mut all = [
        Adjustment::Brightness(within(rng, wanted.brightness)),
        Adjustment::Contrast(within(rng, wanted.contrast)),
        Adjustment::Saturation(within(rng, wanted.saturation)),
        Adjustment::Hue(within(rng, [-wanted.hue, wanted.hue])),
    ];
    all.shuffle(rng);
    let changes = |it: &Adjustment| match *it {
        Adjustment::Hue(by) => by.abs() > 0.0,
        Adjustment::Brightness(factor)
        | Adjustment::Contrast(factor)
        | Adjustment::Saturation(factor) => (factor - 1.0).abs() > 0.0,
        _ => true,
    };
    all.into_iter().filter(changes).collect()
}

/// Largest strengths of a policy's changes.
struct Strengths {
    /// Pixels by which a row or a column moves against the one before it.
    shear: f64,
    /// Pixels down and across.
    translation: [f64; 2],
    /// Degrees.
    rotation: f64,
    /// Distance of a factor of color or sharpness from 1.
    factor: f64,
    /// Bits that posterizing takes away, of so many.
    bits: [f64; 2],
}

/// One of the 14 changes of torchvision's `RandAugment` for an image of this height and width; none where it
/// is to stay as it is.
fn rand_augment(
    wanted: RandAugment,
    [height, width]: [usize; 2],
    rng: &mut ChaCha8Rng,
) -> Option<Adjustment> {
    let strengths = Strengths {
        shear: 0.3,
        translation: [height, width].map(|side| 150.0 / 331.0 * side as f64),
        rotation: 30.0,
        factor: 0.9,
        bits: [4.0, 8.0],
    };
    one_of_14(&strengths, wanted.magnitude, rng)
}

/// The change of torchvision's `TrivialAugmentWide`.
fn trivial_augment_wide(rng: &mut ChaCha8Rng) -> Option<Adjustment> {
    let strengths = Strengths {
        shear: 0.99,
        translation: [32.0; 2],
        rotation: 135.0,
        factor: 0.99,
        bits: [6.0, 8.0],
    };
    let magnitude = rng.random_range(0..=RandAugment::MAX_MAGNITUDE);
    one_of_14(&strengths, magnitude, rng)
}

/// One of 14 changes, each as likely, with a share of its largest strength and as likely to the one side as
/// to the other; none where the image is to stay as it is.
fn one_of_14(strengths: &Strengths, magnitude: usize, rng: &mut ChaCha8Rng) -> Option<Adjustment> {
    let share = magnitude as f64 / RandAugment::MAX_MAGNITUDE as f64;
    let change = rng.random_range(0..14);
    let is_negative = rng.random::<f64>() < 0.5;
    (change > 0).then(|| strengths.change(change, share, is_negative))
}

/// The chains of torchvision's `AugMix` for an image of this height and width.
fn aug_mix(wanted: &AugMix, [height, width]: [usize; 2], rng: &mut ChaCha8Rng) -> Mixture {
    let strengths = Strengths {
        shear: 0.3,
        translation: [height, width].map(|side| side as f64 / 3.0),
        rotation: 30.0,
        factor: 0.9,
        bits: [4.0, 4.0],
    };
    // Without the factors of color and sharpness, and with them.
    let changes: &[usize] = if wanted.all_ops {
        &[1, 2, 3, 4, 5, 10, 11, 12, 13, 6, 7, 8, 9]
    } else {
        &[1, 2, 3, 4, 5, 10, 11, 12, 13]
    };
    let both = shares(wanted.alpha, 2, rng);
    let of_chains = shares(wanted.alpha, wanted.mixture_width, rng);
    let chains = of_chains.into_iter().map(|share| {
        let depth = match usize::try_from(wanted.chain_depth) {
            Ok(depth @ 1..) => depth,
            _ => rng.random_range(1..=3),
        };
        let adjustments = (0..depth).map(|_| {
            let change = changes[rng.random_range(0..changes.len())];
            let strength = rng.random_range(0..wanted.severity);
            let share = strength as f64 / (AugMix::MAX_SEVERITY - 1) as f64;
            strengths.change(change, share, rng.random::<f64>() < 0.5)
        });
        let adjustments = adjustments.collect();
        (share * both[1], adjustments)
    });
    Mixture {
        chains: chains.collect(),
        own: both[0],
    }
}

/// Parameter of a Dirichlet distribution from which on shares differ by thousandths at most.
const MOST_ALIKE: f64 = 1e6;

/// Shares of a Dirichlet distribution whose parameters all are this number.
fn shares(alpha: f64, count: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let Ok(gamma) = Gamma::new(alpha.min(MOST_ALIKE), 1.0) else {
        return vec![1.0 / count as f32; count];
    };
    let numbers: Vec<f64> = (0..count).map(|_| gamma.sample(rng)).collect();
    let sum: f64 = numbers.iter().sum();
    if sum.is_normal() {
        return numbers.iter().map(|it| (it / sum) as f32).collect();
    }
    // One near 0 gives everything to one of them, and all numbers may have been too small.
    let whole = rng.random_range(0..count);
    (0..count).map(|at| f32::from(at == whole)).collect()
}

impl Strengths {
    /// The change of this number, 1 to 13, with a share of its largest strength, to either side.
    fn change(&self, number: usize, share: f64, is_negative: bool) -> Adjustment {
        let share_to_a_side = if is_negative { -share } else { share };
        let signed = |most: f64| most * share_to_a_side;
        let [down, across] = self.translation;
        match number {
            1 => Adjustment::ShearX(signed(self.shear)),
            2 => Adjustment::ShearY(signed(self.shear)),
            3 => Adjustment::TranslateX(signed(across).trunc()),
            4 => Adjustment::TranslateY(signed(down).trunc()),
            5 => Adjustment::Rotate(signed(self.rotation)),
            6 => Adjustment::Brightness(1.0 + signed(self.factor)),
            7 => Adjustment::Saturation(1.0 + signed(self.factor)),
            8 => Adjustment::Contrast(1.0 + signed(self.factor)),
            9 => Adjustment::Sharpness(1.0 + signed(self.factor)),
            10 => {
                let [taken, of] = self.bits;
                Adjustment::Posterize((of - (taken * share).round()) as u32)
            }
            11 => Adjustment::Solarize(255.0 * (1.0 - share)),
            12 => Adjustment::AutoContrast,
            _ => Adjustment::Equalize,
        }
    }
}

/// The rectangle that is erased, by the rules of torchvision's `RandomErasing`: it is lower and
/// narrower than the image; none where no try gives such a one.
fn erasing(
    wanted: &RandomErasing,
    [height, width]: [usize; 2],
    rng: &mut ChaCha8Rng,
) -> Option<Erasing> {
    let noise = rng.random::<u64>();
    if rng.random::<f64>() >= wanted.probability {
        return None;
    }
    let size = (0..TRIES).find_map(|_| {
        let area = within(rng, wanted.scale) * (height * width) as f64;
        let ratio = ratio(rng, wanted.ratio);
        let size = [area * ratio, area / ratio].map(|it| it.sqrt().round_ties_even() as usize);
        (size[0] < height && size[1] < width).then_some(size)
    })?;
    // Any whole number from 0 to the room that is left.
    let mut place = |room: usize| within(rng, [0.0, room as f64 + 1.0]).min(room as f64) as usize;
    let from = [place(height - size[0]), place(width - size[1])];
    let filling = match wanted.value {
        ErasingValue::Number(value) => Filling::Constant(value as f32),
        ErasingValue::Random => Filling::Noise(noise),
    };
    Some(Erasing {
        from,
        size,
        filling,
    })
}

/// A range of shifts in pixels: below 1 it is a share of the side.
fn pixels(range: f64, side: usize) -> f64 {
    if range < 1.0 {
        range * side as f64
    } else {
        range
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn seed_epoch_and_image_make_a_difference_and_nothing_else() {
        let augmentation = Augmentation {
            rotation_range: 10.0,
            ..Augmentation::default()
        };
        let rotation = |seed, epoch, index| {
            draw(&augmentation, seed, epoch, index, [8, 8])
                .rotation
                .to_bits()
        };
        let all = [
            rotation(1, 1, 1),
            rotation(2, 1, 1),
            rotation(1, 2, 1),
            rotation(1, 1, 2),
            rotation(1, 1, 0),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(!all[..i].contains(one), "{all:?}");
        }
        assert_eq!(rotation(1, 1, 1), all[0]);
        let more = Augmentation {
            zoom_range: [0.5, 2.0],
            horizontal_flip: true,
            ..augmentation
        };
        assert_eq!(draw(&more, 1, 1, 1, [8, 8]).rotation.to_bits(), all[0]);
    }

    #[test]
    fn flips_come_half_of_the_time() {
        let augmentation = Augmentation {
            horizontal_flip: true,
            ..Augmentation::default()
        };
        let flips = (0..10_000)
            .filter(|&index| draw(&augmentation, 3, 1, index, [8, 8]).horizontal_flip)
            .count();
        // Five standard deviations.
        assert!(flips.abs_diff(5_000) < 250, "{flips}");
    }

    /// Training runs are repeated by these numbers: they must stay what they are, and erasing takes
    /// none of them.
    #[test]
    fn changes_as_in_keras_are_pinned() {
        let keras = Augmentation {
            rotation_range: 90.0,
            width_shift_range: 4.0,
            height_shift_range: 4.0,
            shear_range: 45.0,
            zoom_range: [0.5, 1.5],
            horizontal_flip: true,
            vertical_flip: true,
            channel_shift_range: 100.0,
            brightness_range: Some([0.5, 1.5]),
            ..Augmentation::default()
        };
        let drawn = draw(&keras, 42, 3, 7, [8, 8]);
        assert_eq!(format!("{drawn:?}"), PINNED);
        let erased = Augmentation {
            random_erasing: Some(always(ErasingValue::Random)),
            ..keras
        };
        let with_erasing = draw(&erased, 42, 3, 7, [8, 8]);
        assert!(with_erasing.erasing.is_some());
        assert_eq!(
            Transform {
                erasing: None,
                ..with_erasing
            },
            drawn
        );
    }

    const PINNED: &str = "Transform { crop: None, rotation: -66.79140112986681, shift: [2.538512476543474, 0.6753310033414754], \
        shear: -26.551057095978205, zoom: [1.0718541862813766, 1.1629546875470773], horizontal_flip: false, \
        vertical_flip: false, channel_shift: -89.0865, brightness: Some(0.63805616), fill_mode: Nearest, cval: 0.0, \
        adjustments: [], mixture: None, erasing: None }";

    fn erased(
        wanted: &RandomErasing,
        seed: u64,
        epoch: u64,
        index: u32,
        size: [usize; 2],
    ) -> Option<Erasing> {
        let purpose = Use::Image {
            change: Change::Erasing,
            epoch,
            index,
        };
        erasing(wanted, size, &mut generator(seed, purpose))
    }

    fn drawn(augmentation: &Augmentation) -> impl Iterator<Item = Transform> {
        (0..10_000).map(|index| draw(augmentation, 5, 2, index, [200, 100]))
    }

    #[test]
    fn a_setting_leaves_the_others_changes_as_they_are() {
        let all = Augmentation {
            random_resized_crop: Some(RandomResizedCrop::default()),
            color_jitter: Some(ColorJitter {
                hue: 0.5,
                ..ColorJitter::default()
            }),
            trivial_augment_wide: true,
            aug_mix: Some(AugMix::default()),
            random_erasing: Some(always(ErasingValue::Random)),
            ..Augmentation::default()
        };
        let without_jitter = Augmentation {
            color_jitter: None,
            ..all
        };
        for (with, mut without) in drawn(&all).zip(drawn(&without_jitter)).take(100) {
            assert!(matches!(with.adjustments[0], Adjustment::Hue(_)));
            without.adjustments.insert(0, with.adjustments[0]);
            assert_eq!(with, without);
        }
    }

    #[test]
    fn each_of_14_changes_is_as_likely_and_as_strong_as_it_should_be() {
        let wanted = Augmentation {
            rand_augment: Some(RandAugment {
                num_ops: 1,
                magnitude: 23,
            }),
            ..Augmentation::default()
        };
        let mut counts = std::collections::BTreeMap::new();
        let mut to_the_left = 0;
        for transform in drawn(&wanted) {
            let change = transform.adjustments.first();
            let name = format!("{change:?}");
            *counts
                .entry(name.split(['(', ')']).nth(1).unwrap_or("None").to_owned())
                .or_insert(0) += 1;
            match change {
                // `RandAugment()._AUGMENTATION_SPACE` of torchvision 0.29, 31 bins, 200 by 100 pixels, at 23.
                Some(Adjustment::ShearX(by)) => assert!((by.abs() - 0.23).abs() < 1e-9),
                Some(Adjustment::TranslateX(by)) => {
                    assert!((by.abs() - 34.0).abs() < 1e-9);
                    to_the_left += usize::from(*by < 0.0);
                }
                Some(Adjustment::TranslateY(by)) => assert!((by.abs() - 69.0).abs() < 1e-9),
                Some(Adjustment::Rotate(by)) => assert!((by.abs() - 23.0).abs() < 1e-9),
                Some(Adjustment::Sharpness(by)) => assert!(((by - 1.0).abs() - 0.69).abs() < 1e-9),
                Some(Adjustment::Posterize(bits)) => assert_eq!(*bits, 5),
                Some(Adjustment::Solarize(from)) => assert!((from - 59.5).abs() < 1e-9),
                _ => {}
            }
        }
        assert_eq!(counts.len(), 14, "{counts:?}");
        // Five standard deviations of 10 000 / 14.
        assert!(
            counts.values().all(|count: &i32| count.abs_diff(714) < 129),
            "{counts:?}"
        );
        let moved = counts["TranslateX"] as usize;
        assert!(
            to_the_left.abs_diff(moved / 2) < 70,
            "{to_the_left} of {moved}"
        );
    }

    #[test]
    fn one_change_of_any_strength_is_made_by_trivial_augment() {
        let wanted = Augmentation {
            trivial_augment_wide: true,
            ..Augmentation::default()
        };
        let mut degrees = Vec::new();
        for transform in drawn(&wanted) {
            assert!(transform.adjustments.len() <= 1);
            if let Some(Adjustment::Rotate(by)) = transform.adjustments.first() {
                degrees.push(by.abs().round() as u32);
            }
        }
        degrees.sort_unstable();
        degrees.dedup();
        assert_eq!(degrees.len(), 31, "{degrees:?}");
        assert_eq!((degrees[0], degrees[30]), (0, 135));
    }

    #[test]
    fn chains_of_aug_mix_have_the_changes_and_shares_that_they_should() {
        let aug_mix = AugMix {
            severity: 10,
            ..AugMix::default()
        };
        let wanted = Augmentation {
            aug_mix: Some(aug_mix),
            ..Augmentation::default()
        };
        let (mut depths, mut kinds) = ([0_usize; 4], std::collections::BTreeMap::new());
        let mut own = 0.0;
        for transform in drawn(&wanted) {
            let mixture = transform.mixture.unwrap();
            assert_eq!(mixture.chains.len(), 3);
            let sum = mixture.own + mixture.chains.iter().map(|(share, _)| share).sum::<f32>();
            assert!((sum - 1.0).abs() < 1e-6, "{sum}");
            own += f64::from(mixture.own);
            for (_, adjustments) in &mixture.chains {
                depths[adjustments.len()] += 1;
                for it in adjustments {
                    // `AugMix()._AUGMENTATION_SPACE` of torchvision 0.29, 10 bins, 200 by 100 pixels.
                    match it {
                        Adjustment::TranslateX(by) => assert!(by.abs() <= 33.0),
                        Adjustment::TranslateY(by) => assert!(by.abs() <= 66.0),
                        Adjustment::Posterize(bits) => assert!(*bits <= 4),
                        _ => {}
                    }
                    let name = format!("{it:?}");
                    let name = name.split('(').next().unwrap().to_owned();
                    *kinds.entry(name).or_insert(0_usize) += 1;
                }
            }
        }
        // Five standard deviations.
        assert!((own / 1e4 - 0.5).abs() < 0.0145, "{own}");
        assert_eq!(depths[0], 0);
        assert!(
            depths[1..].iter().all(|it| it.abs_diff(10_000) < 409),
            "{depths:?}"
        );
        assert_eq!(kinds.len(), 13, "{kinds:?}");
        assert!(
            kinds.values().all(|it| it.abs_diff(60_000 / 13) < 330),
            "{kinds:?}"
        );

        let deep = AugMix {
            mixture_width: 1,
            chain_depth: 5,
            all_ops: false,
            ..aug_mix
        };
        let wanted = Augmentation {
            aug_mix: Some(deep),
            ..Augmentation::default()
        };
        for transform in drawn(&wanted).take(1000) {
            let chains = transform.mixture.unwrap().chains;
            assert_eq!((chains.len(), chains[0].1.len()), (1, 5));
            let is_factor = |it: &Adjustment| {
                matches!(
                    it,
                    Adjustment::Brightness(_)
                        | Adjustment::Saturation(_)
                        | Adjustment::Contrast(_)
                        | Adjustment::Sharpness(_)
                )
            };
            assert!(!chains[0].1.iter().any(is_factor));
        }
    }

    #[test]
    fn posterizing_by_aug_mix_keeps_as_many_bits_as_in_torchvision() {
        let strengths = Strengths {
            shear: 0.0,
            translation: [0.0; 2],
            rotation: 0.0,
            factor: 0.0,
            bits: [4.0, 4.0],
        };
        let bits = (0..10).map(|strength| strengths.change(10, f64::from(strength) / 9.0, false));
        let expected = [4, 4, 3, 3, 2, 2, 1, 1, 0, 0].map(Adjustment::Posterize);
        assert!(bits.eq(expected));
    }

    #[test]
    fn shares_of_any_parameter_make_one() {
        let mut rng = generator(1, Use::Selection);
        for alpha in [1e-300, 1e-3, 0.5, 1.0, 40.0, 1e300, f64::MAX] {
            for count in 1..5 {
                let shares = shares(alpha, count, &mut rng);
                let sum: f32 = shares.iter().sum();
                assert!(
                    shares.len() == count && (sum - 1.0).abs() < 1e-5,
                    "{alpha}: {shares:?}"
                );
            }
        }
    }

    #[test]
    fn colors_are_jittered_within_their_ranges_in_any_order() {
        let wanted = Augmentation {
            color_jitter: Some(ColorJitter {
                brightness: [0.5, 0.75],
                contrast: [1.5, 2.0],
                saturation: [0.0, 0.25],
                hue: 0.1,
            }),
            ..Augmentation::default()
        };
        let mut first_is_hue = 0;
        for transform in drawn(&wanted) {
            assert_eq!(transform.adjustments.len(), 4);
            first_is_hue += usize::from(matches!(transform.adjustments[0], Adjustment::Hue(_)));
            for adjustment in &transform.adjustments {
                match adjustment {
                    Adjustment::Brightness(by) => assert!((0.5..=0.75).contains(by)),
                    Adjustment::Contrast(by) => assert!((1.5..=2.0).contains(by)),
                    Adjustment::Saturation(by) => assert!((0.0..=0.25).contains(by)),
                    Adjustment::Hue(by) => assert!(by.abs() <= 0.1),
                    other => panic!("{other:?}"),
                }
            }
        }
        // Five standard deviations.
        assert!(first_is_hue.abs_diff(2_500) < 217, "{first_is_hue}");
    }

    #[test]
    fn crops_are_drawn_within_their_ranges() {
        let wanted = Augmentation {
            random_resized_crop: Some(RandomResizedCrop {
                scale: [0.25, 0.5],
                ratio: [0.5, 2.0],
            }),
            ..Augmentation::default()
        };
        let mut sum = 0.0;
        for transform in drawn(&wanted) {
            let crop = transform.crop.unwrap();
            assert_eq!((crop.tries.len(), crop.ratio), (10, [0.5, 2.0]));
            assert!(crop.place.iter().all(|share| (0.0..1.0).contains(share)));
            for [area, ratio] in crop.tries {
                assert!((0.25..=0.5).contains(&area) && (0.5..=2.0).contains(&ratio));
                sum += ratio.ln();
            }
        }
        // Five standard deviations of the mean of 100 000 logarithms.
        assert!((sum / 1e5).abs() < 0.0064, "{sum}");
    }

    fn always(value: ErasingValue) -> RandomErasing {
        RandomErasing {
            probability: 1.0,
            value,
            ..RandomErasing::default()
        }
    }

    #[test]
    fn erasing_comes_as_often_and_as_large_as_it_should() {
        let half = RandomErasing::default();
        let often = (0..10_000)
            .filter(|&index| erased(&half, 3, 1, index, [100, 100]).is_some())
            .count();
        // Five standard deviations.
        assert!(often.abs_diff(5_000) < 250, "{often}");
        let never = RandomErasing {
            probability: 0.0,
            ..half
        };
        assert!((0..100).all(|index| erased(&never, 3, 1, index, [9, 9]).is_none()));

        // A range of areas that always fits: its mean, and the mean of the logarithm of the ratio.
        let wanted = RandomErasing {
            probability: 1.0,
            scale: [0.02, 0.2],
            ..half
        };
        let drawn = (0..10_000).map(|index| erased(&wanted, 3, 1, index, [1000, 1000]));
        let sizes: Vec<[f64; 2]> = drawn
            .map(|erasing| erasing.expect("it fits").size.map(|side| side as f64))
            .collect();
        let mean = |of: fn(&[f64; 2]) -> f64| sizes.iter().map(of).sum::<f64>() / 1e4;
        let area = mean(|[height, width]| height * width / 1e6);
        let ratio = mean(|[height, width]| (height / width).ln());
        // Five standard deviations of a mean of 10 000: width of the range / sqrt(12 * 10 000) each.
        assert!((area - 0.11).abs() < 0.0026, "{area}");
        assert!(
            (ratio - f64::midpoint(0.3_f64.ln(), 3.3_f64.ln())).abs() < 0.035,
            "{ratio}"
        );
    }

    #[test]
    fn what_never_fits_is_not_erased() {
        let whole = RandomErasing {
            scale: [1.0, 1.0],
            ..always(ErasingValue::Number(0.0))
        };
        assert!((0..100).all(|index| erased(&whole, 1, 1, index, [20, 20]).is_none()));
        let usual = always(ErasingValue::Number(0.0));
        // Of a single pixel nothing can be erased but nothing.
        let one = |index| erased(&usual, 1, 1, index, [1, 1]);
        assert!((0..100).all(|index| one(index).is_none_or(|it| it.size == [0, 0])));
    }

    proptest! {
        #[test]
        fn erased_rectangles_lie_in_the_image(
            seed: u64, epoch: u32, index: u32, height in 1..300usize, width in 1..300usize, low in 0.0..1.0, ratio in 0.01..100.0,
        ) {
            let wanted = RandomErasing {
                scale: [low, 1.0], ratio: [ratio, ratio * 2.0], ..always(ErasingValue::Number(2.5))
            };
            if let Some(it) = erased(&wanted, seed, epoch.into(), index, [height, width]) {
                prop_assert!(it.size[0] < height && it.from[0] + it.size[0] <= height);
                prop_assert!(it.size[1] < width && it.from[1] + it.size[1] <= width);
                prop_assert_eq!(it.filling, Filling::Constant(2.5));
            }
        }

        #[test]
        fn draws_stay_within_their_ranges(seed: u64, epoch: u32, index: u32) {
            let augmentation = Augmentation {
                rotation_range: 20.0, width_shift_range: 0.25, height_shift_range: 3.0, shear_range: 5.0,
                zoom_range: [0.8, 1.5], channel_shift_range: 40.0, brightness_range: Some([0.5, 0.75]), ..Augmentation::default()
            };
            let transform = draw(&augmentation, seed, epoch.into(), index, [10, 40]);
            prop_assert!(transform.rotation.abs() <= 20.0 && transform.shear.abs() <= 5.0);
            prop_assert!(transform.shift[0].abs() <= 3.0 && transform.shift[1].abs() <= 10.0);
            prop_assert!(transform.zoom.iter().all(|zoom| (0.8..=1.5).contains(zoom)));
            prop_assert!((0.5..=0.75).contains(&transform.brightness.unwrap()));
            prop_assert!(transform.channel_shift.abs() <= 40.0);
            prop_assert!(!transform.horizontal_flip && !transform.vertical_flip);
        }
    }
}
