//! Every combination of a recipe's `[sweep]`: running them, and comparing the runs.

pub(crate) mod figures;
pub(crate) mod results;
pub(crate) mod tables;

use kiln_model::{Combination, Recipe, Sweep};
use kiln_run::{RunDir, RunState, SweepDir, SweepFile};
use kiln_util::Lock;

use crate::context::Context;
use crate::error::Result;
pub use crate::error::training::SweepError;
use crate::event::Event;
use crate::report::sweep_page;
use crate::run::{RunOutcome, finish};
use crate::run_record::RunRecord;
use crate::train::{self, TrainRequest};
use crate::{dataset, engines};
pub use figures::{Figures, Group, Metric, groups};
pub use results::{Entry, Results, Row, SweepRecord, SweepSummary};
pub use tables::{results_csv, runs_table, seeds_table};

/// Where and on what to train, and how to compare.
#[derive(Debug, Clone)]
pub struct SweepRequest {
    /// Where and on what to train. The sweep's folder lies below the folder of runs.
    pub train: TrainRequest,
    /// The metric that runs are sorted by.
    pub sort_by: Metric,
}

/// A sweep, complete or not.
pub struct SweepOutcome {
    /// The sweep's folder.
    pub folder: SweepDir,
    /// The figures of its runs.
    pub results: Results,
    /// Whether it was cancelled before all combinations had been run.
    pub cancelled: bool,
}

/// Runs the combinations that are not complete, and compares all.
///
/// Complete runs with exactly the same recipe and images are reused, a run that was interrupted is
/// resumed, and one that failed is tried again. A combination that fails is recorded, and the others
/// go on.
///
/// # Errors
///
/// If a combination's dataset or an engine cannot be used, before the first is trained; or if the
/// sweep's files cannot be written.
pub fn sweep(sweep: &Sweep, request: &SweepRequest, context: &Context<'_>) -> Result<SweepOutcome> {
    check(sweep, context)?;
    let folder = SweepDir::of(&request.train.runs, &sweep.name)?;
    let _lock = Lock::try_lock(folder.path())?;
    let cancelled = run_all(sweep, request, &folder, context)?;
    let results = Results::read(&folder)?;
    Ok(SweepOutcome {
        folder,
        results,
        cancelled,
    })
}

/// Finds what would make a combination fail for want of data or engines, before the first one is
/// trained.
fn check(sweep: &Sweep, context: &Context<'_>) -> Result<()> {
    let each = |check: &dyn Fn(&Recipe) -> Result<()>| -> Result<()> {
        for Combination { label, recipe, .. } in &sweep.combinations {
            check(recipe).map_err(|error| SweepError::Combination {
                label: label.clone(),
                source: Box::new(error),
            })?;
        }
        Ok(())
    };
    // The classes of all before the images of any, which take longer.
    each(&|recipe| dataset::check_classes(recipe, context))?;
    each(&|recipe| dataset::splits(recipe, context).map(drop))?;
    engines::present(context)?;
    Ok(())
}

/// Runs what is not complete and keeps the sweep's files up to date. Returns whether it was
/// cancelled.
fn run_all(
    sweep: &Sweep,
    request: &SweepRequest,
    folder: &SweepDir,
    context: &Context<'_>,
) -> Result<bool> {
    let _watch = context.cancel.watch();
    let mut record = SweepRecord::new(sweep, request.sort_by);
    let train = TrainRequest {
        runs: folder.path().to_path_buf(),
        ..request.train.clone()
    };
    // Those that are complete count at once, so that the page is whole however the sweep ends.
    let mut interrupted = Vec::with_capacity(sweep.combinations.len());
    for (entry, combination) in record.combinations.iter_mut().zip(&sweep.combinations) {
        interrupted.push(match find(folder, combination, &train, context)? {
            Some(Found::Complete(run)) => {
                entry.run = name_of(&run);
                None
            }
            Some(Found::Interrupted(run)) => Some(run),
            None => None,
        });
    }
    write(&record, folder)?;
    let total = sweep.combinations.len();
    for (at, combination) in sweep.combinations.iter().enumerate() {
        let number = at + 1;
        let label = combination.label.as_str();
        if let Some(run) = &record.combinations[at].run {
            context.emit(&Event::CombinationReused {
                number,
                total,
                label,
                run: &folder.path().join(run),
            });
            continue;
        }
        if context.cancel.is_cancelled() {
            return Ok(true);
        }
        context.emit(&Event::CombinationStarted {
            number,
            total,
            label,
        });
        let recipe = combination.recipe.clone();
        let outcome = whole(recipe, interrupted[at].take(), &train, context);
        let entry = &mut record.combinations[at];
        match outcome {
            Ok(Some(outcome)) if outcome.parity.passed => entry.run = name_of(&outcome.run),
            Ok(Some(outcome)) => entry.error = Some(outcome.parity.failures().join("; ")),
            Ok(None) => return Ok(true),
            // A download that was interrupted, for one.
            Err(_) if context.cancel.is_cancelled() => return Ok(true),
            Err(error) => {
                context.emit(&Event::CombinationFailed {
                    number,
                    total,
                    label,
                    error: &error,
                });
                entry.error = Some(error.to_string());
            }
        }
        write(&record, folder)?;
    }
    Ok(false)
}

/// Goes through all phases, in a run that was interrupted if there is one. Returns `None` if
/// cancelled.
fn whole(
    recipe: Recipe,
    interrupted: Option<RunDir>,
    request: &TrainRequest,
    context: &Context<'_>,
) -> Result<Option<RunOutcome>> {
    let outcome = match interrupted {
        Some(run) => train::resume(run, request, context)?,
        None => train::train(recipe, request, context)?,
    };
    finish(outcome, context)
}

/// A run of exactly a combination, on the images that are there now.
enum Found {
    Complete(RunDir),
    /// By the same kiln, on the same device with as many threads: resuming gives what it would have
    /// given.
    Interrupted(RunDir),
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

fn write(record: &SweepRecord, folder: &SweepDir) -> Result<()> {
    folder.write_record(record)?;
    let results = Results::read(folder)?;
    folder.write(SweepFile::Results, &results_csv(&results)?)?;
    let page = sweep_page(&results, true)?;
    folder.write(SweepFile::Report, page.to_html().as_bytes())?;
    Ok(())
}
