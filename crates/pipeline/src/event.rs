//! What a pipeline tells while it works. An observer draws it, logs it or drops it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(feature = "training")]
use std::time::Duration;

use kiln_data::{NumberedFolders, Repeated, SkippedFiles};
#[cfg(feature = "training")]
use kiln_model::Counts;
#[cfg(feature = "training")]
use kiln_run::{Environment, Epoch, History};
#[cfg(feature = "training")]
use kiln_trainer::{BatchReport, Device, RangeTest};

use crate::configs::Found;
use crate::error::Error;
use crate::error::images::Missing;

/// Receives events, from any thread.
///
/// Closures `Fn(&Event<'_>)` are observers, and so is `()`, which drops everything.
pub trait Observer: Sync {
    /// Takes note of an event. Work waits until this returns.
    fn event(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Sync> Observer for F {
    fn event(&self, event: &Event<'_>) {
        self(event);
    }
}

impl Observer for () {
    fn event(&self, _: &Event<'_>) {}
}

/// Work whose progress can be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Task<'a> {
    /// Downloading or unpacking a file of an asset, in bytes.
    Fetch {
        /// The step, for people.
        what: &'a str,
    },
    /// Reading the images of a dataset.
    Read {
        /// The dataset's name.
        dataset: &'a str,
    },
    /// Computing features of the frozen prefix, in images.
    Features,
    /// Measuring the outputs of unfolded convolutions, in images.
    Unfold,
    /// Running a model over images.
    Evaluate {
        /// The engine's title.
        engine: &'a str,
    },
    /// Running two models over images.
    Compare,
    /// Timing models, in turns.
    Bench,
    /// Comparing Burn with the engines, in runs.
    Verify,
    /// Computing golden vectors, in images.
    Golden,
    /// Loading a model, whose steps cannot be counted.
    Load {
        /// The engine's title.
        engine: &'a str,
    },
    /// Covering parts of images, in patches.
    Explain,
    /// Running a model on calibration images, in images.
    Calibrate,
    /// Running a model with each layer alone in 8 bits, in layers.
    Sensitivity,
    /// Following the gradients of scores back to feature maps, in images.
    Gradients,
    /// Training with growing learning rates, in steps.
    RangeTest,
    /// Computing the probabilities of the validation images, of which thresholds are chosen, in images.
    Thresholds,
}

/// Something that happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A task began.
    TaskStarted {
        /// The task.
        task: Task<'a>,
        /// Number of steps, if known.
        total: Option<u64>,
    },
    /// A task advanced. Threads that advance together may report out of order.
    TaskAdvanced {
        /// The task.
        task: Task<'a>,
        /// Steps done so far.
        done: u64,
        /// Steps that were done before this task began, and cost no time.
        resumed: u64,
        /// Number of steps, if known.
        total: Option<u64>,
    },
    /// A task ended, whether or not it succeeded.
    TaskFinished {
        /// The task.
        task: Task<'a>,
    },
    /// An asset that is not in the cache is about to be fetched.
    Fetching {
        /// Its name.
        asset: &'a str,
        /// Its size in bytes.
        bytes: u64,
        /// Its license.
        license: &'a str,
    },
    /// An asset was fetched.
    Fetched {
        /// Where it lies now.
        folder: &'a Path,
        /// Where its files came from.
        sources: &'a [String],
    },
    /// A line about a fetch, for people.
    FetchMessage(&'a str),
    /// A dataset of image files was read.
    DatasetRead {
        /// The dataset's name.
        name: &'a str,
        /// Number of images.
        images: u64,
        /// Time it took.
        seconds: f64,
    },
    /// A folder of images holds other things too, which are not used.
    FilesSkipped {
        /// The folder, or the several of them.
        folder: &'a str,
        /// What was skipped.
        skipped: &'a SkippedFiles,
    },
    /// Lines of a list have files that earlier lines have under another spelling or the same: each
    /// file is one image.
    RepeatedFiles {
        /// The list.
        list: &'a str,
        /// Number of lines that do not count.
        count: u64,
        /// The first of them.
        lines: &'a [Repeated],
    },
    /// Images whose classes are numbers were matched with those of a model, where another way would
    /// have been possible.
    NumberedClasses {
        /// The folder or list.
        data: &'a str,
        /// One of them, and how it was matched.
        example: &'a NumberedFolders,
    },
    /// Classes have no image to validate or to test on, since they are too small.
    SmallClasses {
        /// The dataset.
        dataset: &'a str,
        /// The classes without a validation image.
        validation: &'a [String],
        /// The classes without a test image.
        test: &'a [String],
    },
    /// Images are in color, and the model takes gray ones.
    ColorsIgnored {
        /// The dataset.
        dataset: &'a str,
        /// Number of images in color.
        images: u64,
        /// Number of all images.
        total: u64,
    },
    /// Photographs are turned by their Exif orientation, and the model takes them as they are stored.
    OrientationIgnored {
        /// Number of these photographs.
        images: u64,
    },
    /// The preprocessing of a model is as another tool says.
    ConfigFound {
        /// Where it says so.
        found: &'a Found,
    },
    /// Predictions are resumed.
    ResumingPredictions {
        /// The file.
        path: &'a Path,
        /// Number of images that are in it.
        images: u64,
    },
    /// Paths that are not UTF-8: results have replacement characters in them.
    LossyPaths {
        /// Number of paths.
        paths: u64,
    },
    /// A model is being timed.
    Timing {
        /// What the model is called.
        target: &'a str,
        /// Number of images per run.
        batch_size: usize,
        /// Whether the runs are not counted yet.
        warm_up: bool,
    },
    /// Classes of a dataset without images were skipped.
    EmptyClassesSkipped {
        /// The dataset's name.
        dataset: &'a str,
        /// The classes.
        classes: &'a [String],
    },
    /// A model was exported.
    Exported {
        /// The file.
        path: &'a Path,
        /// Its size in bytes.
        bytes: u64,
    },
    /// The training of a run that is exported did not finish: its best weights so far are taken.
    UnfinishedExported {
        /// The run directory.
        run: &'a Path,
        /// Number of epochs done.
        epochs_done: usize,
        /// Number of epochs of all phases.
        epochs: usize,
    },
    /// A model is exported without golden vectors, so that its file cannot be verified.
    WithoutGolden {
        /// What would be needed to make them.
        missing: &'a Missing,
    },
    /// Burn and the engines agree on some images.
    Verified {
        /// The implementations compared, such as Burn and tract.
        implementations: &'a [&'static str],
        /// The largest difference of a score.
        max_difference: f64,
        /// The batch sizes compared.
        batch_sizes: &'a str,
    },
    /// Two implementations do not agree.
    ParityFailed {
        /// The difference, for people.
        failure: &'a str,
    },
    /// A page is written without images.
    PageWithoutImages {
        /// Why they cannot be shown.
        reason: &'a str,
    },
    /// A combination of a sweep is complete already.
    CombinationReused {
        /// Its place, from 1.
        number: usize,
        /// Number of combinations.
        total: usize,
        /// The combination's label.
        label: &'a str,
        /// Its run directory.
        run: &'a Path,
    },
    /// Combinations of a sweep that is halved are trained up to an epoch.
    RungStarted {
        /// The epoch.
        epochs: usize,
        /// Number of combinations that are still trained, those that differ in nothing but the seed counted once.
        candidates: usize,
        /// Number of those that go on after it.
        kept: usize,
        /// What decides, for people.
        by: &'a str,
    },
    /// Combinations of a sweep go no further.
    CombinationsPruned {
        /// Their labels.
        labels: &'a [&'a str],
        /// The epoch after which they were compared with the others.
        epochs: usize,
    },
    /// The best combination of a sweep, which was compared on one engine, is compared on all.
    BestCompared {
        /// Its label.
        label: &'a str,
    },
    /// A combination of a sweep begins.
    CombinationStarted {
        /// Its place, from 1.
        number: usize,
        /// Number of combinations.
        total: usize,
        /// The combination's label.
        label: &'a str,
    },
    /// A combination of a sweep failed; the others go on.
    CombinationFailed {
        /// Its place, from 1.
        number: usize,
        /// Number of combinations.
        total: usize,
        /// The combination's label.
        label: &'a str,
        /// Why it failed.
        error: &'a Error,
    },
    /// All that is left of a shared sweep is being run by other processes: it is waited for, and taken over where one ends.
    SweepAwaited {
        /// Number of combinations.
        of_others: usize,
    },
    /// A training begins.
    #[cfg(feature = "training")]
    TrainingStarted {
        /// The run directory.
        run: &'a Path,
        /// Number of images to train on.
        train_images: usize,
        /// Number of images to validate on.
        validation_images: usize,
        /// Whether these are the test images.
        validates_on_test: bool,
        /// Number of parameters.
        parameters: Counts,
        /// The device.
        device: &'a Device,
    },
    /// A learning-rate range test begins.
    #[cfg(feature = "training")]
    RangeTestStarted(RangeTestInfo<'a>),
    /// A training begins with the weights of another one.
    #[cfg(feature = "training")]
    BegunWith {
        /// Its run directory, or a file.
        path: &'a Path,
        /// The number of tensors that were taken.
        taken: usize,
        /// Names of those that are drawn: they are not there, or have another shape.
        drawn: &'a [&'a str],
    },
    /// A training goes on after its last epoch, in a run of its own.
    #[cfg(feature = "training")]
    TrainingExtended {
        /// The run that it goes on from.
        run: &'a Path,
        /// Number of epochs that this was to have.
        epochs_before: usize,
        /// Whether the learning rate depends on how many epochs the last phase has.
        spans_phase: bool,
        /// The learning rate at the end of that run.
        learning_rate: Option<f64>,
    },
    /// A training is resumed.
    #[cfg(feature = "training")]
    TrainingResumed {
        /// Number of epochs done.
        epochs_done: usize,
        /// Number of epochs of all phases.
        epochs: usize,
    },
    /// A training is resumed on another device or with another number of threads, so that rounding
    /// will differ.
    #[cfg(feature = "training")]
    EnvironmentChanged {
        /// With what it began.
        before: &'a Environment,
        /// With what it goes on.
        now: &'a Environment,
    },
    /// A phase of a training begins or is resumed.
    #[cfg(feature = "training")]
    PhaseStarted {
        /// The phase, from 1.
        number: usize,
        /// Number of phases.
        phases: usize,
        /// Number of parameters that it trains.
        trainable: usize,
    },
    /// The features of a backbone from a file are there, and no epoch is trained yet.
    #[cfg(feature = "training")]
    NearestNeighbor {
        /// Share of validation images whose nearest training image is of their class.
        accuracy: f64,
    },
    /// Convolutions got batch normalizations by their outputs for training images.
    #[cfg(feature = "training")]
    Unfolded {
        /// Number of convolutions.
        convolutions: usize,
        /// Number of images.
        images: usize,
        /// Time it took.
        seconds: f64,
    },
    /// An engine is not compared on an exported model whose graph is from a file.
    #[cfg(feature = "training")]
    EngineLeftOut {
        /// The engine's title.
        engine: &'static str,
        /// Why not.
        reason: &'a str,
    },
    /// Training or validation advanced by a batch.
    #[cfg(feature = "training")]
    Batch {
        /// Epoch, images done, loss and accuracy so far.
        report: BatchReport,
        /// Whether the images are validation images.
        validating: bool,
        /// Number of epochs of all phases.
        epochs: usize,
        /// The epochs before.
        history: &'a History,
        /// Number of those that belong to earlier phases, whose epochs take another time.
        before_phase: usize,
        /// Time since the epoch began.
        elapsed: Duration,
    },
    /// A fit by L-BFGS ended before its gradient was small enough.
    #[cfg(feature = "training")]
    NotConverged {
        /// Its penalty.
        penalty: f64,
        /// Number of iterations.
        iterations: usize,
        /// The largest component of the gradient.
        gradient: f64,
    },
    /// An epoch ended.
    #[cfg(feature = "training")]
    EpochFinished {
        /// Its figures.
        epoch: &'a Epoch,
        /// Number of epochs of all phases.
        epochs: usize,
        /// Training images per second, without validation.
        images_per_second: f64,
        /// Whether it is the best so far.
        best: bool,
    },
    /// Work on batches ended for now, whether or not the epoch did.
    #[cfg(feature = "training")]
    BatchesFinished,
    /// A training finished.
    #[cfg(feature = "training")]
    TrainingFinished {
        /// Time it took, in this process.
        seconds: f64,
        /// The best epoch, whose weights were kept.
        best: &'a Epoch,
    },
    /// A training pauses, and may be resumed later.
    #[cfg(feature = "training")]
    TrainingPaused {
        /// Number of epochs done.
        epochs_done: usize,
        /// Number of epochs of all phases.
        epochs: usize,
    },
    /// A training was cancelled; its best weights so far are kept.
    #[cfg(feature = "training")]
    TrainingStopped {
        /// The run directory.
        run: &'a Path,
        /// Number of epochs done.
        epochs_done: usize,
    },
    /// Images are augmented, so that features of the frozen prefix cannot be kept: it runs on every
    /// image in every epoch.
    #[cfg(feature = "training")]
    FeaturesNotKept,
    /// Features of the frozen prefix are about to be computed, once.
    #[cfg(feature = "training")]
    FeaturesComputing(FeaturesInfo<'a>),
    /// Features of the frozen prefix were computed.
    #[cfg(feature = "training")]
    FeaturesComputed {
        /// The features.
        features: FeaturesInfo<'a>,
        /// Time it took.
        seconds: f64,
    },
    /// Features of the frozen prefix were computed before.
    #[cfg(feature = "training")]
    FeaturesReused(FeaturesInfo<'a>),
}

/// Features of a frozen prefix.
#[cfg(feature = "training")]
#[derive(Debug, Clone, Copy)]
pub struct FeaturesInfo<'a> {
    /// Number of images.
    pub images: usize,
    /// The last layer of the prefix.
    pub layer: &'a str,
    /// Size in bytes.
    pub bytes: u64,
    /// The file that they are kept in.
    pub path: &'a Path,
}

/// What a learning-rate range test tries.
#[cfg(feature = "training")]
#[derive(Debug, Clone, Copy)]
pub struct RangeTestInfo<'a> {
    /// Number of images to train on.
    pub train_images: usize,
    /// The phase, from 1.
    pub phase: usize,
    /// Whether it begins with the weights of another run.
    pub begins_with_run: bool,
    /// Number of parameters.
    pub parameters: Counts,
    /// The learning rates.
    pub range: &'a RangeTest,
    /// The device.
    pub device: &'a Device,
}

