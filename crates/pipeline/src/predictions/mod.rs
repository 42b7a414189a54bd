//! The prediction for each image, line by line: written as it is known, read again, and resumed.

mod file;
mod origin;
mod read;
mod resume;
mod row;
mod writer;

pub use crate::error::predictions::PredictionsError;
pub use file::PredictionsFile;
pub use origin::Origin;
pub use read::{Prediction, read};
pub use resume::resume;
pub use row::{Columns, Row};
pub use writer::{Format, LineWriter, Writer, flush_interval};
