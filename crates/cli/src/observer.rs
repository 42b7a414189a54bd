//! How a pipeline's events look on a terminal: a status line each, a bar for a task, and a line now
//! and then where no bar can be drawn.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use kiln_pipeline::{Event, FeaturesInfo, Observer, RangeTestInfo, Task};
use kiln_run::Epoch;
use kiln_util::{Thousands, bytes, counted, duration, listed, percent, thousands};

use crate::hints;
use crate::image_notes;
use crate::live::{Live, SoFar};
use crate::terminal::Terminal;

/// How often a task without a visible bar says how far it is.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Draws events on standard error.
pub struct TerminalObserver<'a> {
    terminal: &'a Terminal,
    /// Tasks do not nest.
    progress: Mutex<Progress>,
}

struct Progress {
    bar: Option<ProgressBar>,
    /// What the bar counts.
    unit: &'static str,
    live: Live,
    /// When something was last said.
    last: Instant,
}

impl<'a> TerminalObserver<'a> {
    /// Creates an observer that draws nothing yet.
    pub fn new(terminal: &'a Terminal) -> Self {
        Self {
            terminal,
            progress: Mutex::new(Progress {
                bar: None,
                unit: "images",
                live: Live::default(),
                last: Instant::now(),
            }),
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, task: Task<'_>, total: Option<u64>) {
        let terminal = self.terminal;
        let (title, unit) = match task {
            Task::Fetch { .. } => (String::new(), "bytes"),
            Task::Read { .. } => ("Reading".into(), "images"),
            Task::Features => ("Features".into(), "images"),
            Task::Unfold => ("Unfolding".into(), "images"),
            Task::Evaluate { engine } => (format!("Evaluating {engine}"), "images"),
            Task::Compare => ("Comparing".into(), "images"),
            Task::Bench => ("Measuring".into(), "turns"),
            Task::Verify => ("Verifying".into(), "runs"),
            Task::Golden => ("Golden".into(), "images"),
            Task::Load { .. } => (String::new(), "models"),
            Task::Explain => ("Covering".into(), "patches"),
            Task::Calibrate => ("Calibrating".into(), "images"),
            Task::Sensitivity => ("Judging".into(), "layers"),
            Task::Gradients => ("Following".into(), "images"),
            Task::RangeTest => ("Testing".into(), "steps"),
            Task::Thresholds => ("Thresholds".into(), "images"),
            // A task that is newer than this text.
            _ => ("Working".into(), "steps"),
        };
        let bar = match (task, total) {
            (Task::Fetch { what }, total) => {
                let bar = match total {
                    Some(total) => terminal.bar(
                        total,
                        "             {wide_msg} {bar:24.green} {bytes:>10}/{total_bytes:10}{rate}{left}",
                        unit,
                    ),
                    None => terminal
                        .spinner("             {spinner:.green} {wide_msg} {elapsed:>4}", unit),
                };
                bar.set_message(what.to_owned());
                bar
            }
            (Task::Load { engine }, _) => {
                let bar =
                    terminal.spinner("     Loading {msg} {spinner:.green} {elapsed:>4}", unit);
                bar.set_message(engine.to_owned());
                bar
            }
            (Task::Bench, total) => terminal.bar(
                total.unwrap_or_default(),
                "   Measuring {msg} {bar:24.green} {pos:>3}/{len} turns {elapsed:>4}{left}",
                unit,
            ),
            _ => terminal.progress(&title, unit, total),
        };
        let mut progress = self.progress();
        progress.bar = Some(bar);
        progress.unit = unit;
        progress.last = Instant::now();
    }

    fn advance(&self, done: u64, resumed: u64) {
        let mut progress = self.progress();
        let Some(bar) = &progress.bar else { return };
        if bar.position() < resumed {
            // What was done before does not count for the speed.
            bar.set_position(resumed);
            bar.reset_eta();
        }
        // Threads that advance together may report out of order.
        if done > bar.position() {
            bar.set_position(done);
        }
        if bar.is_hidden() && progress.last.elapsed() >= HEARTBEAT {
            self.terminal.detail(&how_far(bar, progress.unit));
            progress.last = Instant::now();
        }
    }

    fn finish(&self) {
        if let Some(bar) = self.progress().bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Observer for TerminalObserver<'_> {
    fn event(&self, event: &Event<'_>) {
        let terminal = self.terminal;
        match event {
            Event::TaskStarted { task, total } => self.start(*task, *total),
            Event::TaskAdvanced { done, resumed, .. } => self.advance(*done, *resumed),
            Event::TaskFinished { .. } => self.finish(),
            Event::Fetching {
                asset,
                bytes: size,
                license,
            } => terminal.status("Fetching", &format!("{asset} ({}, {license})", bytes(*size))),
            Event::Fetched { folder, sources } => terminal.status(
                "Fetched",
                &format!("{} from {}", folder.display(), sources.join(", ")),
            ),
            Event::FetchMessage(text) => terminal.detail(text),
            Event::DatasetRead {
                name,
                images,
                seconds,
            } => terminal.status(
                "Read",
                &format!("{} of {name} in {}", counted(*images, "image"), duration(*seconds)),
            ),
            Event::ConfigFound { found } => terminal.status(
                "Note",
                &format!("the images are prepared as {} says", found.describe()),
            ),
            Event::ResumingPredictions { path, images } => terminal.status(
                "Resuming",
                &format!("after {} of {}", counted(*images, "image"), path.display()),
            ),
            Event::LossyPaths { paths } => terminal.status(
                "Note",
                &format!(
                    "{} not in UTF-8: the results have � for what is not",
                    counted(*paths, "path")
                ),
            ),
            Event::Timing {
                target,
                batch_size,
                warm_up,
            } => {
                if let Some(bar) = &self.progress().bar {
                    let on = if *warm_up { ", warm-up of" } else { " on" };
                    bar.set_message(format!("batch {batch_size}{on} {target}"));
                }
            }
            Event::EmptyClassesSkipped { dataset, classes } => {
                let count = counted(classes.len() as u64, "class");
                let text = format!("{count} of {dataset} without images:");
                terminal.left_out("Skipped", &text, classes);
            }
            Event::Exported { path, bytes: size } => {
                terminal.status("Exported", &format!("{} ({})", path.display(), bytes(*size)));
            }
            Event::UnfinishedExported {
                run,
                epochs_done,
                epochs,
            } => terminal.status(
                "Unfinished",
                &format!(
                    "{}: its training was interrupted after epoch {epochs_done} of {epochs}; these are \
                     the best weights so far",
                    run.display()
                ),
            ),
            Event::WithoutGolden { missing } => terminal.status(
                "Without",
                &format!(
                    "golden vectors, so that `kiln verify` cannot check the file: {}",
                    hints::missing(missing)
                ),
            ),
            Event::Verified {
                implementations,
                max_difference,
                batch_sizes,
            } => terminal.status(
                "Verified",
                &format!(
                    "{} agree: largest difference {max_difference:.1e} at batch {batch_sizes}{}",
                    listed(implementations.iter()),
                    hints::absent_engines(implementations)
                ),
            ),
            Event::EngineLeftOut { engine, reason } => {
                terminal.status("Note", &format!("without {engine}: {reason}"));
            }
            Event::ParityFailed { failure } => terminal.error(failure),
            Event::PageWithoutImages { reason } => {
                terminal.status("Note", &format!("the page is without images: {reason}"));
            }
            event => match image_notes::text(event) {
                Some(text) => terminal.status("Note", &text),
                None => self.sweep(event),
            },
        }
    }
}

impl TerminalObserver<'_> {
    /// Shows what happens to the combinations of a sweep, and in their trainings.
    fn sweep(&self, event: &Event<'_>) {
        let terminal = self.terminal;
        match event {
            Event::CombinationReused {
                number,
                total,
                label,
                run,
            } => terminal.status(
                "Reusing",
                &format!("{number}/{total}: {label}, complete in {}", run.display()),
            ),
            Event::RungStarted {
                epochs,
                candidates,
                kept,
                by,
            } => terminal.status(
                "Halving",
                &format!(
                    "{} up to epoch {epochs}, then {}",
                    counted(*candidates as u64, "combination"),
                    match kept {
                        1 => format!("the best by {by}"),
                        kept => format!("the {kept} best by {by}"),
                    }
                ),
            ),
            Event::CombinationsPruned { labels, epochs } => {
                let count = counted(labels.len() as u64, "combination");
                terminal.status("Pruned", &format!("{count} after epoch {epochs}:"));
                for label in *labels {
                    terminal.detail(label);
                }
            }
            Event::BestCompared { label } => {
                terminal.status("Comparing", &format!("the best on all engines: {label}"));
            }
            Event::CombinationStarted {
                number,
                total,
                label,
            } => terminal.status("Running", &format!("{number}/{total}: {label}")),
            Event::CombinationFailed {
                number,
                total,
                label,
                error,
            } => {
                terminal.error(&format!("{number}/{total}: {label}: {error}"));
                if let Some(help) = hints::of(error) {
                    terminal.help(&help);
                }
            }
            Event::SweepAwaited { of_others } => terminal.status(
                "Waiting",
                &format!(
                    "for {} of other processes",
                    counted(*of_others as u64, "combination")
                ),
            ),
            event => self.training(event),
        }
    }

    /// Says which weights of another run a training begins with, and which it does not.
    fn begun_with(&self, path: &Path, taken: usize, drawn: &[&str]) {
        let tensors = counted(taken as u64, "tensor");
        let text = format!("with {tensors} from {}", path.display());
        self.terminal.status("Beginning", &text);
        if let [first, others @ ..] = drawn {
            let text = match others.len() {
                0 => format!("`{first}` is not there, or has another shape: drawn anew"),
                count => format!(
                    "`{first}` and {count} more are not there, or have another shape: drawn anew"
                ),
            };
            self.terminal.status("Note", &text);
        }
    }

    /// Says what a range test tries.
    fn range_test(&self, test: &RangeTestInfo<'_>) {
        let RangeTestInfo {
            train_images,
            phase,
            begins_with_run,
            parameters,
            range,
            device,
        } = *test;
        let images = counted(train_images as u64, "image");
        let trained = counted(parameters.trainable as u64, "parameter");
        let tried = format!(
            "learning rates from {:?} to {:?} in {} steps on {images}, {trained}, {device}",
            range.lowest, range.highest, range.steps
        );
        self.terminal.status("Testing", &tried);
        if phase > 1 && !begins_with_run {
            let note = format!(
                "phase {phase} begins here with the recipe's initial weights, not with those that the phase before leaves"
            );
            self.terminal.status("Note", &note);
        }
    }

    /// Says what a training goes on from; `rate` is the last learning rate of a schedule that spans all epochs.
    fn extended(&self, run: &Path, epochs_before: usize, rate: Option<f64>) {
        let text = format!(
            "{}, which was to have {}",
            run.display(),
            counted(epochs_before as u64, "epoch")
        );
        self.terminal.status("Extending", &text);
        if let Some(rate) = rate {
            let text = format!(
                "the schedule depends on the number of epochs: it goes on as one of all epochs, after a learning rate \
                 of {rate:.2e}"
            );
            self.terminal.status("Note", &text);
        }
    }

    /// Draws the events of a training.
    fn training(&self, event: &Event<'_>) {
        let terminal = self.terminal;
        match event {
            Event::TrainingStarted {
                run,
                train_images,
                validation_images,
                validates_on_test,
                parameters,
                device,
            } => {
                let from = if *validates_on_test {
                    "test images "
                } else {
                    ""
                };
                let total = counted(parameters.total() as u64, "parameter");
                let trained = if parameters.trainable == parameters.total() {
                    total
                } else {
                    format!("{} of {total}", thousands(parameters.trainable))
                };
                terminal.status(
                    "Training",
                    &format!(
                        "{} on {} ({} {from}for validation), {trained}, {device}",
                        run.display(),
                        counted(*train_images as u64, "image"),
                        thousands(*validation_images),
                    ),
                );
            }
            Event::RangeTestStarted(test) => self.range_test(test),
            Event::BegunWith { path, taken, drawn } => self.begun_with(path, *taken, drawn),
            Event::TrainingExtended {
                run,
                epochs_before,
                spans_phase,
                learning_rate,
            } => {
                let rate = learning_rate.filter(|_| *spans_phase);
                self.extended(run, *epochs_before, rate);
            }
            Event::TrainingResumed {
                epochs_done,
                epochs,
            } => terminal.status(
                "Resuming",
                &format!("after epoch {epochs_done} of {epochs}"),
            ),
            Event::EnvironmentChanged { before, now } => terminal.detail(&format!(
                "it began with {} on {}, and resumes with {} on {}: rounding will differ",
                counted(before.threads as u64, "thread"),
                before.device,
                now.threads,
                now.device
            )),
            Event::PhaseStarted {
                number,
                phases,
                trainable,
            } => {
                if *phases > 1 {
                    let trainable = counted(*trainable as u64, "parameter");
                    terminal.status("Phase", &format!("{number}/{phases}: training {trainable}"));
                }
                self.progress().last = Instant::now();
            }
            Event::NearestNeighbor { accuracy } => terminal.status(
                "Features",
                &format!(
                    "the nearest training image has the right class for {} of the validation images",
                    percent(*accuracy)
                ),
            ),
            Event::Batch {
                report,
                validating,
                epochs,
                history,
                before_phase,
                elapsed,
            } => {
                let mut progress = self.progress();
                let title = if *validating { "Validating" } else { "Epoch" };
                let live = &mut progress.live;
                let so_far = SoFar {
                    epochs: *epochs,
                    history,
                    before_phase: *before_phase,
                    elapsed: *elapsed,
                };
                live.show(terminal, title, *report, so_far);
                if live.is_hidden() && progress.last.elapsed() >= HEARTBEAT {
                    progress.last = Instant::now();
                    terminal.detail(&format!(
                        "epoch {}/{epochs}: {} of {} images, loss {:.4}, accuracy {}",
                        report.epoch,
                        thousands(report.done),
                        thousands(report.total),
                        report.loss,
                        percent(report.accuracy)
                    ));
                }
            }
            Event::BatchesFinished => self.progress().live.clear(),
            Event::NotConverged {
                penalty,
                iterations,
                gradient,
            } => not_converged(terminal, *penalty, *iterations, *gradient),
            Event::EpochFinished {
                epoch,
                epochs,
                images_per_second,
                best,
            } => {
                self.progress().last = Instant::now();
                epoch_line(terminal, epoch, *epochs, *images_per_second, *best);
            }
            Event::TrainingFinished { seconds, best } => trained(terminal, *seconds, best),
            Event::TrainingPaused {
                epochs_done,
                epochs,
            } => terminal.status("Pausing", &format!("after epoch {epochs_done} of {epochs}")),
            Event::TrainingStopped { run, epochs_done } => {
                let run = run.display();
                let text = match epochs_done {
                    0 => "before the first epoch was done".into(),
                    n => format!(
                        "after epoch {n}; `kiln export {run}` takes the best weights so far"
                    ),
                };
                terminal.status(
                    "Stopped",
                    &format!("{text}; `kiln train --resume {run}` resumes it"),
                );
            }
            event => self.features(event),
        }
    }

    /// Draws what is computed of the training images before they are trained on.
    fn features(&self, event: &Event<'_>) {
        let terminal = self.terminal;
        match event {
            Event::FeaturesNotKept => terminal.status(
                "Augmenting",
                "frozen layers run on every image in every epoch: features of augmented images \
                 cannot be kept",
            ),
            Event::FeaturesComputing(features) => terminal.status(
                "Computing",
                &format!(
                    "{} once ({}), into {}",
                    features_of(features),
                    bytes(features.bytes),
                    features.path.display()
                ),
            ),
            Event::FeaturesComputed { features, seconds } => terminal.status(
                "Computed",
                &format!("{} in {}", features_of(features), duration(*seconds)),
            ),
            Event::Unfolded {
                convolutions,
                images,
                seconds,
            } => terminal.status(
                "Unfolded",
                &format!(
                    "{} by their outputs for {} in {}",
                    counted(*convolutions as u64, "convolution"),
                    counted(*images as u64, "training image"),
                    duration(*seconds)
                ),
            ),
            Event::FeaturesReused(features) => terminal.status(
                "Reusing",
                &format!("{}: {}", features_of(features), features.path.display()),
            ),
            // An event that is newer than this text.
            _ => {}
        }
    }
}

fn features_of(features: &FeaturesInfo<'_>) -> String {
    let images = thousands(features.images);
    format!("features of {images} images after {}", features.layer)
}

fn trained(terminal: &Terminal, seconds: f64, best: &Epoch) {
    let text = format!(
        "in {}; best is {}: val_loss {:.4}, val_accuracy {}",
        duration(seconds),
        best.name(),
        best.val_loss,
        percent(best.val_accuracy)
    );
    terminal.status("Trained", &text);
}

fn not_converged(terminal: &Terminal, penalty: f64, iterations: usize, gradient: f64) {
    let iterations = counted(iterations as u64, "iteration");
    let text = format!(
        "the fit with penalty {penalty:e} has not converged after {iterations}: the gradient is {gradient:.1e} \
         (max_iterations, tolerance)"
    );
    terminal.status("Note", &text);
}

fn epoch_line(terminal: &Terminal, epoch: &Epoch, epochs: usize, rate: f64, best: bool) {
    let width = epochs.to_string().len();
    let number = format!("{:>width$}/{epochs}", epoch.epoch);
    let train = format!(
        "loss {:.4}  accuracy {}",
        epoch.train_loss,
        percent(epoch.train_accuracy)
    );
    let validation = format!(
        "val_loss {:.4}  val_accuracy {}",
        epoch.val_loss,
        percent(epoch.val_accuracy)
    );
    let rate = thousands(rate.round() as usize);
    let time = match epoch.penalty {
        Some(penalty) => format!("penalty {penalty:e}  {}", duration(epoch.seconds)),
        None => format!("{}  {rate} images/s", duration(epoch.seconds)),
    };
    let mark = if best { "  best" } else { "" };
    let line = format!("{number}  {train}  {validation}  {time}{mark}");
    if terminal.fits(&line) {
        terminal.status("Epoch", &line);
    } else {
        terminal.status("Epoch", &format!("{number}  {train}  {time}"));
        let indent = " ".repeat(number.len());
        terminal.detail(&format!("{indent}  {validation}{mark}"));
    }
}

/// `12,345 of 60,000 images, 2 min 5 s left`; without the rest where their number is not known.
fn how_far(bar: &ProgressBar, unit: &str) -> String {
    let (number, unit): (fn(u64) -> String, _) = match unit {
        "bytes" => (bytes, String::new()),
        _ => (|n| Thousands(n).to_string(), format!(" {unit}")),
    };
    let done = number(bar.position());
    let Some(total) = bar.length() else {
        return done + &unit;
    };
    let left = duration(bar.eta().as_secs_f64());
    format!("{done} of {}{unit}, {left} left", number(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hidden_bar_says_how_far_it_is() {
        let bar = ProgressBar::hidden();
        bar.set_length(60_000);
        bar.set_position(12_345);
        let text = how_far(&bar, "images");
        assert!(
            text.starts_with("12,345 of 60,000 images, ") && text.ends_with(" left"),
            "{text}"
        );
        bar.unset_length();
        assert_eq!(how_far(&bar, "runs"), "12,345 runs");
        bar.set_length(2_000_000);
        let text = how_far(&bar, "bytes");
        assert!(text.starts_with("12.35 kB of 2.00 MB, "), "{text}");
    }
}
