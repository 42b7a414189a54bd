//! Plots as SVG: white ground, colours that colour-blind readers can tell apart, fonts left to the viewer.

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
mod scales;
mod shades;
mod speed;
mod ticks;

pub use comparison::{Compared, Comparison, comparison_svg};
pub use confusion::confusion_svg;
pub use curves::{Curve, curve_svg, curves_svg};
pub use history::EpochMetrics;
pub use speed::{Speed, speed_svg};
