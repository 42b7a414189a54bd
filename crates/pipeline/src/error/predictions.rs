//! Files of predictions that cannot be written, read or resumed.

use std::io::{self, ErrorKind};
use std::path::PathBuf;

use crate::hint::Hint;

/// Predictions that cannot be written, read or resumed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PredictionsError {
    /// A file whose name says something else than what it would hold.
    #[error("`{}` ends in none of .csv, .jsonl and .parquet", path.display())]
    Ending {
        /// The file.
        path: PathBuf,
    },
    /// The disk or whoever reads takes nothing more.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Whether what was written can be resumed.
        resumable: bool,
        /// The system's reason.
        source: io::Error,
    },
    /// A file that cannot be opened.
    #[error("cannot write {}: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file of predictions that cannot be read.
    #[error("cannot read {name}: {source}")]
    Csv {
        /// What messages call the file.
        name: String,
        /// What is wrong with it.
        source: csv::Error,
    },
    /// The model's file, whose checksum is kept beside predictions.
    #[error("cannot read {}: {source}", path.display())]
    Model {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A format that cannot be resumed.
    #[error("cannot resume {}: a Parquet file can be read once it is finished, and not before", path.display())]
    NotResumable {
        /// The file.
        path: PathBuf,
    },
    /// What is kept beside predictions cannot be used.
    #[error("cannot use {}: {}: {problem}", path.display(), origin.display())]
    Origin {
        /// The predictions.
        path: PathBuf,
        /// What is kept beside them.
        origin: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Predictions of another model, other images, or in another form.
    #[error("cannot resume {}: {difference}", path.display())]
    Differs {
        /// The predictions.
        path: PathBuf,
        /// The first difference.
        difference: String,
    },
    /// A header of other columns.
    #[error("cannot use {}: its header is not that of these predictions", path.display())]
    Header {
        /// The predictions.
        path: PathBuf,
    },
    /// A file that cannot be read to its end.
    #[error("cannot use {}: {reason}", path.display())]
    Read {
        /// The predictions.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A line that is damaged.
    #[error("cannot use {}: line {line} is not a prediction", path.display())]
    Line {
        /// The predictions.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
    },
    /// A label that the model does not have.
    #[error(
        "the predictions to resume have the label `{label}` in the line of image {index}, which the model does not have"
    )]
    Label {
        /// The image.
        index: u64,
        /// The label.
        label: String,
    },
    /// Images without predictions before the last that has them.
    #[error(
        "{images} of {data} before image {last} have no line in the predictions, because they could not be read"
    )]
    Gap {
        /// How many, `3 images`.
        images: String,
        /// What the images come from.
        data: String,
        /// The last image that has a line.
        last: u64,
    },
    /// Another image than that of the line.
    #[error("image {index} {what} `{expected}` in the predictions, but `{found}` in {data}")]
    Image {
        /// The image.
        index: u64,
        /// `is` or `has the label`.
        what: &'static str,
        /// What the line says.
        expected: String,
        /// What the image is.
        found: String,
        /// What the images come from.
        data: String,
    },
    /// An image that is not where the predictions have it.
    #[error("the predictions have image {index} where {data} has image {found}")]
    Order {
        /// The image of the line.
        index: u64,
        /// The image that comes next.
        found: u64,
        /// What the images come from.
        data: String,
    },
    /// An image that is no more.
    #[error("{data} has no image {index}, which the predictions have")]
    Missing {
        /// The image.
        index: u64,
        /// What the images come from.
        data: String,
    },
}

impl PredictionsError {
    /// Returns what to do about it.
    pub fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::Ending { .. } => Hint::EndIn {
                endings: &[".csv", ".jsonl", ".parquet"],
            },
            Self::Write {
                source, resumable, ..
            } if is_full(source) => Hint::MakeRoom {
                resumable: *resumable,
            },
            Self::NotResumable { .. } => Hint::Lines,
            Self::Open { .. } | Self::Model { .. } => Hint::CheckPath,
            Self::Origin { .. } | Self::Differs { .. } | Self::Label { .. } => Hint::StartOver,
            Self::Header { .. } => Hint::OtherFile,
            Self::Line { .. } => Hint::RemoveLine,
            Self::Gap { .. } => Hint::RepairAndStartOver,
            Self::Image { .. } | Self::Order { .. } | Self::Missing { .. } => Hint::SameImages,
            Self::Write { .. } | Self::Csv { .. } | Self::Read { .. } => return None,
        })
    }
}

