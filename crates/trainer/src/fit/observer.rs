//! What whoever started the training hears of it.

use kiln_run::{Epoch, Weights};

use crate::TrainError;

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Go on.
    Continue,
    /// Stop after the current step.
    Stop,
}

/// One step of training, or one batch of validation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchReport {
    /// Epoch, from 1.
    pub epoch: usize,
    /// Images of this epoch so far, validation counted apart.
    pub done: usize,
    /// Images of the epoch in all, likewise.
    pub total: usize,
    /// Mean loss of the epoch so far.
    pub loss: f64,
    /// Accuracy of the epoch so far.
    pub accuracy: f64,
}

/// Where the training of a phase stands after an epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Weights of the layers from the task's first on.
    pub weights: Weights,
    /// The optimizer's state, to be handed back unread.
    pub optimizer: Vec<u8>,
}

/// Hears of progress, keeps results, and may stop the training. It is called on a thread of rayon's
/// pool.
pub trait Observer: Send {
    /// After every training step.
    fn trained(&mut self, report: BatchReport) -> Control;

    /// After every validation batch.
    fn validated(&mut self, report: BatchReport) -> Control;

    /// After every epoch: its figures, where the training stands, and whether it is the best so
    /// far. An error stops the training.
    fn epoch(&mut self, epoch: &Epoch, snapshot: &Snapshot, best: bool) -> Result<(), TrainError>;
}
