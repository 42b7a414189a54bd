//! Reasons why an export fails.

/// A model that cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Weights that are not the model's.
    #[error(transparent)]
    Weights(#[from] kiln_run::WeightsError),
    /// A weight that is infinite or not a number.
    #[error(
        "tensor `{0}` holds a value that is not finite: the training diverged; lower the learning rate"
    )]
    NotFinite(String),
    /// Not as many labels as classes.
    #[error(
        "the model has {classes} classes, but there are {labels} labels: give one label per class"
    )]
    Labels {
        /// The model's.
        classes: usize,
        /// Those given.
        labels: usize,
    },
    /// A first layer after the last one.
    #[error(
        "there is no layer {0} to begin with: give the number of one of the model's layers, counted from 0"
    )]
    NoLayer(usize),
    /// Pixels as input of a graph whose input is not an image.
    #[error(
        "the graph begins with layer {0}, whose input is not an image: pixels go into the first layer only"
    )]
    PixelsAfter(usize),
    /// A layer of images that takes vectors.
    #[error(transparent)]
    Shape(#[from] kiln_model::ShapeError),
    /// A malformed graph: a mistake in this crate.
    #[error(
        "the exported graph is not valid: {0}. This is a bug in kiln, please report it with the recipe"
    )]
    Graph(#[from] kiln_onnx::BuildError),
}
