//! What can be done about an error.

/// What can be done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// Check the path.
    CheckPath,
    /// Fetch or export the file again.
    FetchAgain,
    /// Save the model with its weights in one file.
    SaveAsOneFile,
    /// Give every value a unique name and put nodes in topological order.
    CorrectGraph,
}
