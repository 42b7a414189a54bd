//! The prediction for each image, line by line: written as it is known, read again, and resumed.

mod file;
mod origin;
mod resume;
mod row;
mod writer;

pub use crate::error::predictions::PredictionsError;
pub use file::PredictionsFile;
pub use origin::Origin;
pub use resume::resume;
pub use row::{Columns, Prediction, Row, read};
pub use writer::{Format, LineWriter, Writer, flush_interval};
