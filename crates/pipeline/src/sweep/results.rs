//! A sweep's record and the figures of its runs.

use std::path::{Path, PathBuf};

use kiln_model::{Reference, Setting, Sweep};
use kiln_run::{RunDir, SweepDir};
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
    /// The run's folder within the sweep's, once it is complete.
    pub run: Option<String>,
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
            error: None,
        };
        Self {
            name: sweep.name.clone(),
            description: sweep.description.clone(),
            reference: sweep.reference.clone(),
            sort_by,
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
    /// The metric that runs are sorted by.
    pub sort_by: Metric,
    /// The runs, in the recipe's order.
    pub rows: Vec<Row>,
}

/// A combination with its run's figures.
#[derive(Debug)]
pub struct Row {
    /// The combination.
    pub entry: Entry,
    /// Absent where there is no complete run.
    pub figures: Option<Figures>,
    /// How the run was made, each with its name; empty where there is none.
    pub origin: Vec<(String, String)>,
}

impl Row {
    /// Returns the state of the run in a word.
    pub fn state(&self) -> &'static str {
        match (&self.figures, &self.entry.error) {
            (Some(_), _) => "done",
            (None, Some(_)) => "failed",
            (None, None) => "not run",
        }
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
            combinations,
        } = folder.record()?;
        let row = |entry: Entry| -> Result<Row> {
            let Some(run) = &entry.run else {
                return Ok(Row {
                    entry,
                    figures: None,
                    origin: Vec::new(),
                });
            };
            let record = RunRecord::read(RunDir::open(&folder.path().join(run))?)?;
            Ok(Row {
                entry,
                figures: Figures::of(&record),
                origin: record.origin(),
            })
        };
        let rows = combinations.into_iter().map(row).collect::<Result<_>>()?;
        Ok(Self {
            name,
            description,
            reference,
            sort_by,
            rows,
        })
    }

    /// Returns the rows by the metric, the best first, those without figures last.
    pub fn sorted(&self) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_by(|a, b| {
            self.sort_by
                .best_first(a.figures.as_ref(), b.figures.as_ref())
        });
        rows
    }

    /// Returns the best row by the metric.
    pub fn best(&self) -> Option<(&Row, &Figures)> {
        let row = self.sorted().into_iter().next()?;
        Some((row, row.figures.as_ref()?))
    }

    /// Returns the number of complete runs.
    pub fn complete(&self) -> usize {
        self.rows.iter().filter(|row| row.figures.is_some()).count()
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
    reference: Option<&'a str>,
    /// The best first.
    runs: Vec<RunSummary<'a>>,
    /// Over the seeds, in the recipe's order.
    groups: Vec<Group<'a>>,
}

#[derive(Debug, Serialize)]
struct RunSummary<'a> {
    label: &'a str,
    state: &'static str,
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
            settings: &row.entry.settings,
            run: run(row),
            error: row.entry.error.as_deref(),
            reference: row.entry.reference,
            figures: row.figures,
        });
        Self {
            sweep: folder.path(),
            sort_by: results.sort_by,
            reference: results.reference.as_deref(),
            runs: runs.collect(),
            groups: groups(results),
        }
    }
}
