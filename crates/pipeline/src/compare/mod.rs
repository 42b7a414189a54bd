//! Whether one model may replace another: both on the same images.

mod classes;
mod collected;
mod comparison;
pub(crate) mod error;
mod pass;

pub use classes::check_classes;
pub use comparison::{Choice, Comparison, Difference};
pub use error::CompareError;
pub use pass::compare;
