//! A sweep under way: which runs there are, and what is done with each.

use kiln_model::{Combination, Sweep};
use kiln_run::{History, RunDir, RunState, SweepDir, SweepFile};
use kiln_trainer::is_finished;
use kiln_util::CancelToken;

use super::SweepRequest;
use super::figures::Metric;
use super::halving::{Candidate, groups, prune};
use super::results::{Results, Row, SweepRecord};
use super::tables::results_csv;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::report::sweep_page;
use crate::run::{On, RunOutcome, finish_on};
use crate::run_record::RunRecord;
use crate::train::{self, TrainOutcome, TrainRequest};
use crate::{dataset, engines};

/// Runs a sweep, and keeps its files up to date.
pub struct Runner<'a> {
    sweep: &'a Sweep,
    pub(super) folder: &'a SweepDir,
    pub(super) context: &'a Context<'a>,
    train: TrainRequest,
    pub(super) record: SweepRecord,
    /// The run of each combination that has begun.
    pub(super) runs: Vec<Option<RunDir>>,
    /// Whether other processes work on the sweep too.
    is_shared: bool,
    /// Why combinations failed before this process began, of a shared sweep.
    pub(super) earlier_errors: Vec<Option<String>>,
}

/// Whether to go on.
#[derive(PartialEq)]
pub(super) enum Flow {
    GoesOn,
    Cancelled,
}

impl<'a> Runner<'a> {
    /// Finds the runs that there are.
    pub fn new(
        sweep: &'a Sweep,
        request: &SweepRequest,
        folder: &'a SweepDir,
        context: &'a Context<'a>,
    ) -> Result<Self> {
        let sort_by = request.sort_by.unwrap_or(Metric::from(sweep.monitor()));
        let mut runner = Self {
            sweep,
            folder,
            context,
            train: TrainRequest {
                runs: folder.path().to_path_buf(),
                ..request.train.clone()
            },
            record: SweepRecord::new(sweep, sort_by),
            runs: vec![None; sweep.combinations.len()],
            is_shared: request.shard.is_some(),
            earlier_errors: vec![None; sweep.combinations.len()],
        };
        // Those that are complete count at once, so that the page is whole however the sweep ends.
        for at in 0..sweep.combinations.len() {
            runner.look_for(at)?;
        }
        Ok(runner)
    }

    /// Finds the run of a combination.
    pub(super) fn look_for(&mut self, at: usize) -> Result<()> {
        let combination = &self.sweep.combinations[at];
        let found = find(self.folder, combination, &self.train, self.context)?;
        if let Some(Found::Complete(run)) = &found {
            self.record.combinations[at].run = name_of(run);
        }
        self.runs[at] = found.map(Found::run);
        Ok(())
    }

    /// Runs what is not complete. Returns whether it was cancelled.
    pub fn run(mut self) -> Result<bool> {
        let _watch = self.context.cancel.watch();
        self.write()?;
        for at in (0..self.runs.len()).filter(|&at| self.is_complete(at)) {
            let (number, total, label) = self.place(at);
            self.context.emit(&Event::CombinationReused {
                number,
                total,
                label,
                run: self.runs[at]
                    .as_ref()
                    .map_or(self.folder.path(), RunDir::path),
            });
        }
        let Some(left) = self.halve()? else {
            return Ok(true);
        };
        for at in left {
            if self.step(at, None)? == Flow::Cancelled {
                return Ok(true);
            }
        }
        self.compare_best()
    }

    /// Trains up to each rung and prunes. Returns the combinations that are left, or `None` if cancelled.
    fn halve(&mut self) -> Result<Option<Vec<usize>>> {
        let mut left: Vec<usize> = (0..self.runs.len()).collect();
        let sweep = self.sweep;
        let Some(halving) = sweep.halving else {
            return Ok(Some(left));
        };
        let by = self.record.sort_by;
        let by = if by.is_of_validation() {
            by
        } else {
            Metric::from(sweep.monitor())
        };
        for epochs in sweep.rungs() {
            let candidate = |&at: &usize| Candidate {
                at,
                settings: sweep.combinations[at].without_seed(),
                figure: None,
            };
            let mut candidates: Vec<Candidate<'_>> = left.iter().map(candidate).collect();
            let groups = groups(&candidates).len();
            let kept = halving.kept(groups);
            if kept >= groups || left.iter().all(|&at| self.is_complete(at)) {
                break;
            }
            self.context.emit(&Event::RungStarted {
                epochs,
                candidates: groups,
                kept,
                by: by.title(),
            });
            for candidate in &mut candidates {
                if self.step(candidate.at, Some(epochs))? == Flow::Cancelled {
                    return Ok(None);
                }
                candidate.figure = self.figure(candidate.at, epochs, by)?;
            }
            let (going_on, pruned) = prune(&candidates, kept, by);
            self.record_pruned(&pruned, epochs)?;
            left = going_on;
        }
        Ok(Some(left))
    }

