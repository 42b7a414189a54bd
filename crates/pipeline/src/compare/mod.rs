//! Whether one model may replace another: both on the same images.

mod collected;
mod comparison;
pub(crate) mod error;
mod pass;
mod record;

pub use comparison::{Choice, Comparison, Difference, check_classes};
pub use error::CompareError;
pub use pass::compare;
pub use record::{ChoiceRecord, ComparisonRecord, DifferenceRecord, ModelRecord};
