//! Plots: white ground, colors that color-blind readers can tell apart.

mod axes;
mod canvas;
mod comparison;
mod confusion;
mod history;
mod panel;
mod precision_recall;
mod range_test;
mod reliability;
mod runs;
mod sensitivity;
mod speed;

pub use comparison::{Compared, Comparison, plot_comparison};
pub use confusion::plot_confusion;
pub use history::{Curve, EpochMetrics, plot_curve, plot_curves};
pub use precision_recall::plot_precision_recall;
pub use range_test::{RangePoint, plot_range_test};
pub use reliability::plot_reliability;
pub use runs::{RunEpochs, plot_runs};
pub use sensitivity::{LayerCost, plot_sensitivity};
pub use speed::{Speed, plot_speed};
