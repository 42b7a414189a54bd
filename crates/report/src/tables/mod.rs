//! Tables, and their text: fixed-width, no colours, no terminal needed.

mod confusion;
mod report;
mod style;
mod table;

pub use confusion::confusion_table;
pub use report::{classification_report, classification_table};
pub use style::{MAX_LABEL, text_table};
pub use table::Table;

/// Most classes whose confusion matrix fits on a terminal, and whose scores are all listed there.
const FEW_CLASSES: usize = 20;
