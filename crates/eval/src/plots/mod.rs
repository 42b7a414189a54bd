//! Plots as SVG: white ground, colours that colour-blind readers can tell apart, fonts left to the viewer.

mod axis;
mod canvas;
mod confusion;
mod curves;
mod heat_map;
mod history;
mod mark;
mod panel;
mod shades;
mod ticks;

pub use confusion::confusion_svg;
pub use curves::curves_svg;
pub use history::EpochMetrics;
