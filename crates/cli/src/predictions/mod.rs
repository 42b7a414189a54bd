//! What each image was taken for, line by line: written as it is known, read again, and gone on with.

mod file;
mod origin;
mod read;
mod writer;

pub use file::PredictionsFile;
pub use origin::Origin;
pub use read::{Prediction, read};
pub use writer::{Columns, Format, Row, Writer};
