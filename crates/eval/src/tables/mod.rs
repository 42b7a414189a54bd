//! Tables as text: fixed-width, no colours, no terminal needed.

mod confusion;
mod latency;
mod report;
mod style;

pub use confusion::confusion_table;
pub use latency::latency_table;
pub use report::classification_report;
pub use style::text_table;
