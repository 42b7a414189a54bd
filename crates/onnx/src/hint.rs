//! What can be done about an error.

use std::fmt;

/// What can be done about an error. Its text names neither commands nor options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// Check the path.
    CheckPath,
    /// Fetch or export the file again.
    FetchAgain,
    /// Save the model with its weights in one file.
    SaveAsOneFile,
    /// Put the model and its weights into one folder.
    OneFolder,
    /// Use a newer version of kiln.
    Update,
    /// Export the model again, or correct the metadata key.
    CorrectMetadata,
    /// Convert the weights to the type that is expected.
    ConvertWeights,
    /// Export the model again.
    ExportAgain,
    /// Give every value a unique name and put nodes in topological order.
    CorrectGraph,
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CheckPath => "check the path",
            Self::FetchAgain => "fetch or export the model again",
            Self::SaveAsOneFile => "save the model with its weights in one file",
            Self::OneFolder => "copy the model and the files with its weights into one folder",
            Self::Update => "use a newer version of kiln",
            Self::CorrectMetadata => "export the model again, or correct the key",
            Self::ConvertWeights => "convert the model's weights to the type expected",
            Self::ExportAgain => "export the model again",
            Self::CorrectGraph => {
                "give every value a unique name, and put the nodes in topological order"
            }
        })
    }
}
