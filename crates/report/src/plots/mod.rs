//! Plots: white ground, colours that colour-blind readers can tell apart.

mod axes;
mod axis;
mod canvas;
mod comparison;
mod confusion;
mod curves;
mod heat_map;
mod history;
mod legend;
mod mark;
mod panel;
mod reliability;
mod scales;
mod shades;
mod speed;
mod ticks;

pub use comparison::{Compared, Comparison, plot_comparison};
pub use confusion::plot_confusion;
pub use curves::{Curve, plot_curve, plot_curves};
pub use history::EpochMetrics;
pub use reliability::plot_reliability;
pub use speed::{Speed, plot_speed};
