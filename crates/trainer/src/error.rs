//! Errors of training, and what to do about them.

use std::path::PathBuf;

use kiln_model::Precision;

use crate::DeviceKind;

/// Training that cannot begin or continue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// Weights that are not the model's.
    #[error(transparent)]
    Weights(#[from] kiln_run::WeightsError),
    /// The data do not fit the model, or cannot be read.
    #[error(transparent)]
    Data(#[from] kiln_data::DataError),
    /// A split that leaves a subset empty.
    #[error("there are no {0} images")]
    Empty(&'static str),
    /// The loss is not a number any more.
    #[error(
        "the loss became {loss} at step {step} of epoch {epoch} with learning rate {learning_rate:?}"
    )]
    Diverged {
        /// Epoch, from 1.
        epoch: usize,
        /// Step within the epoch, from 1.
        step: usize,
        /// Learning rate of that step.
        learning_rate: f64,
        /// Value of the loss.
        loss: f64,
    },
    /// The loss on the validation samples is not a number any more.
    #[error(
        "the validation loss became {loss} after epoch {epoch} with learning rate {learning_rate:?}"
    )]
    ValidationDiverged {
        /// Epoch, from 1.
        epoch: usize,
        /// Learning rate of the epoch.
        learning_rate: f64,
        /// Value of the loss.
        loss: f64,
    },
    /// A frozen tensor has changed: a mistake in kiln.
    #[error("tensor `{0}` is frozen, but training changed it")]
    FrozenChanged(String),
    /// The file of a backbone cannot be read.
    #[error(transparent)]
    Onnx(#[from] kiln_onnx::LoadError),
    /// The file holds another network.
    #[error("{} is not {name} in float32: {source}", path.display())]
    Backbone {
        /// The file.
        path: PathBuf,
        /// Network that it should hold.
        name: String,
        /// Asset that is such a file, where there is one.
        asset: Option<String>,
        /// The first difference.
        source: Box<kiln_import::WeightsError>,
    },
    /// A layer that is a graph in a file, which an inference engine runs: a mistake in the caller.
    #[error("the layer `{0}` is a graph in a file, which Burn cannot compute")]
    InFile(String),
    /// A segment of a graph that Burn cannot compute.
    #[error(transparent)]
    Segment(#[from] kiln_model::graph::UntypedError),
    /// A file of features.
    #[error(transparent)]
    Features(#[from] kiln_data::FeatureError),
    /// L-BFGS where more than one dense layer would be trained: a mistake in the caller.
    #[error("L-BFGS trains one dense layer and nothing else")]
    NotOneDense,
    /// A layer that takes values of another shape.
    #[error(transparent)]
    Shape(#[from] kiln_model::ShapeError),
    /// A plan that is not one of the network's layers: a mistake in kiln.
    #[error("layer {0} is not of the type that the plan expects")]
    Plan(usize),
    /// Sizes that the kernels refuse.
    #[error(transparent)]
    Kernels(#[from] kiln_kernels::ShapeError),
    /// An optimizer's state that cannot be read or written.
    #[error("the optimizer's state cannot be read or written: {0}")]
    Optimizer(String),
    /// The device is not part of this build.
    #[error("this build of kiln cannot train on `{device}`")]
    DeviceNotBuilt {
        /// The device asked for.
        device: DeviceKind,
    },
    /// The device does not work on this machine.
    #[error("the device `{device}` does not work here: {reason}")]
    DeviceUnusable {
        /// The device asked for.
        device: DeviceKind,
        /// What went wrong.
        reason: String,
    },
    /// The device does not multiply in the recipe's precision.
    #[error("training in {precision} is not possible here: {reason}")]
    Precision {
        /// The precision asked for.
        precision: Precision,
        /// What is missing.
        reason: String,
    },
    /// The device failed while it computed.
    #[error("the device failed: {0}")]
    Device(String),
    /// The observer could not keep a result.
    #[error(transparent)]
    Observer(Box<dyn std::error::Error + Send + Sync>),
}

/// What to do about an error.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// Use more of the dataset, or another share for validation.
    UseMoreImages,
    /// Lower the learning rate, or check the data and the preprocessing.
    LowerLearningRate,
    /// Report a bug, with the recipe.
    ReportBug,
    /// Use another file of the backbone's weights, such as this asset.
    UseBackboneFile {
        /// Asset that is such a file, where there is one.
        asset: Option<String>,
    },
    /// Use smaller images or layers.
    ShrinkModel,
    /// Train from the beginning.
    TrainAgain,
    /// Build with the cargo feature of that device, or train on the CPU.
    BuildWithDevice(DeviceKind),
    /// Train on the CPU.
    UseCpu,
    /// Train in float32.
    UseFloat32,
    /// Resume from the last whole epoch.
    Resume,
}

impl TrainError {
    /// Returns what to do about it, where the trainer knows.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Empty(_) => Some(Hint::UseMoreImages),
            Self::Diverged { .. } | Self::ValidationDiverged { .. } => {
                Some(Hint::LowerLearningRate)
            }
            Self::InFile(_) | Self::FrozenChanged(_) | Self::Plan(_) | Self::NotOneDense => {
                Some(Hint::ReportBug)
            }
            Self::Backbone { asset, .. } => Some(Hint::UseBackboneFile {
                asset: asset.clone(),
            }),
            Self::Kernels(_) => Some(Hint::ShrinkModel),
            Self::Optimizer(_) => Some(Hint::TrainAgain),
            Self::Precision { .. } => Some(Hint::UseFloat32),
            Self::DeviceNotBuilt { device } => Some(Hint::BuildWithDevice(*device)),
            Self::DeviceUnusable { .. } => Some(Hint::UseCpu),
            Self::Device(_) => Some(Hint::Resume),
            Self::Weights(_)
            | Self::Data(_)
            | Self::Onnx(_)
            | Self::Shape(_)
            | Self::Segment(_)
            | Self::Features(_)
            | Self::Observer(_) => None,
        }
    }
}
