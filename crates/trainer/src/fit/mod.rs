//! The training loop.

mod average;
mod improvement;
mod lbfgs;
mod logistic;
mod loss;
mod observer;
mod optimizer;
mod range_test;
mod schedule;
mod suggestion;

use std::ops::ControlFlow;
use std::time::Instant;

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::tensor::Bytes;
use kiln_data::{Batch, LabelSets, Loader, Order, Samples};
use kiln_model::{Model, OptimizerKind, Phase, Training};
use kiln_run::{Epoch, History, Weights};
use kiln_util::CancelToken;

use crate::network::{DropoutKey, Network, values};
use crate::{Device, TrainError, device, frozen};
use average::MovingAverage;
pub use improvement::{is_finished, phases_of};
use loss::{Loss, Truth};
use observer::Running;
pub use observer::{BatchReport, Observer, Snapshot};
use optimizer::Rates;
pub use range_test::{RangeEnd, RangeStep, RangeTest, RangeTested, range_test};
use schedule::Position;
pub use suggestion::Suggestion;

/// A training of one phase: what is trained, from where, on what, how and where.
pub struct Task<'a> {
    /// The model; its frozen layers stay as they are.
    pub model: &'a Model,
    /// The layer that takes the samples: 0 for images, a later one for what the layers before it
    /// made of them.
    pub first_layer: usize,
    /// The weights to begin with, of the whole model.
    pub weights: &'a Weights,
    /// The epochs before, if any: numbers continue from there, and a later epoch is the best only if
    /// it beats them.
    pub history: &'a History,
    /// Batch size, seed and loss.
    pub training: &'a Training,
    /// Optimizer, schedule and number of epochs.
    pub phase: &'a Phase,
    /// Where the phase is resumed, if it had begun.
    pub resume: Option<Resume<'a>>,
    /// Samples that are learned from.
    pub train: Samples,
    /// Samples that measure each epoch.
    pub validation: Samples,
    /// Device that computes.
    pub device: &'a Device,
    /// Number of epochs in all, those before included, after which the training is to pause; without it, it goes on
    /// to its end. Learning rates are those of the whole training. Fits by L-BFGS do not pause.
    pub pause_after: Option<usize>,
    /// Stops the training after the current step.
    pub cancel: &'a CancelToken,
}

/// Where an interrupted phase is resumed.
#[derive(Debug, Clone, Copy)]
pub struct Resume<'a> {
    /// Epochs that are done, the last ones of the task's history.
    pub epochs: usize,
    /// Where it stood after them.
    pub snapshot: &'a Snapshot,
}

/// Result of [`fit`].
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// The whole model's weights after the best epoch; those it began with where no epoch was
    /// better.
    pub best: Weights,
    /// All completed epochs, those before included.
    pub history: History,
    /// Whether it was cancelled before the last epoch was done, or paused.
    pub stopped: bool,
}

/// Trains one phase.
///
/// Training samples come in a new
/// order every epoch, fixed by the seed; the weights of the best epoch are kept, or their moving average, if
/// there is one: then that is what is validated. The same task
/// gives the same weights, bit for bit, on the same device with the same number of threads, also if
/// it is resumed after any of its epochs; only one training may run in a process at a time,
/// since Burn's generator for dropout is shared.
///
/// That frozen layers have not changed is checked at the end.
///
/// # Errors
///
/// [`TrainError`]: weights or samples that do not fit, a loss that is not a number, a device or an
/// observer that fails.
pub fn fit(task: &Task<'_>, observer: &mut dyn Observer) -> Result<Fitted, TrainError> {
    if let OptimizerKind::Lbfgs(params) = &task.phase.optimizer.kind {
        check(task)?;
        // On the CPU whatever the device: Burn's tensors are f32.
        return rayon::scope(|_| logistic::fit(task, params, observer));
    }
    // What was kept by the observer stays if a device fails: a training can be resumed from its last
    // whole epoch.
    on_device(task.device, || epochs(task, observer))
}

/// Computes in rayon's pool, and makes an error of a panic of a GPU.
fn on_device<T: Send>(
    device: &Device,
    work: impl FnOnce() -> Result<T, TrainError> + Send,
) -> Result<T, TrainError> {
    // Inside the pool: from outside, each of a step's parallel loops would put this thread to sleep
    // and wake it up again, which costs as much as some of the loops.
    rayon::scope(|_| {
        if device.is_gpu() {
            device::caught(|| Ok(work())).map_err(TrainError::Device)?
        } else {
            work()
        }
    })
}

