//! Samples that a model is fed with: images, changed at random if they are to be, or features computed
//! from images.

use std::sync::Arc;

use kiln_model::Augmentation;
use kiln_preprocess::{Preprocessor, Transform};
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
    }
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

    proptest! {
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
