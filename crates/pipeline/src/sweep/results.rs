//! A sweep's record and the figures of its runs.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use kiln_model::{Halving, Reference, Setting, Sweep, Validation, ValidationSubset};
use kiln_run::{RunDir, SweepDir};
use kiln_util::str_enum;
use serde::{Deserialize, Serialize};

use super::figures::{Figures, Group, Metric, groups};
use crate::error::Result;
use crate::run_record::RunRecord;

/// `sweep.json`: the combinations in the recipe's order, and which run is whose.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SweepRecord {
    /// The sweep's name.
    pub name: String,
    /// The recipe's description.
    pub description: Option<String>,
    /// Where reference figures come from.
    pub reference: Option<String>,
    /// The metric that runs are sorted by.
    pub sort_by: Metric,
    /// How combinations were pruned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halving: Option<Halving>,
    /// The combinations, in the recipe's order.
    pub combinations: Vec<Entry>,
}

/// A combination.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// The settings, for people.
    pub label: String,
    /// The settings.
    pub settings: Vec<Setting>,
    /// Figures to compare with.
    pub reference: Option<Reference>,
    /// The run's folder within the sweep's, once it is complete or pruned.
    pub run: Option<String>,
    /// The epoch after which it was compared with the others and pruned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruned_after: Option<usize>,
    /// Why the run failed, if it did.
    pub error: Option<String>,
}

impl SweepRecord {
    /// Creates the record of a sweep of which nothing has been run.
    pub fn new(sweep: &Sweep, sort_by: Metric) -> Self {
        let entry = |combination: &kiln_model::Combination| Entry {
            label: combination.label.clone(),
            settings: combination.settings.clone(),
            reference: combination.reference,
            run: None,
            pruned_after: None,
            error: None,
        };
        Self {
            name: sweep.name.clone(),
            description: sweep.description.clone(),
            reference: sweep.reference.clone(),
            sort_by,
            halving: sweep.halving,
            combinations: sweep.combinations.iter().map(entry).collect(),
        }
    }
}

/// A sweep with the figures of its runs.
#[derive(Debug)]
pub struct Results {
    /// The sweep's name.
    pub name: String,
    /// The recipe's description.
    pub description: Option<String>,
    /// Where reference figures come from.
    pub reference: Option<String>,
    /// The metric that runs are sorted by, and by which the best is chosen.
    pub sort_by: Metric,
    /// How combinations were pruned.
    pub halving: Option<Halving>,
    /// The runs, in the recipe's order.
    pub rows: Vec<Row>,
}

/// A combination with its run's figures.
#[derive(Debug)]
pub struct Row {
    /// The combination.
    pub entry: Entry,
    /// Absent where there is no run that is complete or pruned.
    pub figures: Option<Figures>,
    /// Whether the run was validated on the test images.
    pub validated_on_test: bool,
    /// The engines that computed the test images, by their titles, the one whose figures are reported first.
    pub engines: Vec<String>,
    /// How the run was made, each with its name; empty where there is none.
    pub origin: Vec<(String, String)>,
}

/// How far a combination is, the farthest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Trained to the end, compared and evaluated.
    Done,
    /// Not trained further, since others were better after as many epochs.
    Pruned,
    /// Tried in vain.
    Failed,
    /// Not begun, or interrupted.
    NotRun,
}

str_enum!(State: Serialize { Done = "done", Pruned = "pruned", Failed = "failed", NotRun = "not run" });

impl Row {
    /// A combination that has no run with figures.
    fn without_run(entry: Entry) -> Self {
        Self {
            entry,
            figures: None,
            validated_on_test: false,
            engines: Vec::new(),
            origin: Vec::new(),
        }
    }

    /// Returns how far the run is.
    pub fn state(&self) -> State {
        let evaluated = |figures: &Figures| figures.test_accuracy.is_some();
        match (&self.figures, &self.entry) {
            (Some(figures), _) if evaluated(figures) => State::Done,
            (_, Entry { error: Some(_), .. }) => State::Failed,
            (Some(_), _) => State::Pruned,
            (None, _) => State::NotRun,
        }
    }

    /// Whether its figures are those of a whole training.
    pub fn is_complete(&self) -> bool {
        self.state() == State::Done
    }
}

