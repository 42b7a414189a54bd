//! Samples that a model is fed with: images, changed at random if they are to be, or features computed
//! from images.

use std::sync::Arc;

use kiln_model::{Augmentation, ErasingValue, RandomErasing};
use kiln_preprocess::{Erasing, Filling, Preprocessor, Transform};
use rand::RngExt;

use crate::random::{Use, generator};
use crate::{DataError, Features, View};

/// Samples of a view in the form that a model, or the rest of one, takes.
#[derive(Debug, Clone)]
pub enum Samples {
    /// Images, prepared as they are needed.
    Images {
        /// Selected images.
        view: View,
        /// Preprocessing.
        preprocessor: Arc<Preprocessor>,
        /// Random changes in an epoch that is shuffled.
        augmentation: Option<Augmentation>,
        /// Seed and epoch whose changes are made in whatever order.
        fixed: Option<(u64, u64)>,
    },
    /// Rows of files of features.
    Features {
        /// Selected samples.
        view: View,
        /// Features of the images as they are.
        rows: FeatureRows,
        /// Features of changed images, which shuffled epochs use in turn, if there are any.
        views: Vec<FeatureRows>,
    },
}

/// A file of features, and which samples it has.
#[derive(Debug, Clone)]
pub struct FeatureRows {
    features: Arc<Features>,
    /// By their number in the dataset, ascending: the order of the file's rows.
    numbers: Arc<[u32]>,
}

impl FeatureRows {
    /// Rows of the samples of a view.
    pub fn new(features: Features, view: &View) -> Self {
        Self {
            features: Arc::new(features),
            numbers: view.indices().into(),
        }
    }

    /// Copies the row of a sample, by its number in the dataset.
    fn copy(&self, index: u32, dataset: &str, out: &mut [f32]) -> Result<(), DataError> {
        let missing = |_| DataError::NoFeatures {
            name: dataset.to_owned(),
            index,
        };
        let row = self.numbers.binary_search(&index).map_err(missing)?;
        self.features.row(row, out);
        Ok(())
    }
}

impl Samples {
    /// Creates samples of a view's images.
    pub fn images(view: View, preprocessor: Arc<Preprocessor>) -> Self {
        Self::Images {
            view,
            preprocessor,
            augmentation: None,
            fixed: None,
        }
    }

    /// Creates samples of features.
    pub fn features(view: View, rows: FeatureRows) -> Self {
        Self::Features {
            view,
            rows,
            views: Vec::new(),
        }
    }

    /// Changes the images at random when they come [shuffled](crate::Order::Shuffled), that
    /// is, in training; the change follows from the order's seed and epoch and the image's number
    /// in the dataset, and repeats itself after as many epochs as the augmentation has views. Features
    /// stay as they are.
    #[must_use]
    pub fn augmented(mut self, wanted: Option<Augmentation>) -> Self {
        if let Self::Images { augmentation, .. } = &mut self {
            *augmentation = wanted;
        }
        self
    }

    /// Changes the images as in this epoch of a training with this seed, in whatever order they come.
    #[must_use]
    pub fn as_in_epoch(mut self, seed: u64, epoch: u64) -> Self {
        if let Self::Images { fixed, .. } = &mut self {
            *fixed = Some((seed, epoch));
        }
        self
    }

    /// Uses features of changed images in turn when the samples come [shuffled](crate::Order::Shuffled):
    /// those of the epoch modulo their number. The others must be of features too.
    #[must_use]
    pub fn with_views(mut self, others: &[Self]) -> Self {
        if let Self::Features { views, .. } = &mut self {
            *views = others
                .iter()
                .filter_map(|samples| match samples {
                    Self::Features { rows, .. } => Some(rows.clone()),
                    Self::Images { .. } => None,
                })
                .collect();
        }
        self
    }

    /// Returns whether the images come changed in whatever order.
    pub fn is_changed(&self) -> bool {
        matches!(
            self,
            Self::Images {
                augmentation: Some(_),
                fixed: Some(_),
                ..
            }
        )
    }

    /// Returns the random changes of images.
    pub(crate) fn augmentation(&self) -> Option<&Augmentation> {
        match self {
            Self::Images { augmentation, .. } => augmentation.as_ref(),
            Self::Features { .. } => None,
        }
    }

    /// Returns whether preparing a sample takes so much longer than copying it that more than one thread
    /// should.
    pub(crate) fn is_slow(&self) -> bool {
        match self {
            Self::Images {
                view, augmentation, ..
            } => augmentation.is_some() || !view.dataset().is_in_memory(),
            Self::Features { .. } => false,
        }
    }

    /// Returns the selection.
    pub fn view(&self) -> &View {
        match self {
            Self::Images { view, .. } | Self::Features { view, .. } => view,
        }
    }

    /// Selects other samples of the same source.
    #[must_use]
    pub fn select(&self, selected: View) -> Self {
        let mut samples = self.clone();
        let (Self::Images { view, .. } | Self::Features { view, .. }) = &mut samples;
        *view = selected;
        samples
    }

    /// Selects all samples but the first `count`.
    #[must_use]
    pub fn skip(&self, count: usize) -> Self {
        self.select(self.view().skip(count))
    }