    /// Goes on with a combination, to the end or until it has so many epochs.
    pub(super) fn step(&mut self, at: usize, until: Option<usize>) -> Result<Flow> {
        let has_failed = self.record.combinations[at].error.is_some();
        if self.is_complete(at) || has_failed || self.has_epochs(at, until)? {
            return Ok(Flow::GoesOn);
        }
        if self.context.cancel.is_cancelled() {
            return Ok(Flow::Cancelled);
        }
        let (number, total, label) = self.place(at);
        self.context.emit(&Event::CombinationStarted {
            number,
            total,
            label,
        });
        let outcome = self.train(at, until).and_then(|outcome| match until {
            // What is trained before the last rung is evaluated after it, if it is not pruned.
            Some(_) => Ok((!self.context.cancel.is_cancelled()).then_some(None)),
            None => Ok(finish_on(outcome, On::Fastest, self.context)?.map(Some)),
        });
        match outcome {
            Ok(Some(Some(outcome))) => self.record_outcome(at, &outcome),
            Ok(Some(None)) => {}
            Ok(None) => return Ok(Flow::Cancelled),
            // A download that was interrupted, for one.
            Err(_) if self.context.cancel.is_cancelled() => return Ok(Flow::Cancelled),
            Err(error) => self.record_error(at, &error),
        }
        self.write()?;
        Ok(Flow::GoesOn)
    }

    /// Trains a combination, in the run that it has if it has begun.
    fn train(&mut self, at: usize, until: Option<usize>) -> Result<TrainOutcome> {
        let outcome = if let Some(run) = self.runs[at].clone() {
            train::resume_until(run, &self.train, until, self.context)?
        } else {
            let recipe = self.sweep.combinations[at].recipe.clone();
            train::train_until(recipe, &self.train, until, self.context)?
        };
        self.runs[at] = Some(outcome.run.clone());
        Ok(outcome)
    }

    /// Compares the best run on all engines, and where they do not agree the next best.
    pub(super) fn compare_best(&mut self) -> Result<bool> {
        let present = engines::present(self.context)?;
        loop {
            let results = Results::read(self.folder)?;
            let best = results.best().map(|(best, _)| best);
            let is_best = |row: &Row| best.is_some_and(|best| std::ptr::eq(best, row));
            let Some(at) = results.rows.iter().position(is_best) else {
                return Ok(false);
            };
            let Some(run) = self.runs[at].clone() else {
                return Ok(false);
            };
            let (_, _, label) = self.place(at);
            let parity = RunRecord::read(run.clone())?.parity;
            if parity.is_some_and(|parity| parity.covers(&present)) {
                return Ok(false);
            }
            self.context.emit(&Event::BestCompared { label });
            let outcome = TrainOutcome::of_finished(run, self.context)?;
            let Some(outcome) = finish_on(outcome, On::AllFastestFirst, self.context)? else {
                return Ok(true);
            };
            let passed = outcome.parity.passed;
            self.record_outcome(at, &outcome);
            self.write()?;
            if passed {
                return Ok(false);
            }
        }
    }

    /// Whether a combination needs no more training to have so many epochs.
    fn has_epochs(&self, at: usize, until: Option<usize>) -> Result<bool> {
        let training = &self.sweep.combinations[at].recipe.training;
        let (Some(until), Some(run)) = (until, &self.runs[at]) else {
            return Ok(false);
        };
        let progress = run.progress(training.monitor)?;
        // A process that was killed may have left its last epoch out of the files that figures are read from; resuming
        // completes them.
        let written = run.history(training.monitor)?;
        Ok(progress.is_some_and(|progress| {
            let has_all = written.epochs.len() == progress.history.epochs.len();
            let is_there = progress.history.epochs.len() >= until;
            has_all && (is_there || is_finished(training, &progress))
        }))
    }

    /// The figure of a combination in its first epochs; none if it failed.
    fn figure(&self, at: usize, epochs: usize, by: Metric) -> Result<Option<f64>> {
        let monitor = self.sweep.combinations[at].recipe.training.monitor;
        let (Some(run), None) = (&self.runs[at], &self.record.combinations[at].error) else {
            return Ok(None);
        };
        let mut history = match run.progress(monitor)? {
            Some(progress) => progress.history,
            None => run.history(monitor)?,
        };
        // It may have been trained for longer by another sweep, which must not count.
        history.epochs.truncate(epochs);
        Ok(History::best(&history).and_then(|best| by.of_epoch(best)))
    }