/// Returns the classes of each label of samples.
fn sets(samples: &Samples) -> &LabelSets {
    samples.view().dataset().label_sets()
}

/// Checks that weights and samples fit the task.
fn check(task: &Task<'_>) -> Result<(), TrainError> {
    task.weights.check(task.model)?;
    for (samples, name) in [(&task.train, "training"), (&task.validation, "validation")] {
        if samples.view().is_empty() {
            return Err(TrainError::Empty(name));
        }
    }
    Ok(())
}

fn epochs(task: &Task<'_>, observer: &mut dyn Observer) -> Result<Fitted, TrainError> {
    check(task)?;
    let mut state = State::new(task)?;
    let mut fitted = Fitted {
        best: task.weights.clone(),
        history: task.history.clone(),
        stopped: false,
    };
    let before = task.before();
    for number in task.history.epochs.len() + 1..=before + task.phase.epochs {
        let over = |stopping| {
            improvement::is_over(
                stopping,
                fitted.history.monitor,
                &fitted.history.epochs[before..],
            )
        };
        if task.phase.early_stopping.is_some_and(over) {
            break;
        }
        if task.pause_after.is_some_and(|pause| number > pause) {
            fitted.stopped = true;
            break;
        }
        let Some(epoch) = state.epoch(number, &fitted.history.epochs[before..], observer)? else {
            fitted.stopped = true;
            break;
        };
        fitted.history.epochs.push(epoch);
        let snapshot = state.snapshot()?;
        let best = fitted
            .history
            .best()
            .is_some_and(|best| best.epoch == number);
        observer.epoch(&epoch, &snapshot, best)?;
        if best {
            fitted.best.extend(snapshot.into_validated());
        }
    }
    frozen::check(task.model, task.weights, &fitted.best)?;
    Ok(fitted)
}

impl Task<'_> {
    /// Returns the number of epochs of the phases before.
    fn before(&self) -> usize {
        self.history.epochs.len() - self.resume.map_or(0, |resume| resume.epochs)
    }

    /// Returns the seed of dropout: another stream for every phase.
    fn stream(&self) -> u64 {
        self.training.seed.wrapping_add(self.before() as u64)
    }

    /// Returns the loss of the training samples.
    fn loss(&self) -> Loss {
        let view = self.train.view();
        let classes = view.dataset().classes();
        Loss::new(self.training, classes, view.len(), &view.class_counts())
    }

    /// Returns the number of batches of an epoch.
    fn epoch_batches(&self) -> u64 {
        self.training.epoch_batches(self.train.view().len()) as u64
    }

    /// Whether training continues: not once it is cancelled.
    fn go_on(&self) -> ControlFlow<()> {
        if self.cancel.is_cancelled() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Returns the number of steps of an epoch.
    fn epoch_steps(&self) -> u64 {
        self.training.epoch_steps(self.train.view().len()) as u64
    }
}

/// A batch that was trained on.
struct TrainedBatch {
    /// Its number in the epoch, from 1.
    number: usize,
    /// Mean loss of its images, in nats, by the weights before its step.
    loss: f64,
    /// Share of its step's images that are in it.
    share: f64,
    logits: Vec<f32>,
    /// Label of what each image shows most of.
    labels: Vec<u32>,
    /// Whether it was the last one of its step, so that the weights were updated.
    ends_step: bool,
}

/// What changes during training, and what it needs at every step.
struct State<'a> {
    task: &'a Task<'a>,
    network: Network,
    average: Option<MovingAverage>,
    /// Batches of the phase so far.
    batches: u64,
    /// Steps taken in the phase.
    steps: u64,
    /// Of the batches since the last step.
    gradients: GradientsAccumulator<Network>,
    optimizer: ModuleOptimizer,
    rates: Rates,
    loss: Loss,
    /// The device with gradients; validation runs without.
    device: Device,
}

