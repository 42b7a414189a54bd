//! Every combination of a recipe's `[sweep]`: running them, and comparing the runs.

pub(crate) mod figures;
mod halving;
pub(crate) mod results;
mod runner;
mod shared;
pub(crate) mod tables;

use kiln_model::{Combination, Recipe, Sweep};
use kiln_run::SweepDir;

use crate::context::Context;
use crate::error::Result;
pub use crate::error::training::SweepError;
use crate::inputs::Shard;
use crate::train::TrainRequest;
use crate::{dataset, engines};
pub use figures::{Figures, Group, Metric, groups};
pub use results::{Entry, Results, Row, State, SweepRecord, SweepSummary};
use runner::Runner;
pub use tables::{results_csv, runs_table, seeds_table};

/// Where and on what to train, and how to compare.
#[derive(Debug, Clone)]
pub struct SweepRequest {
    /// Where and on what to train. The sweep's folder lies below the folder of runs.
    pub train: TrainRequest,
    /// The metric that runs are sorted by, and by which the best is chosen; without it, the recipe's `monitor` on the
    /// validation images.
    pub sort_by: Option<Metric>,
    /// Shares the sweep with other processes in the same folder, on this machine or others: this one begins with its share
    /// of the combinations, and goes on with those that no process has.
    pub shard: Option<Shard>,
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
/// Each is compared with Burn and evaluated on one engine, the fastest there is, and the best on all. Complete
/// runs with exactly the same recipe and images are reused, a run that was interrupted is
/// resumed, and one that failed is tried again. A combination that fails is recorded, and the others
/// go on.
///
/// Where the sweep is halved, combinations are pruned by their validation figure after each rung's epochs: the
/// metric of the request if it is one of the validation images, else the recipe's `monitor`. Of combinations that
/// differ in nothing but the seed, the mean counts. Which are pruned follows from the runs' histories, so that a
/// sweep that was interrupted ends as it would have; those that go on end as if none had been pruned, bit for bit.
///
/// With a shard, processes work on one sweep together: each claims a combination before it trains it, and waits at the end
/// for what others have, which it takes over if their process ends. The last one compares the best.
///
/// # Errors
///
/// If a combination's dataset or an engine cannot be used, before the first is trained; or if the
/// sweep's files cannot be written. A sweep that is halved cannot be shared.
pub fn sweep(sweep: &Sweep, request: &SweepRequest, context: &Context<'_>) -> Result<SweepOutcome> {
    if request.shard.is_some() && sweep.halving.is_some() {
        return Err(SweepError::HalvingShared.into());
    }
    check(sweep, context)?;
    let folder = SweepDir::of(&request.train.runs, &sweep.name)?;
    let _lock = match request.shard {
        Some(_) => folder.share()?,
        None => folder.lock()?,
    };
    let runner = Runner::new(sweep, request, &folder, context)?;
    let cancelled = match request.shard {
        Some(shard) => runner.run_shared(shard)?,
        None => runner.run()?,
    };
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
