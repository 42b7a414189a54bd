//! Samples that a model is fed with: images, or features computed from them.

use std::sync::Arc;

use kiln_model::Augmentation;
use kiln_preprocess::Preprocessor;

use crate::augment::draw;
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
    },
    /// Rows of a file of features.
    Features {
        /// Selected samples.
        view: View,
        /// File that has their rows.
        features: Arc<Features>,
        /// The samples that the file has, by their number in the dataset, ascending: the order of
        /// its rows.
        rows: Arc<[u32]>,
    },
}

impl Samples {
    /// Creates samples of a view's images.
    pub fn images(view: View, preprocessor: Arc<Preprocessor>) -> Self {
        Self::Images {
            view,
            preprocessor,
            augmentation: None,
        }
    }

    /// Changes the images at random when they come [shuffled](crate::Order::Shuffled), that
    /// is, in training; the change follows from the order's seed and epoch and the image's number
    /// in the dataset. Features are computed of images that do not change: they stay as they are.
    #[must_use]
    pub fn augmented(mut self, wanted: Option<Augmentation>) -> Self {
        if let Self::Images { augmentation, .. } = &mut self {
            *augmentation = wanted;
        }
        self
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
            Self::Features { features, .. } => [features.width(), 1, 1],
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
                ..
            } => {
                let mut prepare = || {
                    let image = dataset.image(index as usize)?;
                    let (Some(augmentation), Some((seed, epoch))) = (augmentation, shuffled) else {
                        return preprocessor.raw(image.as_raw(), out);
                    };
                    let [_, height, width] = preprocessor.shape();
                    let transform = draw(augmentation, seed, epoch, index, [height, width]);
                    preprocessor.transformed(image.as_raw(), &transform, out)
                };
                prepare().map_err(|reason| DataError::Image {
                    name: dataset.name().to_owned(),
                    index,
                    reason,
                })
            }
            Self::Features { features, rows, .. } => {
                let missing = |_| DataError::NoFeatures {
                    name: dataset.name().to_owned(),
                    index,
                };
                features.row(rows.binary_search(&index).map_err(missing)?, out);
                Ok(())
            }
        }
    }
}
