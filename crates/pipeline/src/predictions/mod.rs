//! The prediction for each image, line by line: written as it is known, read again, and resumed.

mod columns;
pub(crate) mod error;
mod file;
mod format;
mod lines;
mod origin;
mod read;
mod resume;
mod row;
mod writer;

pub use columns::Columns;
pub use error::PredictionsError;
pub use file::PredictionsFile;
pub use format::Format;
pub use lines::{LineWriter, flush_interval};
pub use origin::Origin;
pub use read::{Prediction, read};
pub use resume::resume;
pub use row::Row;
pub use writer::Writer;