impl Results {
    /// Reads the sweep's record and its runs.
    pub fn read(folder: &SweepDir) -> Result<Self> {
        let SweepRecord {
            name,
            description,
            reference,
            sort_by,
            halving,
            combinations,
        } = folder.record()?;
        let row = |entry: Entry| -> Result<Row> {
            let Some(run) = &entry.run else {
                return Ok(Row::without_run(entry));
            };
            let record = RunRecord::read(RunDir::open(&folder.path().join(run))?)?;
            if !record.is_complete() && entry.pruned_after.is_none() {
                return Ok(Row::without_run(entry));
            }
            Ok(Row {
                entry,
                figures: Figures::of(&record),
                validated_on_test: record.recipe.data.validation
                    == Validation::Subset(ValidationSubset::Test),
                engines: record.engines(),
                origin: record.origin(),
            })
        };
        let rows = combinations.into_iter().map(row).collect::<Result<_>>()?;
        Ok(Self {
            name,
            description,
            reference,
            sort_by,
            halving,
            rows,
        })
    }

    /// Returns the rows by the metric, the best first; then those that were pruned, the last of them first; those
    /// without figures last.
    pub fn sorted(&self) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        let pruned_after =
            |row: &Row| Reverse(row.entry.pruned_after.filter(|_| !row.is_complete()));
        rows.sort_by(|a, b| {
            let [state_a, state_b] = [a, b].map(|row| (row.state(), pruned_after(row)));
            let by_metric = || {
                self.sort_by
                    .best_first(a.figures.as_ref(), b.figures.as_ref())
            };
            state_a.cmp(&state_b).then_with(by_metric)
        });
        rows
    }

    /// Returns the best row by the metric, of those that are complete.
    pub fn best(&self) -> Option<(&Row, &Figures)> {
        let row = self.sorted().into_iter().find(|row| row.is_complete())?;
        Some((row, row.figures.as_ref()?))
    }

    /// Whether the best is chosen by the test images, which then tell less about other images.
    pub fn is_chosen_by_test_images(&self) -> bool {
        let validated_on_test = self.rows.iter().any(|row| row.validated_on_test);
        self.sort_by.is_of_test() || self.sort_by.is_of_validation() && validated_on_test
    }

    /// Returns the number of runs in a state.
    pub fn count(&self, state: State) -> usize {
        self.rows.iter().filter(|row| row.state() == state).count()
    }

    /// Whether nothing is left to be run: each run is complete or was pruned.
    pub fn is_complete(&self) -> bool {
        self.count(State::Done) + self.count(State::Pruned) == self.rows.len()
    }

    /// Returns the names of what is varied.
    pub fn setting_names(&self) -> Vec<&str> {
        self.rows.first().map_or_else(Vec::new, |row| {
            row.entry.settings.iter().map(|s| s.name.as_str()).collect()
        })
    }
}

/// The results of a sweep, for programs.
#[derive(Debug, Serialize)]
pub struct SweepSummary<'a> {
    sweep: &'a Path,
    sort_by: Metric,
    /// Whether the metric is of the test images.
    chosen_by_test_images: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    halving: Option<Halving>,
    reference: Option<&'a str>,
    /// The label of the best run.
    best: Option<&'a str>,
    /// The best first.
    runs: Vec<RunSummary<'a>>,
    /// Over the seeds, in the recipe's order.
    groups: Vec<Group<'a>>,
}

#[derive(Debug, Serialize)]
struct RunSummary<'a> {
    label: &'a str,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    pruned_after: Option<usize>,
    /// Those that computed the test images.
    engines: &'a [String],
    settings: &'a [Setting],
    run: Option<PathBuf>,
    error: Option<&'a str>,
    reference: Option<Reference>,
    figures: Option<Figures>,
}

impl<'a> SweepSummary<'a> {
    /// Collects the results of the sweep in a folder.
    pub fn new(results: &'a Results, folder: &'a SweepDir) -> Self {
        let run =
            |row: &Row| -> Option<PathBuf> { Some(folder.path().join(row.entry.run.as_ref()?)) };
        let runs = results.sorted().into_iter().map(|row| RunSummary {
            label: &row.entry.label,
            state: row.state(),
            pruned_after: row.entry.pruned_after,
            engines: &row.engines,
            settings: &row.entry.settings,
            run: run(row),
            error: row.entry.error.as_deref(),
            reference: row.entry.reference,
            figures: row.figures,
        });
        Self {
            sweep: folder.path(),
            sort_by: results.sort_by,
            chosen_by_test_images: results.is_chosen_by_test_images(),
            halving: results.halving,
            best: results.best().map(|(row, _)| row.entry.label.as_str()),
            reference: results.reference.as_deref(),
            runs: runs.collect(),
            groups: groups(results),
        }
    }
}
