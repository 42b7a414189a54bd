//! Numbers to tables and plots: what came out of a model, measured and shown.
//!
//! Pure functions over slices: no files, no terminal, no other crate of kiln. Logits go in, batch by batch; out come
//! plain data that serde can write, tables as text, plots as SVG, and pages of them as HTML.
//!
//! ```
//! use kiln_eval::{Evaluator, classification_report};
//!
//! let mut evaluator = Evaluator::new(vec!["cat".into(), "dog".into()])?;
//! evaluator.push(&[2.0, -1.0, 0.5, 0.7], &[0, 0])?; // two images, row-major [images, classes]
//! let evaluation = evaluator.finish()?;
//! assert_eq!(evaluation.accuracy, 0.5);
//! println!("{}", classification_report(&evaluation));
//! # Ok::<(), kiln_eval::EvalError>(())
//! ```
//!
//! | to find | look in |
//! | --- | --- |
//! | accuracy, loss, precision, recall, F1, confusion counts, calibration | `metrics` |
//! | tables as text | `tables` |
//! | plots as SVG | `plots` |
//! | grids of captioned images | `grid` |
//! | HTML pages | `page` |
//! | mean and spread of several runs | `spread` |

#![forbid(unsafe_code)]
#![cfg_attr(test, expect(clippy::float_cmp, reason = "tests compare with results that are exact"))]

mod agreement;
mod error;
mod grid;
mod latency;
mod logits;
mod metrics;
mod page;
mod plots;
mod spread;
mod tables;
mod text;

pub use agreement::{Agreement, Tolerance};
pub use error::EvalError;
pub use grid::{Tile, grid_png, grid_svg};
pub use latency::Latency;
pub use logits::{argmax, softmax, top_k};
pub use metrics::{
    Average, Calibration, CalibrationBin, ClassMetrics, Confusion, ConfusionMatrix, Evaluation, Evaluator, MAX_CLASSES,
    MostConfident, TOP_K, TopK,
};
pub use page::{Block, Card, Figure, Page, Section};
pub use plots::{Compared, Comparison, Curve, EpochMetrics, comparison_svg, confusion_svg, curve_svg, curves_svg};
pub use spread::Spread;
pub use tables::{Table, classification_report, classification_table, confusion_table, latency_table, text_table};
