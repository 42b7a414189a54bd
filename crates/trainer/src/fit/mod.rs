//! The training loop.

mod metrics;
mod observer;

use std::time::Instant;

use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::module::Module;
use burn::nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Int, Tensor, TensorData};
use kiln_data::{Batch, Loader, Order, Samples};
use kiln_run::{Epoch, History, Weights};
use kiln_spec::{Layers, Model, Optimizer, Phase};

use crate::network::{Draws, Network, values};
use crate::{Device, TrainError, frozen, fused};
use metrics::Running;
pub use observer::{BatchReport, Control, Observer};

/// What is trained, from where, on what, how and where.
pub struct Task<'a> {
    /// The model; its frozen layers stay as they are.
    pub model: &'a Model,
    /// The layer that takes the samples: 0 for images, a later one for what the layers before it made of them.
    pub first_layer: usize,
    /// The weights to begin with, of the whole model.
    pub weights: &'a Weights,
    /// The epochs before, if any: numbers go on from there, and a later epoch is the best only if it beats them.
    pub history: &'a History,
    /// Optimizer and number of epochs.
    pub phase: &'a Phase,
    /// Samples per step.
    pub batch_size: usize,
    /// Fixes order and dropout.
    pub seed: u64,
    /// Samples that are learned from.
    pub train: Samples,
    /// Samples that measure each epoch.
    pub validation: Samples,
    /// Where it runs.
    pub device: &'a Device,
}

/// What training gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// The whole model's weights after the epoch with the lowest validation loss; those it began with where no epoch
    /// was better.
    pub best: Weights,
    /// All completed epochs, those before included.
    pub history: History,
    /// Whether the observer stopped it before the last epoch was done.
    pub stopped: bool,
}

/// Trains.
///
/// The loss is the mean cross-entropy of the softmax of the logits. Training samples come in a new order every epoch,
/// fixed by the seed; the weights of the epoch with the lowest validation loss are kept. The same task gives the same
/// weights, bit for bit, on the same device with the same number of threads; only one training may run in a process at
/// a time, since Burn's generator for dropout is shared.
///
/// That frozen layers have not changed is checked at the end.
pub fn fit(task: &Task<'_>, observer: &mut dyn Observer) -> Result<Fitted, TrainError> {
    // Inside the pool: from outside, each of a step's parallel loops would put this thread to sleep and wake it up again,
    // which costs as much as some of the loops.
    rayon::scope(|_| epochs(task, observer))
}

fn epochs(task: &Task<'_>, observer: &mut dyn Observer) -> Result<Fitted, TrainError> {
    task.weights.check(task.model)?;
    for (samples, name) in [(&task.train, "training"), (&task.validation, "validation")] {
        if samples.view().is_empty() {
            return Err(TrainError::Empty(name));
        }
    }
    let mut state = State::new(task)?;
    let mut fitted = Fitted { best: task.weights.clone(), history: task.history.clone(), stopped: false };
    let before = task.history.epochs.len();
    for number in before + 1..=before + task.phase.epochs {
        let Some(epoch) = state.epoch(number, observer)? else {
            fitted.stopped = true;
            break;
        };
        fitted.history.epochs.push(epoch);
        let weights = state.network.weights();
        let best = fitted.history.best().is_some_and(|best| best.epoch == number);
        observer.epoch(&epoch, &weights, best)?;
        if best {
            fitted.best.0.extend(weights.0);
        }
    }
    frozen::check(task.model, task.weights, &fitted.best)?;
    Ok(fitted)
}

/// What changes during training, and what it needs at every step.
struct State<'a> {
    task: &'a Task<'a>,
    network: Network,
    /// Steps taken.
    steps: u64,
    optimizer: ModuleOptimizer,
    base_rate: f64,
    rates: ModuleLearningRate,
    loss: CrossEntropyLoss,
    /// The device with gradients; validation runs without.
    device: Device,
}

impl<'a> State<'a> {
    fn new(task: &'a Task<'a>) -> Result<Self, TrainError> {
        let device = task.device.autodiff();
        device.burn.seed(stream(task));
        let network = Network::new(&task.model.layers()[task.first_layer..], task.weights, &device)?;
        let Optimizer::Adam { learning_rate, beta_1, beta_2, epsilon } = task.phase.optimizer;
        let optimizer = if task.device.kernels {
            fused::Adam { beta_1, beta_2, epsilon }.into()
        } else {
            let config = AdamConfig::new().with_beta_1(beta_1 as f32).with_beta_2(beta_2 as f32);
            config.with_epsilon(epsilon as f32).init()
        };
        Ok(Self {
            rates: rates(task, &network, learning_rate),
            network,
            steps: 0,
            optimizer,
            base_rate: learning_rate,
            loss: CrossEntropyLossConfig::new().init(&device.burn),
            device,
            task,
        })
    }

