//! Phase 6: runs, comparisons of runs, and sweeps as HTML pages, made from their files.

mod comparison;
mod confused;
mod images;
mod paired;
mod pictures;
mod run;
mod smaller;
mod sweep;
mod tables;

pub use crate::error::training::ReportRunError;
pub use comparison::comparison_page;
pub use pictures::{Seen, augmented, evaluation_figures, samples, thumbnail};
pub use run::run_page;
pub use sweep::sweep_page;
pub use tables::{LayerSummary, ModelSummary, curves, layer_table};

/// The line at a page's end.
fn footer() -> String {
    format!("Made by kiln {}.", kiln_util::VERSION)
}

/// A name with its value.
fn fact(name: &str, value: impl Into<String>) -> (String, String) {
    (name.into(), value.into())
}