impl<'a> State<'a> {
    fn new(task: &'a Task<'a>) -> Result<Self, TrainError> {
        let device = task.device.autodiff();
        let layers = &task.model.layers()[task.first_layer..];
        let mut optimizer = optimizer::build(&task.phase.optimizer, task.model, &device)?;
        let mut weights = task.weights.clone();
        if let Some(Resume { snapshot, .. }) = task.resume {
            weights.extend(snapshot.weights.clone());
            weights.check(task.model)?;
            let bytes = Bytes::from_bytes_vec(snapshot.optimizer.clone());
            optimizer = optimizer
                .from_bytes(bytes)
                .map_err(|error| TrainError::Optimizer(error.to_string()))?;
        }
        let network = Network::new(layers, &weights, &device)?;
        let epochs = task.resume.map_or(0, |resume| resume.epochs as u64);
        let average = task.training.ema_decay.map(|decay| {
            if let Some(Resume { snapshot, .. }) = task.resume {
                weights.extend(snapshot.average.clone().unwrap_or_default());
            }
            MovingAverage::new(layers, &weights, task.device, decay)
        });
        Ok(Self {
            rates: Rates::new(task, &network),
            network,
            average: average.transpose()?,
            batches: epochs * task.epoch_batches(),
            steps: epochs * task.epoch_steps(),
            gradients: GradientsAccumulator::new(),
            optimizer,
            loss: task.loss(),
            device,
            task,
        })
    }

    /// Returns what it takes to resume from here.
    fn snapshot(&self) -> Result<Snapshot, TrainError> {
        let optimizer = self
            .optimizer
            .into_bytes()
            .map_err(|error| TrainError::Optimizer(error.to_string()))?;
        Ok(Snapshot {
            weights: self.network.weights(),
            average: self.average.as_ref().map(MovingAverage::weights),
            optimizer: optimizer.to_vec(),
        })
    }

    /// One pass over the training samples and one over the validation samples; nothing if it was
    /// cancelled. `history` are the phase's epochs so far.
    fn epoch(
        &mut self,
        epoch: usize,
        history: &[Epoch],
        observer: &mut dyn Observer,
    ) -> Result<Option<Epoch>, TrainError> {
        let start = Instant::now();
        let Some(train) = self.train(epoch, history, observer)? else {
            return Ok(None);
        };
        let images_per_second = self.task.train.view().len() as f64 / start.elapsed().as_secs_f64();
        let Some(val) = self.validate(epoch, observer)? else {
            return Ok(None);
        };
        let learning_rate = self.rates.current();
        if !val.loss().is_finite() {
            return Err(TrainError::ValidationDiverged {
                epoch,
                learning_rate,
                loss: val.loss(),
            });
        }
        Ok(Some(Epoch {
            epoch,
            train_loss: train.loss(),
            train_accuracy: train.accuracy(),
            val_loss: val.loss(),
            val_accuracy: val.accuracy(),
            val_macro_f1: Some(val.macro_f1()),
            learning_rate,
            seconds: start.elapsed().as_secs_f64(),
            images_per_second: Some(images_per_second),
            penalty: None,
        }))
    }

