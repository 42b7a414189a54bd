//! Images of a batch mixed with one another: mixup and `CutMix`.

use kiln_model::Augmentation;
use rand::RngExt;
use rand_distr::{Beta, Distribution};

use crate::random::{Change, Use, generator};

/// The other labels of a batch whose images were mixed.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixed {
    /// The label of what was mixed into each image.
    pub labels: Vec<u32>,
    /// The share of the image itself, 0 to 1; that of the other is the rest.
    pub share: f32,
}

/// Mixes each image of a batch `[images, channels, height, width]` with the one before it, the first with the last, as
/// torchvision's `MixUp` and `CutMix` do; returns the other labels and the share, both of which follow from seed, epoch and
/// the first image's number in the dataset. Nothing where the augmentation does not mix, and of a single image.
///
/// Mixup (Zhang and others, 2018) adds a share of the one to the rest of the other. `CutMix` (Yun and others, 2019) puts a
/// rectangle of the other into the image; its sides are `sqrt(1 - share)` of the image's, its center is anywhere, and the
/// share is what is left of the image. The share is drawn from a beta distribution whose parameters both are the
/// augmentation's number.
pub fn mix(
    augmentation: &Augmentation,
    (seed, epoch): (u64, u64),
    indices: &[u32],
    shape: [usize; 4],
    values: &mut [f32],
    labels: &[u32],
) -> Option<Mixed> {
    let [images, channels, height, width] = shape;
    let first = *indices.first()?;
    if images < 2 {
        return None;
    }
    let mut rng = generator(
        seed,
        Use::Image {
            change: Change::Mixing,
            epoch,
            index: first,
        },
    );
    // Drawn whether or not it decides, as every number of augmentation.
    let cuts = rng.random::<f64>() < 0.5;
    let (alpha, cuts) = match (augmentation.mixup, augmentation.cutmix) {
        (Some(_), Some(alpha)) if cuts => (alpha, true),
        (Some(alpha), _) => (alpha, false),
        (None, Some(alpha)) => (alpha, true),
        (None, None) => return None,
    };
    let own = Beta::new(alpha, alpha).ok()?.sample(&mut rng);
    let [down, across] = [height, width].map(|side| rng.random_range(0..side));
    let size = channels * height * width;
    let own = if cuts {
        let half = 0.5 * (1.0 - own).sqrt();
        let span = |center: usize, side: usize| {
            let half = (half * side as f64) as usize;
            center.saturating_sub(half)..(center + half).min(side)
        };
        let (rows, columns) = (span(down, height), span(across, width));
        for_each_with_previous(values, size, |image, other| {
            let planes = image.chunks_exact_mut(height * width);
            for (plane, other) in planes.zip(other.chunks_exact(height * width)) {
                for row in rows.clone() {
                    let part = row * width + columns.start..row * width + columns.end;
                    plane[part.clone()].copy_from_slice(&other[part]);
                }
            }
        });
        1.0 - (rows.len() * columns.len()) as f64 / (height * width) as f64
    } else {
        let [kept, rest] = [own, 1.0 - own].map(|part| part as f32);
        for_each_with_previous(values, size, |image, other| {
            for (value, other) in image.iter_mut().zip(other) {
                *value = *value * kept + other * rest;
            }
        });
        own
    };
    let mut others = labels.to_vec();
    others.rotate_right(1);
    Some(Mixed {
        labels: others,
        share: own as f32,
    })
}

