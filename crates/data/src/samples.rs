//! Samples that a model is fed with: images, changed at random if they are to be, or features computed
//! from images.

use std::sync::Arc;

use kiln_model::Augmentation;
use kiln_preprocess::Preprocessor;

use crate::draw::draw;
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
        augmentation: Option<Box<Augmentation>>,
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
            *augmentation = wanted.map(Box::new);
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
            Self::Images { augmentation, .. } => augmentation.as_deref(),
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
                    .as_deref()
                    .filter(|augmentation| augmentation.changes_images())
                    .zip(fixed.or(shuffled))
                    .map(|(augmentation, when)| {
                        let (seed, epoch) = when;
                        let epoch = augmentation.views.map_or(epoch, |views| epoch % views);
                        let [_, height, width] = preprocessor.shape();
                        draw(augmentation, seed, epoch, index, [height, width])
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
