//! The prediction for each image, line by line: written as it is known, read again, resumed, and merged.

mod file;
mod merge;
mod origin;
mod reader;
mod resume;
mod row;
mod table;
mod writer;

pub use crate::error::predictions::{MergeError, PredictionsError};
pub use file::PredictionsFile;
pub use merge::{MergeRequest, Merged, MergedFigures, MergedRecord, merge};
pub use origin::{Finished, Origin};
pub use resume::resume;
pub use row::{Columns, Prediction, Row, read};
pub use writer::{Format, LineWriter, Writer, flush_interval};
