//! What each image was taken for, line by line: written as it is known, read again, and resumed.

mod begin;
mod file;
mod origin;
mod read;
mod writer;

pub use begin::begin;
pub use file::PredictionsFile;
pub use origin::{ORIGIN, Origin};
pub use read::{Prediction, read};
pub use writer::{Columns, Format, Row, Writer};
