//! Every combination of a recipe's `[sweep]`: running them, and comparing the runs.

pub(crate) mod figures;
pub(crate) mod results;
mod run;
pub(crate) mod tables;

pub use crate::error::training::SweepError;
pub use figures::{Figures, Group, Metric, groups};
pub use results::{Entry, Results, Row, SweepRecord, SweepSummary};
pub use run::{SweepOutcome, SweepRequest, sweep};
pub use tables::{results_csv, runs_table, seeds_table};

#[cfg(test)]
mod tests;
