//! The prediction for each image, line by line: written as it is known, read again, resumed, and merged.

mod figures;
mod file;
mod merge;
mod origin;
mod reader;
mod resume;
mod row;
mod table;
mod writer;

pub use crate::error::predictions::{MergeError, PredictionsError};
pub use figures::{Figures, FiguresOptions, Mistake, Scoring};
pub(crate) use figures::{OneTally, score_kind, several_row};
pub use file::PredictionsFile;
pub use merge::{MergeRequest, Merged, MergedRecord, merge};
pub use origin::{Finished, Origin};
pub use resume::resume;
pub use row::{Columns, Prediction, Row, read};
pub use writer::{Format, LineWriter, Writer, flush_interval};
