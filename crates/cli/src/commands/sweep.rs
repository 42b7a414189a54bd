//! `kiln sweep`: every combination through the flow of `kiln run`, and a comparison.

use std::fmt::Write;
use std::path::Path;

use kiln_model::{Combination, Recipe, Sweep};
use kiln_run::{RunDir, RunState, SweepDir, SweepFile};
use kiln_trainer::Device;
use kiln_util::Lock;
use serde::Serialize;

use super::Context;
use super::run::{Finished, finish};
use super::train::{self, device};
use crate::args::{SweepArgs, TrainingArgs};
use crate::interrupt::{self, Polling};
use crate::record::RunRecord;
use crate::sweep::{
    Figures, Group, Metric, Results, Row, SweepRecord, csv, groups, runs_table, seeds_table,
};
use crate::{Outcome, dataset, engines, pages, recipe};
use kiln_util::percent;

pub fn run(args: &SweepArgs, context: &Context<'_>) -> anyhow::Result<Outcome> {
    let sweep = recipe::read_sweep(&args.recipe)?;
    check(&sweep, args, context)?;
    let folder = SweepDir::of(&args.training.runs, &sweep.name)?;
    let _lock = Lock::try_lock(folder.path())?;
    let stopped = run_all(&sweep, args, &folder, context)?;
    let results = Results::read(&folder)?;
    let output = if args.json {
        json(&results, &folder)?
    } else {
        summary(&results, &folder)?
    };
    context.terminal.print(&output)?;
    let (complete, total) = (results.complete(), results.rows.len());
    if stopped {
        let text =
            format!("with {complete} of {total} runs complete: the same command runs the others");
        context.terminal.status("Stopped", &text);
        return Ok(Outcome::Interrupted);
    }
    Ok(if complete == total {
        Outcome::Done
    } else {
        Outcome::CheckFailed
    })
}

/// What would make a combination fail for want of a device, data or engines, before the first one
/// is trained.
fn check(sweep: &Sweep, args: &SweepArgs, context: &Context<'_>) -> anyhow::Result<()> {
    device(&args.training)?;
    for Combination { label, recipe, .. } in &sweep.combinations {
        dataset::sets(recipe, context)
            .map_err(|error| anyhow::anyhow!("combination `{label}`: {error}"))?;
    }
    engines::present(&context.assets.cache)?;
    Ok(())
}

/// Runs what is not complete yet, and keeps the sweep's files up to date. Whether the user stopped
/// it.
fn run_all(
    sweep: &Sweep,
    args: &SweepArgs,
    folder: &SweepDir,
    context: &Context<'_>,
) -> anyhow::Result<bool> {
    let _polling = Polling::begin();
    let mut record = SweepRecord::new(sweep, args.sort_by);
    let training = TrainingArgs {
        runs: folder.path().into(),
        ..args.training.clone()
    };
    let device = device(&training)?;
    // Those that are there count at once, so that the page is whole however the sweep ends.
    let mut broken_off = Vec::with_capacity(sweep.combinations.len());
    for (entry, combination) in record.combinations.iter_mut().zip(&sweep.combinations) {
        broken_off.push(match find(folder, combination, &device, context)? {
            Some(Found::Complete(run)) => {
                entry.run = name_of(&run);
                None
            }
            Some(Found::BrokenOff(run)) => Some(run),
            None => None,
        });
    }
    write(&record, folder)?;
    let total = sweep.combinations.len();
    for (at, combination) in sweep.combinations.iter().enumerate() {
        let label = format!("{}/{total}: {}", at + 1, combination.label);
        if let Some(run) = &record.combinations[at].run {
            context.terminal.status(
                "Reusing",
                &format!("{label}, complete in {}", folder.path().join(run).display()),
            );
            continue;
        }
        if interrupt::requested() {
            return Ok(true);
        }
        context.terminal.status("Running", &label);
        let outcome = whole(
            combination.recipe.clone(),
            broken_off[at].take(),
            &training,
            context,
        );
        let entry = &mut record.combinations[at];
        match outcome {
            Ok(Some(finished)) if finished.parity.passed => entry.run = name_of(&finished.run),
            Ok(Some(finished)) => entry.error = Some(finished.parity.failures().join("; ")),
            Ok(None) => return Ok(true),
            // A download that was broken off, for one.
            Err(_) if interrupt::requested() => return Ok(true),
            Err(error) => {
                context.terminal.error(&format!("{label}: {error}"));
                entry.error = Some(error.to_string());
            }
        }
        write(&record, folder)?;
    }
    Ok(false)
}

