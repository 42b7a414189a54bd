//! What can go wrong in training.

/// Training that cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Weights that are not the model's.
    #[error(transparent)]
    Weights(#[from] kiln_run::WeightsError),
    /// The data do not fit the model, or cannot be read.
    #[error(transparent)]
    Data(#[from] kiln_data::DataError),
    /// A split that leaves nothing.
    #[error("there are no {0} images: use more of the data set, or another validation_split")]
    Empty(&'static str),
    /// The loss is not a number any more.
    #[error(
        "the loss became {loss} at step {step} of epoch {epoch} with learning rate {learning_rate:?}: lower \
         `training.optimizer.learning_rate`, or check the data and `input.preprocess`"
    )]
    Diverged {
        /// Epoch, from 1.
        epoch: usize,
        /// Step within the epoch, from 1.
        step: usize,
        /// Learning rate of that step.
        learning_rate: f64,
        /// What the loss was.
        loss: f64,
    },
    /// The loss on the validation samples is not a number any more.
    #[error(
        "the validation loss became {loss} after epoch {epoch} with learning rate {learning_rate:?}: lower \
         `training.optimizer.learning_rate`, or check the data and `input.preprocess`"
    )]
    ValidationDiverged {
        /// Epoch, from 1.
        epoch: usize,
        /// Learning rate of the epoch.
        learning_rate: f64,
        /// What the loss was.
        loss: f64,
    },
    /// A frozen tensor is not what it was: a mistake in kiln.
    #[error(
        "tensor `{0}` is frozen, but training changed it. This is a bug in kiln, please report it with the recipe"
    )]
    FrozenChanged(String),
    /// The file of a pretrained base cannot be read.
    #[error(transparent)]
    Onnx(#[from] kiln_onnx::LoadError),
    /// The file holds another network.
    #[error("{} is not {name}: {source}. Give an ONNX file of {name} in float32", path.display())]
    Backbone {
        /// The file.
        path: std::path::PathBuf,
        /// The network that it should hold.
        name: String,
        /// The asset that holds it, where there is one.
        asset: Option<String>,
        /// The first difference.
        source: Box<kiln_import::WeightsError>,
    },
    /// A file of features.
    #[error(transparent)]
    Features(#[from] kiln_data::FeatureError),
    /// A layer that takes values of another shape.
    #[error(transparent)]
    Shape(#[from] kiln_model::ShapeError),
    /// A plan that is not one of the network's layers: a mistake in kiln.
    #[error(
        "layer {0} is not of the type that the plan expects. This is a bug in kiln, please report it with the recipe"
    )]
    Plan(usize),
    /// Sizes that the kernels refuse.
    #[error("{0}: use smaller images or layers")]
    Kernels(#[from] kiln_kernels::ShapeError),
    /// An optimizer's state that cannot be kept or taken up.
    #[error("the optimizer's state cannot be read or written: {0}; train again from the beginning")]
    Optimizer(String),
    /// The device is not part of this build.
    #[error(
        "this build of kiln cannot train on `{device}`: build it with `cargo build --release -p kiln-cli --features \
         {device}`, or train with --device cpu"
    )]
    DeviceNotBuilt {
        /// The device asked for.
        device: crate::DeviceKind,
    },
    /// The device does not work on this machine.
    #[error(
        "the device `{device}` does not work here: {reason}: `kiln doctor` shows what is missing; --device cpu trains on \
         the processor"
    )]
    DeviceUnusable {
        /// The device asked for.
        device: crate::DeviceKind,
        /// What went wrong.
        reason: String,
    },
    /// The device gave up.
    #[error("the device failed: {0}")]
    Device(String),
    /// The observer refused to go on: it could not keep a result.
    #[error(transparent)]
    Observer(Box<dyn std::error::Error + Send + Sync>),
}

/// What to do about a training that cannot start or continue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// Fetch a file that holds the backbone.
    FetchBackbone {
        /// The asset that holds it.
        asset: String,
    },
}

impl TrainError {
    /// What to do about it, where that is not in the message.
    pub fn hint(&self) -> Option<Hint> {
        if let Self::Backbone {
            asset: Some(asset), ..
        } = self
        {
            let asset = asset.clone();
            return Some(Hint::FetchBackbone { asset });
        }
        None
    }
}
