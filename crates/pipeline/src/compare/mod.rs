//! Whether one model may replace another: both on the same images.

mod collected;
mod comparison;
mod pass;
mod record;

pub use crate::error::models::CompareError;
pub use comparison::{Choice, Comparison, Difference, check_classes};
pub use pass::compare;
pub use record::{ChoiceRecord, ComparisonRecord, DifferenceRecord, ModelRecord};