/// Calls `mix` with each image and the one before it, as that was; with the first comes the last.
fn for_each_with_previous(values: &mut [f32], size: usize, mix: impl Fn(&mut [f32], &[f32])) {
    let images = values.len() / size;
    let last = values[(images - 1) * size..].to_vec();
    for at in (1..images).rev() {
        let (before, image) = values[..(at + 1) * size].split_at_mut(at * size);
        mix(image, &before[(at - 1) * size..]);
    }
    mix(&mut values[..size], &last);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHAPE: [usize; 4] = [3, 2, 8, 8];

    /// Images that have their number everywhere.
    fn batch() -> Vec<f32> {
        (0..3).flat_map(|image| [image as f32; 128]).collect()
    }

    fn mixed(augmentation: &Augmentation, epoch: u64) -> (Vec<f32>, Option<Mixed>) {
        let mut values = batch();
        let mixed = mix(
            augmentation,
            (7, epoch),
            &[5, 6, 9],
            SHAPE,
            &mut values,
            &[10, 11, 12],
        );
        (values, mixed)
    }

    fn mixup(alpha: f64) -> Augmentation {
        Augmentation {
            mixup: Some(alpha),
            ..Augmentation::default()
        }
    }

    fn cutmix(alpha: f64) -> Augmentation {
        Augmentation {
            cutmix: Some(alpha),
            ..Augmentation::default()
        }
    }

    #[test]
    fn mixup_adds_shares_of_the_image_before() {
        let (values, mixed) = mixed(&mixup(1.0), 1);
        let Mixed { labels, share } = mixed.unwrap();
        assert_eq!(labels, [12, 10, 11]);
        assert!((0.0..=1.0).contains(&share));
        for (image, (own, other)) in [(0.0, 2.0), (1.0, 0.0), (2.0, 1.0)].into_iter().enumerate() {
            let expected = own * share + other * (1.0 - share);
            let part = &values[image * 128..(image + 1) * 128];
            assert!(part.iter().all(|value| (value - expected).abs() < 1e-6));
        }
    }

    #[test]
    fn cutmix_puts_a_rectangle_of_the_image_before_into_each() {
        for epoch in 0..50 {
            let (values, mixed) = mixed(&cutmix(1.0), epoch);
            let Mixed { labels, share } = mixed.unwrap();
            assert_eq!(labels, [12, 10, 11]);
            for (image, (own, other)) in
                [(0.0, 2.0), (1.0, 0.0), (2.0, 1.0)].into_iter().enumerate()
            {
                let part = &values[image * 128..(image + 1) * 128];
                let kept = part
                    .iter()
                    .filter(|value| (**value - own).abs() < 0.1)
                    .count();
                let cut = part
                    .iter()
                    .filter(|value| (**value - other).abs() < 0.1)
                    .count();
                assert_eq!(kept + cut, 128);
                assert!((kept as f32 / 128.0 - share).abs() < 1e-6, "{kept} {share}");
                assert_eq!(part[..64], part[64..], "the same place in every channel");
            }
        }
    }

    #[test]
    fn with_both_each_comes_half_of_the_time() {
        let both = Augmentation {
            mixup: Some(1.0),
            cutmix: Some(1.0),
            ..Augmentation::default()
        };
        let is_mixup = |epoch| {
            let (values, _) = mixed(&both, epoch);
            values.iter().any(|value| value.fract() != 0.0)
        };
        let count = (0..1000).filter(|&epoch| is_mixup(epoch)).count();
        // Five standard deviations.
        assert!(count.abs_diff(500) < 80, "{count}");
    }

    #[test]
    fn the_share_follows_from_seed_epoch_and_batch_and_is_pinned() {
        let share = |epoch| mixed(&mixup(0.2), epoch).1.unwrap().share;
        assert_eq!(share(1).to_bits(), share(1).to_bits());
        assert_ne!(share(1).to_bits(), share(2).to_bits());
        // Of another version of the distribution, trainings would be others.
        assert!((share(1) - PINNED).abs() < 1e-6, "{}", share(1));
    }

    const PINNED: f32 = 0.789_522_65;

    #[test]
    fn a_single_image_and_other_augmentation_mix_nothing() {
        let flips = Augmentation {
            horizontal_flip: true,
            ..Augmentation::default()
        };
        assert_eq!(mixed(&flips, 1), (batch(), None));
        let mut values = vec![1.0; 4];
        assert_eq!(
            mix(&mixup(1.0), (1, 1), &[0], [1, 1, 2, 2], &mut values, &[0]),
            None
        );
    }

    proptest! {
        #[test]
        fn shares_are_shares(alpha in 0.01_f64..10.0, epoch in 0_u64..1 << 40, cuts: bool) {
            let augmentation = if cuts { cutmix(alpha) } else { mixup(alpha) };
            let (values, mixed) = mixed(&augmentation, epoch);
            let share = mixed.unwrap().share;
            prop_assert!((0.0..=1.0).contains(&share));
            prop_assert!(values.iter().all(|value| (0.0..=2.0).contains(value)));
        }
    }
}
