//! Figures to tables, plots, pictures and HTML pages.
//!
//! Pure functions that return text, [`Picture`]s or [`Page`]s: no files, no terminal.
//!
//! ```
//! use kiln_metrics::Evaluator;
//! use kiln_report::classification_report;
//!
//! let mut evaluator = Evaluator::new(vec!["cat".into(), "dog".into()])?;
//! evaluator.push(&[2.0, -1.0, 0.5, 0.7], &[0, 0])?; // two images, row-major [images, classes]
//! println!("{}", classification_report(&evaluator.finish()?));
//! # Ok::<(), kiln_metrics::MetricsError>(())
//! ```
//!
//! | to find | look in |
//! | --- | --- |
//! | tables as text | `tables` |
//! | plots | `plots` |
//! | grids of captioned images | `grid` |
//! | values drawn over an image | `overlay` |
//! | how pictures become SVG and PNG | `picture` |
//! | HTML pages | `page` |

#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    expect(
        clippy::float_cmp,
        reason = "tests compare with results that are exact"
    )
)]

mod error;
mod grid;
mod overlay;
mod page;
mod picture;
mod plots;
mod tables;

pub use error::ReportError;
pub use grid::{Tile, grid};
pub use overlay::overlay;
pub use page::{Block, Card, Figure, Page, Section};
pub use picture::Picture;
pub use plots::{
    Compared, Comparison, Curve, EpochMetrics, LayerCost, RangePoint, RunEpochs, Speed,
    plot_comparison, plot_confusion, plot_curve, plot_curves, plot_precision_recall,
    plot_range_test, plot_reliability, plot_runs, plot_sensitivity, plot_speed,
};
pub use tables::{
    MAX_LABEL, Table, classification_report, classification_table, confusion_table, several_report,
    several_table, text_table,
};