    /// One pass over the training samples and one over the validation samples; nothing if the observer stopped it.
    fn epoch(&mut self, epoch: usize, observer: &mut dyn Observer) -> Result<Option<Epoch>, TrainError> {
        let start = Instant::now();
        let Some(train) = self.train(epoch, observer)? else { return Ok(None) };
        let Some(val) = self.validate(epoch, observer)? else { return Ok(None) };
        if !val.loss().is_finite() {
            return Err(TrainError::ValidationDiverged { epoch, learning_rate: self.base_rate, loss: val.loss() });
        }
        Ok(Some(Epoch {
            epoch,
            train_loss: train.loss(),
            train_accuracy: train.accuracy(),
            val_loss: val.loss(),
            val_accuracy: val.accuracy(),
            learning_rate: self.base_rate,
            seconds: start.elapsed().as_secs_f64(),
        }))
    }

    fn train(&mut self, epoch: usize, observer: &mut dyn Observer) -> Result<Option<Running>, TrainError> {
        let order = Order::Shuffled { seed: self.task.seed, epoch: epoch as u64 };
        let total = self.task.train.view().len();
        let mut running = Running::default();
        for (step, batch) in Loader::new(self.task.train.clone(), self.task.batch_size, order)?.iter().enumerate() {
            let batch = batch?;
            let labels = batch.labels.clone();
            let (loss, logits) = self.step(batch)?;
            if !loss.is_finite() {
                let learning_rate = self.base_rate;
                return Err(TrainError::Diverged { epoch, step: step + 1, learning_rate, loss });
            }
            running.push(loss, &logits, &labels);
            if observer.trained(running.report(epoch, total)) == Control::Stop {
                return Ok(None);
            }
        }
        Ok(Some(running))
    }

    /// Forward, backward, update. Gives the loss and the logits from before the update.
    fn step(&mut self, batch: Batch) -> Result<(f64, Vec<f32>), TrainError> {
        let labels = labels(&batch, &self.device.burn);
        let draws = Draws { seed: stream(self.task), step: self.steps };
        self.steps += 1;
        let input = self.network.input(batch.values, &self.device.burn);
        let logits = self.network.forward(input, draws)?.into_vector();
        let loss = self.loss.forward(logits.clone(), labels);
        let gradients = GradientsParams::from_grads(loss.backward(), &self.network);
        // Taken, not cloned: parameters that nothing else holds are updated where they lie.
        let network = std::mem::take(&mut self.network);
        self.network = self.optimizer.step(self.rates.clone(), network, gradients);
        Ok((f64::from(values(loss)?[0]), values(logits)?))
    }

    fn validate(&self, epoch: usize, observer: &mut dyn Observer) -> Result<Option<Running>, TrainError> {
        let network = self.network.valid();
        let device = &self.task.device.burn;
        let total = self.task.validation.view().len();
        let mut running = Running::default();
        for batch in &Loader::new(self.task.validation.clone(), self.task.batch_size, Order::Sequential)? {
            let batch = batch?;
            let truth = labels(&batch, device);
            let logits = network.forward(network.input(batch.values, device), Draws::default())?.into_vector();
            let loss = self.loss.forward(logits.clone(), truth);
            running.push(f64::from(values(loss)?[0]), &values(logits)?, &batch.labels);
            if observer.validated(running.report(epoch, total)) == Control::Stop {
                return Ok(None);
            }
        }
        Ok(Some(running))
    }
}

/// The seed of dropout: another stream for every phase.
fn stream(task: &Task<'_>) -> u64 {
    task.seed.wrapping_add(task.history.epochs.len() as u64)
}

/// The optimizer's learning rate, and those of layers that have one of their own.
fn rates(task: &Task<'_>, network: &Network, base: f64) -> ModuleLearningRate {
    let layers = task.model.layers();
    let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
    let mut scheduler = ModuleLrScheduler::new(base);
    for (pattern, rate) in &task.phase.learning_rates {
        let selected = Layers::Named(vec![pattern.clone()]).select(&names).expect("a recipe's patterns are checked");
        for (name, _) in names.iter().zip(selected).filter(|(_, selected)| *selected) {
            if let Some(group) = network.group(name) {
                scheduler = scheduler.with_group(group, *rate);
            }
        }
    }
    scheduler.step()
}

/// The labels of a batch, `[n]`.
fn labels(batch: &Batch, device: &burn::tensor::Device) -> Tensor<1, Int> {
    let labels: Vec<i64> = batch.labels.iter().map(|&label| i64::from(label)).collect();
    let count = labels.len();
    Tensor::from_data(TensorData::new(labels, [count]), device)
}