    fn train(
        &mut self,
        epoch: usize,
        history: &[Epoch],
        observer: &mut dyn Observer,
    ) -> Result<Option<Running<'a>>, TrainError> {
        let task = self.task;
        let total = task.train.view().len();
        let mut running = Running::new(sets(&task.train));
        let schedule = |state: &mut Self| {
            let position = Position {
                step: state.steps,
                epoch_steps: task.epoch_steps(),
                epochs: task.phase.epochs,
                history,
            };
            state.rates.advance(task, position);
        };
        let ended = self.pass(epoch, schedule, |state, batch| {
            let loss = batch.loss;
            if !loss.is_finite() {
                return Err(TrainError::Diverged {
                    epoch,
                    step: batch.number,
                    learning_rate: state.rates.current(),
                    loss,
                });
            }
            running.push(loss, &batch.logits, &batch.labels);
            observer.step(running.report(epoch, total));
            Ok(task.go_on())
        })?;
        Ok(ended.is_continue().then_some(running))
    }

    /// Trains on the batches of an epoch in its order. `set_rates` is called before each of them, and `each` after it,
    /// which may end the pass.
    fn pass(
        &mut self,
        epoch: usize,
        mut set_rates: impl FnMut(&mut Self),
        mut each: impl FnMut(&Self, TrainedBatch) -> Result<ControlFlow<()>, TrainError>,
    ) -> Result<ControlFlow<()>, TrainError> {
        let task = self.task;
        // Again for every epoch, so that a resumed training draws what it would have drawn.
        self.device
            .burn
            .seed(task.stream().wrapping_add((epoch as u64) << 32));
        let order = Order::Shuffled {
            seed: task.training.seed,
            epoch: epoch as u64,
        };
        let total = task.train.view().len();
        let batches = task.training.gradient_accumulation_steps;
        let step_images = task.training.step_images();
        for (at, batch) in Loader::new(task.train.clone(), task.training.batch_size, order)?
            .iter()
            .enumerate()
        {
            let batch = batch?;
            set_rates(self);
            let labels = batch.main_labels();
            // Those of the whole step, the last one of which may be smaller.
            let images = step_images.min(total - at / batches * step_images);
            let (loss, logits) = self.batch(batch, images)?;
            let number = at + 1;
            let ends_step = number % batches == 0 || number as u64 == task.epoch_batches();
            if ends_step {
                self.step()?;
            }
            let trained = TrainedBatch {
                number,
                loss,
                share: labels.len() as f64 / images as f64,
                logits,
                labels,
                ends_step,
            };
            if each(self, trained)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Runs forward and backward for a batch of a step that has so many images in all. Returns the loss and
    /// the logits.
    fn batch(&mut self, batch: Batch, images: usize) -> Result<(f64, Vec<f32>), TrainError> {
        let key = DropoutKey {
            seed: self.task.stream(),
            step: self.batches,
        };
        self.batches += 1;
        let input = self.network.input(batch.values, &self.device.burn);
        let logits = self.network.forward(input, key)?.into_vector()?;
        let device = &self.device.burn;
        let truth = Truth {
            labels: &batch.labels,
            mixed: batch.mixed.as_ref(),
            sets: sets(&self.task.train),
        };
        let loss = self.loss.forward(logits.clone(), truth, device);
        let own = batch.labels.len();
        let gradients = if own == images {
            loss.backward()
        } else {
            (loss.clone() * (own as f64 / images as f64)).backward()
        };
        let gradients = GradientsParams::from_grads(gradients, &self.network);
        self.gradients.accumulate(&self.network, gradients);
        Ok((f64::from(values(loss)?[0]), values(logits)?))
    }

    /// Updates the weights by the gradients of the batches since the last step.
    fn step(&mut self) -> Result<(), TrainError> {
        self.steps += 1;
        let gradients = self.gradients.grads();
        let gradients = match self.task.phase.optimizer.global_clipnorm {
            Some(most) => optimizer::clip_by_global_norm(&self.network, gradients, most)?,
            None => gradients,
        };
        // Taken, not cloned: parameters that nothing else holds are updated where they lie.
        let network = std::mem::take(&mut self.network);
        self.network = self.optimizer.step(self.rates.all(), network, gradients);
        if let Some(average) = &mut self.average {
            average.follow(&self.network.valid(), self.steps);
        }
        Ok(())
    }

    fn validate(
        &self,
        epoch: usize,
        observer: &mut dyn Observer,
    ) -> Result<Option<Running<'a>>, TrainError> {
        let network = match &self.average {
            Some(average) => average.network().clone(),
            None => self.network.valid(),
        };
        let device = &self.task.device.burn;
        let total = self.task.validation.view().len();
        let sets = sets(&self.task.validation);
        let loss = self.loss.plain();
        let mut running = Running::new(sets);
        let batch_size = self.task.training.batch_size;
        for batch in &Loader::new(self.task.validation.clone(), batch_size, Order::Sequential)? {
            let batch = batch?;
            let logits = network
                .forward(network.input(batch.values, device), DropoutKey::default())?
                .into_vector()?;
            // Neither smoothing nor weights: the figure is the plain cross-entropy, as `kiln eval`
            // gives it.
            let truth = Truth {
                labels: &batch.labels,
                mixed: None,
                sets,
            };
            let loss = loss.forward(logits.clone(), truth, device);
            running.push(f64::from(values(loss)?[0]), &values(logits)?, &batch.labels);
            observer.validation_step(running.report(epoch, total));
            if self.task.cancel.is_cancelled() {
                return Ok(None);
            }
        }
        Ok(Some(running))
    }
}

#[cfg(test)]
mod tests;
