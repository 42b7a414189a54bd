//! Numbers to tables and plots: what came out of a model, measured and shown.
//!
//! Pure functions over slices: no files, no terminal, no other crate of kiln. Logits go in, batch
//! by batch; out come plain data that serde can write, tables as text, plots as SVG or PNG, and
//! pages of them as HTML.
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
//! | plots | `plots` |
//! | grids of captioned images | `grid` |
//! | how pictures become SVG and PNG | `picture` |
//! | HTML pages | `page` |
//! | mean and spread of several runs | `spread` |
//! | durations of calls | `latency` |
//! | two models on the same images | `paired` |

#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    expect(
        clippy::float_cmp,
        reason = "tests compare with results that are exact"
    )
)]

mod agreement;
mod error;
mod grid;
mod latency;
mod logits;
mod metrics;
mod page;
mod paired;
mod picture;
mod plots;
mod spread;
mod tables;
mod text;

pub use agreement::{Agreement, Tolerance};
pub use error::EvalError;
pub use grid::{Tile, grid};
pub use latency::Latency;
pub use logits::{argmax, softmax};
pub use metrics::{
    Average, Calibration, CalibrationBin, ClassMetrics, Confusion, ConfusionMatrix, Evaluation,
    Evaluator, MAX_CLASSES, MostConfident, TOP_K, TopK,
};
pub use page::{Block, Card, Figure, Page, Section};
pub use paired::Paired;
pub use picture::Picture;
pub use plots::{
    Compared, Comparison, Curve, EpochMetrics, Speed, plot_comparison, plot_confusion, plot_curve,
    plot_curves, plot_reliability, plot_speed,
};
pub use spread::Spread;
pub use tables::{
    MAX_LABEL, Table, classification_report, classification_table, confusion_table, text_table,
};
pub use text::{printable, shown};