/// Predictions of several shards that are not those of a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// No file was named.
    #[error("there is nothing to merge")]
    Nothing,
    /// Two files of different models, images or columns.
    #[error("cannot merge {} with {}: {difference}", path.display(), first.display())]
    Differs {
        /// The file.
        path: PathBuf,
        /// The first file.
        first: PathBuf,
        /// The first difference.
        difference: String,
    },
    /// A file of all images among shards.
    #[error("{} holds all images, expected a shard", path.display())]
    Whole {
        /// The file.
        path: PathBuf,
    },
    /// Shards of different numbers of shards.
    #[error("{} is one of {count} shards, {} one of {expected}", path.display(), first.display())]
    Counts {
        /// The file.
        path: PathBuf,
        /// Its number of shards.
        count: u64,
        /// The first file.
        first: PathBuf,
        /// Its number of shards.
        expected: u64,
    },
    /// A shard that is there twice.
    #[error("shard {shard} is there twice: {} and {}", first.display(), path.display())]
    Double {
        /// The shard.
        shard: String,
        /// One file.
        first: PathBuf,
        /// The other.
        path: PathBuf,
    },
    /// Shards that are not there.
    #[error("{}: {shards}", if *count == 1 { "a shard is missing" } else { "shards are missing" })]
    MissingShards {
        /// The first of them.
        shards: String,
        /// Number of them.
        count: usize,
    },
    /// A shard that was interrupted.
    #[error("{} is not finished", path.display())]
    Unfinished {
        /// The file.
        path: PathBuf,
    },
    /// Rows that are not in the order of the images.
    #[error("{} has image {index} after one that comes later", path.display())]
    Order {
        /// The file.
        path: PathBuf,
        /// The image.
        index: u64,
    },
    /// An image in two files.
    #[error("image {index} is in {} and in {}", first.display(), path.display())]
    DoubleImage {
        /// The image.
        index: u64,
        /// One file.
        first: PathBuf,
        /// The other.
        path: PathBuf,
    },
    /// A file that has not the rows that it was finished with.
    #[error("{} has {found} rows, expected {expected}: it was changed or cut off", path.display())]
    Rows {
        /// The file.
        path: PathBuf,
        /// Rows when it was finished.
        expected: u64,
        /// Rows now.
        found: u64,
    },
    /// Images in no file.
    #[error("{count} images are in none of the files: {}", examples.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    MissingImages {
        /// How many.
        count: u64,
        /// The first of them.
        examples: Vec<u64>,
    },
}

impl MergeError {
    /// Returns what to do about it.
    pub const fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::Unfinished { .. } | Self::Rows { .. } => Hint::FinishShard,
            Self::MissingShards { .. } => Hint::AddShards,
            Self::Double { .. } | Self::Whole { .. } | Self::Counts { .. } => Hint::LeaveOutFile,
            Self::Nothing
            | Self::Differs { .. }
            | Self::Order { .. }
            | Self::DoubleImage { .. }
            | Self::MissingImages { .. } => return None,
        })
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named_and_can_be_resumed() {
        let failed = |kind: ErrorKind| PredictionsError::Write {
            path: "p.csv".into(),
            resumable: true,
            source: kind.into(),
        };
        let error = failed(ErrorKind::StorageFull);
        assert!(error.to_string().starts_with("cannot write p.csv: "));
        assert_eq!(error.hint(), Some(Hint::MakeRoom { resumable: true }));
        assert_eq!(failed(ErrorKind::BrokenPipe).hint(), None);
    }
}