    pub(super) fn is_complete(&self, at: usize) -> bool {
        self.record.combinations[at].run.is_some()
    }

    fn place(&self, at: usize) -> (usize, usize, &'a str) {
        let combinations = &self.sweep.combinations;
        (at + 1, combinations.len(), &combinations[at].label)
    }

    fn record_outcome(&mut self, at: usize, outcome: &RunOutcome) {
        let entry = &mut self.record.combinations[at];
        if outcome.parity.passed {
            entry.run = name_of(&outcome.run);
        } else {
            entry.run = None;
            entry.error = Some(outcome.parity.failures().join("; "));
        }
    }

    fn record_error(&mut self, at: usize, error: &Error) {
        let (number, total, label) = self.place(at);
        self.context.emit(&Event::CombinationFailed {
            number,
            total,
            label,
            error,
        });
        self.record.combinations[at].error = Some(error.to_string());
    }

    fn record_pruned(&mut self, pruned: &[usize], epochs: usize) -> Result<()> {
        let mut labels = Vec::new();
        for &at in pruned {
            // What is complete or failed says so.
            if self.is_complete(at) || self.record.combinations[at].error.is_some() {
                continue;
            }
            let entry = &mut self.record.combinations[at];
            entry.run = self.runs[at].as_ref().and_then(name_of);
            entry.pruned_after = Some(epochs);
            labels.push(self.sweep.combinations[at].label.as_str());
        }
        if !labels.is_empty() {
            self.context.emit(&Event::CombinationsPruned {
                labels: &labels,
                epochs,
            });
        }
        self.write()
    }

    pub(super) fn write(&mut self) -> Result<()> {
        let _record = if self.is_shared {
            // Writing is not worth an interruption: others hold the record for a moment.
            let held = self.folder.wait_for("record", &CancelToken::new())?;
            self.merge()?;
            held
        } else {
            None
        };
        let folder = self.folder;
        let mut record = self.record.clone();
        for (entry, error) in record.combinations.iter_mut().zip(&self.earlier_errors) {
            if entry.run.is_none() && entry.error.is_none() {
                entry.error.clone_from(error);
            }
        }
        folder.write_record(&record)?;
        let results = Results::read(folder)?;
        folder.write(SweepFile::Results, &results_csv(&results)?)?;
        let page = sweep_page(&results, true)?;
        folder.write(SweepFile::Report, page.to_html().as_bytes())?;
        Ok(())
    }
}

/// A run of exactly a combination, on the images that are there now.
enum Found {
    Complete(RunDir),
    /// By the same kiln, on the same device with as many threads: resuming gives what it would have
    /// given.
    Interrupted(RunDir),
}

impl Found {
    fn run(self) -> RunDir {
        match self {
            Self::Complete(run) | Self::Interrupted(run) => run,
        }
    }
}

/// Finds the first run that is complete, else the last that was interrupted.
fn find(
    folder: &SweepDir,
    combination: &Combination,
    request: &TrainRequest,
    context: &Context<'_>,
) -> Result<Option<Found>> {
    let runs = RunDir::of(folder.path(), &combination.recipe);
    if runs.is_empty() {
        return Ok(None);
    }
    let now = train::environment(&combination.recipe, &request.device, context)?;
    let mut interrupted = None;
    for run in runs {
        let Ok(record) = RunRecord::read(run.clone()) else {
            continue;
        };
        let complete = record.is_complete();
        match record.environment {
            // By the rule of before, it may have been tested on images that others are trained on.
            Some(environment)
                if complete
                    && environment.data == now.data
                    && dataset::drawn_alike(&record.recipe, &combination.recipe, context)? =>
            {
                return Ok(Some(Found::Complete(run)));
            }
            Some(environment) if record.parity.is_none() && environment == now => {
                interrupted = Some(run);
            }
            // Interrupted before its first epoch: it is begun again in the same folder.
            _ if interrupted.is_none() && run.state() == RunState::Begun => interrupted = Some(run),
            _ => {}
        }
    }
    Ok(interrupted.map(Found::Interrupted))
}

/// Returns the name of a run's folder within the sweep's.
fn name_of(run: &RunDir) -> Option<String> {
    Some(run.path().file_name()?.to_str()?.to_string())
}