/// Trains, exports, verifies, evaluates and reports, into a run that was broken off if there is
/// one; nothing if the user stopped it.
fn whole(
    recipe: Recipe,
    broken_off: Option<RunDir>,
    args: &TrainingArgs,
    context: &Context<'_>,
) -> anyhow::Result<Option<Finished>> {
    let attempt = match broken_off {
        Some(run) => train::resume(recipe, run, args, context)?,
        None => train::begin(recipe, args, context)?,
    };
    finish(attempt, context)
}

/// A run of exactly a combination, on the images that are there now.
enum Found {
    Complete(RunDir),
    /// By the same kiln, on the same device with as many threads: going on gives what it would have
    /// given.
    BrokenOff(RunDir),
}

/// The first that is complete, else the last that was broken off.
fn find(
    folder: &SweepDir,
    combination: &Combination,
    device: &Device,
    context: &Context<'_>,
) -> anyhow::Result<Option<Found>> {
    let runs = RunDir::of(folder.path(), &combination.recipe);
    if runs.is_empty() {
        return Ok(None);
    }
    let now = train::environment(&combination.recipe, device, context)?;
    let mut broken_off = None;
    for run in runs {
        let Ok(record) = RunRecord::read(run.clone()) else {
            continue;
        };
        let complete = record.is_complete();
        match record.environment {
            Some(environment) if complete && environment.data == now.data => {
                return Ok(Some(Found::Complete(run)));
            }
            Some(environment) if record.parity.is_none() && environment == now => {
                broken_off = Some(run)
            }
            // Interrupted before its first epoch: it is begun again in the same folder.
            _ if broken_off.is_none() && run.state() == RunState::Begun => broken_off = Some(run),
            _ => {}
        }
    }
    Ok(broken_off.map(Found::BrokenOff))
}

/// A run's folder within the sweep's.
fn name_of(run: &RunDir) -> Option<String> {
    Some(run.path().file_name()?.to_str()?.to_string())
}

fn write(record: &SweepRecord, folder: &SweepDir) -> anyhow::Result<()> {
    folder.write_record(record)?;
    let results = Results::read(folder)?;
    folder.write(SweepFile::Results, &csv(&results)?)?;
    folder.write(
        SweepFile::Report,
        pages::sweep(&results, true)?.to_html().as_bytes(),
    )?;
    Ok(())
}

fn summary(results: &Results, folder: &SweepDir) -> anyhow::Result<String> {
    let mut text = String::new();
    if let Some(table) = seeds_table(results) {
        writeln!(text, "{}\n", table.to_text())?;
    }
    writeln!(
        text,
        "{}\n",
        runs_table(results, &results.sorted()).to_text()
    )?;
    if let Some((row, figures)) = results.best() {
        let (label, accuracy) = (&row.entry.label, percent(figures.test_accuracy));
        writeln!(
            text,
            "Best {}: {label}, {accuracy} of the test images",
            results.sort_by.title()
        )?;
    }
    writeln!(text, "Report: {}", folder.file(SweepFile::Report).display())?;
    Ok(text)
}

#[derive(Serialize)]
struct SweepJson<'a> {
    sweep: &'a Path,
    sort_by: Metric,
    reference: Option<&'a str>,
    /// The best first.
    runs: Vec<RunJson<'a>>,
    /// Over the seeds, in the recipe's order.
    groups: Vec<Group<'a>>,
}

#[derive(Serialize)]
struct RunJson<'a> {
    label: &'a str,
    state: &'static str,
    settings: &'a [kiln_model::Setting],
    run: Option<std::path::PathBuf>,
    error: Option<&'a str>,
    reference: Option<kiln_model::Reference>,
    figures: Option<Figures>,
}

fn json(results: &Results, folder: &SweepDir) -> anyhow::Result<String> {
    let run = |row: &Row| -> Option<std::path::PathBuf> {
        Some(folder.path().join(row.entry.run.as_ref()?))
    };
    let runs = results.sorted().into_iter().map(|row| RunJson {
        label: &row.entry.label,
        state: row.state(),
        settings: &row.entry.settings,
        run: run(row),
        error: row.entry.error.as_deref(),
        reference: row.entry.reference,
        figures: row.figures,
    });
    let json = SweepJson {
        sweep: folder.path(),
        sort_by: results.sort_by,
        reference: results.reference.as_deref(),
        runs: runs.collect(),
        groups: groups(results),
    };
    Ok(format!("{}\n", serde_json::to_string_pretty(&json)?))
}