/// A running task. Dropping it ends the task.
pub struct TaskGuard<'a> {
    observer: &'a dyn Observer,
    task: Task<'a>,
    total: Option<u64>,
    done: AtomicU64,
    resumed: u64,
}

impl<'a> TaskGuard<'a> {
    /// Starts a task.
    pub(crate) fn start(observer: &'a dyn Observer, task: Task<'a>, total: Option<u64>) -> Self {
        observer.event(&Event::TaskStarted { task, total });
        Self {
            observer,
            task,
            total,
            done: AtomicU64::new(0),
            resumed: 0,
        }
    }

    /// Counts steps that were done before, which say nothing about the speed.
    #[cfg(feature = "training")]
    pub(crate) fn resume(mut self, steps: u64) -> Self {
        self.resumed = steps;
        *self.done.get_mut() = steps;
        self
    }

    /// Advances by some steps.
    pub(crate) fn advance(&self, steps: u64) {
        let done = self.done.fetch_add(steps, Ordering::Relaxed) + steps;
        self.observer.event(&Event::TaskAdvanced {
            task: self.task,
            done,
            resumed: self.resumed,
            total: self.total,
        });
    }

    /// Advances to a number of steps.
    #[cfg(feature = "training")]
    pub(crate) fn set(&self, done: u64) {
        let before = self.done.load(Ordering::Relaxed);
        self.advance(done.saturating_sub(before));
    }
}

impl Drop for TaskGuard<'_> {
    fn drop(&mut self) {
        self.observer
            .event(&Event::TaskFinished { task: self.task });
    }
}
