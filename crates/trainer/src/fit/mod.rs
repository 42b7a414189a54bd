//! The training loop.

mod metrics;
mod observer;

use std::sync::Arc;
use std::time::Instant;

use burn::module::Module;
use burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Int, Tensor, TensorData};
use kiln_data::{Batch, Loader, Order, View};
use kiln_preprocess::Preprocessor;
use kiln_run::{Epoch, History, Weights};
use kiln_spec::{Model, Optimizer, Training};

use crate::network::Network;
use crate::{Device, TrainError};
use metrics::Running;
pub use observer::{BatchReport, Control, Observer};

/// What is trained, on what, how and where.
pub struct Task<'a> {
    /// The model.
    pub model: &'a Model,
    /// Optimizer, epochs, batch size, seed.
    pub training: &'a Training,
    /// Images that are learned from.
    pub train: View,
    /// Images that measure each epoch.
    pub validation: View,
    /// Where it runs.
    pub device: &'a Device,
}

/// What training gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// The weights after the epoch with the lowest validation loss; the initial ones where no epoch was completed.
    pub best: Weights,
    /// All completed epochs.
    pub history: History,
    /// Whether the observer stopped it before the last epoch was done.
    pub stopped: bool,
}

/// Trains from the initial weights that the seed gives.
///
/// The loss is the mean cross-entropy of the softmax of the logits. Training images come in a new order every epoch,
/// fixed by the seed; the weights of the epoch with the lowest validation loss are kept. The same task gives the same
/// weights, bit for bit, on the same device with the same number of threads; only one training may run in a process at
/// a time, since Burn's generator for dropout is shared.
pub fn fit(task: &Task<'_>, observer: &mut dyn Observer) -> Result<Fitted, TrainError> {
    for (view, name) in [(&task.train, "training"), (&task.validation, "validation")] {
        if view.is_empty() {
            return Err(TrainError::Empty(name));
        }
    }
    let mut state = State::new(task)?;
    let mut fitted = Fitted { best: state.network.weights(), history: History::default(), stopped: false };
    for number in 1..=task.training.epochs {
        let Some(epoch) = state.epoch(number, observer)? else {
            fitted.stopped = true;
            break;
        };
        fitted.history.epochs.push(epoch);
        let weights = state.network.weights();
        let best = fitted.history.best().is_some_and(|best| best.epoch == number);
        observer.epoch(&epoch, &weights, best)?;
        if best {
            fitted.best = weights;
        }
    }
    Ok(fitted)
}

/// What changes during training, and what it needs at every step.
struct State<'a> {
    task: &'a Task<'a>,
    preprocessor: Arc<Preprocessor>,
    network: Network,
    optimizer: ModuleOptimizer,
    learning_rate: f64,
    loss: CrossEntropyLoss,
    /// The device with gradients; validation runs without.
    device: burn::tensor::Device,
}

impl<'a> State<'a> {
    fn new(task: &'a Task<'a>) -> Result<Self, TrainError> {
        let device = task.device.0.clone().autodiff();
        device.seed(task.training.seed);
        let weights = crate::initial_weights(task.model, task.training.seed);
        let Optimizer::Adam { learning_rate, beta_1, beta_2, epsilon } = task.training.optimizer;
        let adam = AdamConfig::new().with_beta_1(beta_1 as f32).with_beta_2(beta_2 as f32).with_epsilon(epsilon as f32);
        Ok(Self {
            preprocessor: Arc::new(Preprocessor::new(task.model.preprocessing().clone())?),
            network: Network::new(task.model, &weights, &device)?,
            optimizer: adam.init(),
            learning_rate,
            loss: CrossEntropyLossConfig::new().init(&device),
            device,
            task,
        })
    }

    /// One pass over the training images and one over the validation images; nothing if the observer stopped it.
    fn epoch(&mut self, epoch: usize, observer: &mut dyn Observer) -> Result<Option<Epoch>, TrainError> {
        let start = Instant::now();
        let Some(train) = self.train(epoch, observer)? else { return Ok(None) };
        let Some(val) = self.validate(epoch, observer)? else { return Ok(None) };
        Ok(Some(Epoch {
            epoch,
            train_loss: train.loss(),
            train_accuracy: train.accuracy(),
            val_loss: val.loss(),
            val_accuracy: val.accuracy(),
            learning_rate: self.learning_rate,
            seconds: start.elapsed().as_secs_f64(),
        }))
    }

    fn loader(&self, view: &View, order: Order) -> Result<Loader, TrainError> {
        Ok(Loader::new(view.clone(), Arc::clone(&self.preprocessor), self.task.training.batch_size, order)?)
    }

    fn train(&mut self, epoch: usize, observer: &mut dyn Observer) -> Result<Option<Running>, TrainError> {
        let order = Order::Shuffled { seed: self.task.training.seed, epoch: epoch as u64 };
        let loader = self.loader(&self.task.train, order)?;
        let mut running = Running::default();
        for (step, batch) in loader.iter().enumerate() {
            let batch = batch?;
            let (loss, logits) = self.step(&batch)?;
            if !loss.is_finite() {
                let learning_rate = self.learning_rate;
                return Err(TrainError::Diverged { epoch, step: step + 1, learning_rate, loss });
            }
            running.push(loss, &logits, &batch.labels);
            if observer.trained(running.report(epoch, self.task.train.len())) == Control::Stop {
                return Ok(None);
            }
        }
        Ok(Some(running))
    }

    /// Forward, backward, update. Gives the loss and the logits from before the update.
    fn step(&mut self, batch: &Batch) -> Result<(f64, Vec<f32>), TrainError> {
        let (input, labels) = tensors(batch, self.task.model, &self.device);
        let logits = self.network.logits(input);
        let loss = self.loss.forward(logits.clone(), labels);
        let gradients = GradientsParams::from_grads(loss.backward(), &self.network);
        self.network = self.optimizer.step(self.learning_rate, self.network.clone(), gradients);
        Ok((f64::from(values(loss)?[0]), values(logits)?))
    }

    fn validate(&self, epoch: usize, observer: &mut dyn Observer) -> Result<Option<Running>, TrainError> {
        let network = self.network.valid();
        let loader = self.loader(&self.task.validation, Order::Sequential)?;
        let mut running = Running::default();
        for batch in &loader {
            let batch = batch?;
            let (input, labels) = tensors(&batch, self.task.model, &self.task.device.0);
            let logits = network.logits(input);
            let loss = self.loss.forward(logits.clone(), labels);
            running.push(f64::from(values(loss)?[0]), &values(logits)?, &batch.labels);
            if observer.validated(running.report(epoch, self.task.validation.len())) == Control::Stop {
                return Ok(None);
            }
        }
        Ok(Some(running))
    }
}

/// A batch on a device: inputs `[n, channels, height, width]` and labels `[n]`.
fn tensors(batch: &Batch, model: &Model, device: &burn::tensor::Device) -> (Tensor<4>, Tensor<1, Int>) {
    let n = batch.labels.len();
    let [c, h, w] = model.preprocessing().shape();
    let input = TensorData::new(batch.pixels.clone(), [n, c, h, w]);
    let labels = TensorData::new(batch.labels.iter().map(|&label| i64::from(label)).collect(), [n]);
    (Tensor::from_data(input, device), Tensor::from_data(labels, device))
}

fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, TrainError> {
    tensor.try_into_vec_as::<f32>().map_err(|error| TrainError::Device(error.to_string()))
}
