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
    /// The recipe's preprocessing record is not valid.
    #[error(transparent)]
    Preprocessing(#[from] kiln_spec::PreprocessingError),
    /// A split that leaves nothing.
    #[error("there are no {0} images: use more of the data set, or another validation_split")]
    Empty(&'static str),
    /// The loss is not a number any more.
    #[error(
        "the loss became {loss} at step {step} of epoch {epoch} with learning rate {learning_rate}: lower \
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
    /// The device gave up.
    #[error("the device failed: {0}")]
    Device(String),
    /// The observer refused to go on: it could not keep a result.
    #[error(transparent)]
    Observer(Box<dyn std::error::Error + Send + Sync>),
}