    /// Returns the shape of one sample: channels, height, width; features are all channels.
    pub fn shape(&self) -> [usize; 3] {
        match self {
            Self::Images { preprocessor, .. } => preprocessor.shape(),
            Self::Features { rows, .. } => [rows.features.width(), 1, 1],
        }
    }

    /// Writes one sample, by its number in the dataset; `shuffled` are the seed and the epoch of
    /// shuffled samples.
    pub(crate) fn prepare(
        &self,
        index: u32,
        shuffled: Option<(u64, u64)>,
        out: &mut [f32],
    ) -> Result<(), DataError> {
        let dataset = self.view().dataset();
        match self {
            Self::Images {
                preprocessor,
                augmentation,
                fixed,
                ..
            } => {
                let transform = augmentation
                    .filter(Augmentation::changes_images)
                    .zip(fixed.or(shuffled))
                    .map(|(augmentation, when)| {
                        let (seed, epoch) = when;
                        let epoch = augmentation.views.map_or(epoch, |views| epoch % views);
                        let [_, height, width] = preprocessor.shape();
                        draw(&augmentation, seed, epoch, index, [height, width])
                    });
                let number = index as usize;
                let prepared = dataset.prepare(number, preprocessor, transform.as_ref(), out);
                prepared.map_err(|reason| DataError::Image {
                    name: dataset.name().to_owned(),
                    index,
                    reason,
                })
            }
            Self::Features { rows, views, .. } => {
                let in_turn = shuffled
                    .filter(|_| !views.is_empty())
                    .map(|(_, epoch)| &views[(epoch % views.len() as u64) as usize]);
                in_turn.unwrap_or(rows).copy(index, dataset.name(), out)
            }
        }
    }
}

/// The transform of an image of this height and width in an epoch: it follows from the arguments
/// alone, whichever thread asks and whatever it asked before.
///
/// Every number is drawn whether or not the augmentation has a use for it, so that a setting leaves
/// the others' alone.
fn draw(
    augmentation: &Augmentation,
    seed: u64,
    epoch: u64,
    index: u32,
    size: [usize; 2],
) -> Transform {
    let mut rng = generator(seed, Use::Augmentation { epoch, index });
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
    Transform {
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
        erasing: augmentation
            .random_erasing
            .and_then(|wanted| draw_erasing(&wanted, seed, epoch, index, size)),
    }
}

/// Rectangles that are tried until one fits, as in torchvision.
const TRIES: usize = 10;

/// The rectangle that is erased, by the rules of torchvision's `RandomErasing`: it is lower and
/// narrower than the image; none where no try gives such a one. It is drawn from random numbers of
/// its own, so that the image's other changes are the same with it and without.
fn draw_erasing(
    wanted: &RandomErasing,
    seed: u64,
    epoch: u64,
    index: u32,
    [height, width]: [usize; 2],
) -> Option<Erasing> {
    let mut rng = generator(seed, Use::Erasing { epoch, index });
    let noise = rng.random::<u64>();
    if rng.random::<f64>() >= wanted.probability {
        return None;
    }
    let mut within = |[low, high]: [f64; 2]| low + (high - low) * rng.random::<f64>();
    let size = (0..TRIES).find_map(|_| {
        let area = within(wanted.scale) * (height * width) as f64;
        let ratio = within(wanted.ratio.map(f64::ln)).exp();
        let size = [area * ratio, area / ratio].map(|it| it.sqrt().round_ties_even() as usize);
        (size[0] < height && size[1] < width).then_some(size)
    })?;
    // Any whole number from 0 to the room that is left.
    let mut place = |room: usize| within([0.0, room as f64 + 1.0]).min(room as f64) as usize;
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

    const PINNED: &str = "Transform { rotation: -66.79140112986681, shift: [2.538512476543474, 0.6753310033414754], \
        shear: -26.551057095978205, zoom: [1.0718541862813766, 1.1629546875470773], horizontal_flip: false, \
        vertical_flip: false, channel_shift: -89.0865, brightness: Some(0.63805616), fill_mode: Nearest, cval: 0.0, \
        erasing: None }";

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
            .filter(|&index| draw_erasing(&half, 3, 1, index, [100, 100]).is_some())
            .count();
        // Five standard deviations.
        assert!(often.abs_diff(5_000) < 250, "{often}");
        let never = RandomErasing {
            probability: 0.0,
            ..half
        };
        assert!((0..100).all(|index| draw_erasing(&never, 3, 1, index, [9, 9]).is_none()));

        // A range of areas that always fits: its mean, and the mean of the logarithm of the ratio.
        let wanted = RandomErasing {
            probability: 1.0,
            scale: [0.02, 0.2],
            ..half
        };
        let drawn = (0..10_000).map(|index| draw_erasing(&wanted, 3, 1, index, [1000, 1000]));
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
        assert!((0..100).all(|index| draw_erasing(&whole, 1, 1, index, [20, 20]).is_none()));
        let usual = always(ErasingValue::Number(0.0));
        // Of a single pixel nothing can be erased but nothing.
        let one = |index| draw_erasing(&usual, 1, 1, index, [1, 1]);
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
            if let Some(it) = draw_erasing(&wanted, seed, epoch.into(), index, [height, width]) {
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
