//! Phase 6: runs and sweeps as HTML pages, made from their files.

mod images;
mod mistakes;
mod pictures;
mod run;
mod sweep;
mod tables;
mod text;

pub use crate::error::training::ReportRunError;
pub use pictures::{augmented, evaluation_figures, samples, thumbnail};
pub use run::run_page;
pub use sweep::sweep_page;
pub use tables::{curves, layer_table};
