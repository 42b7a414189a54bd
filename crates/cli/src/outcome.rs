//! How a command ended.

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did what was asked.
    Done,
    /// It ran a check, which failed.
    CheckFailed,
    /// It was interrupted by Ctrl-C.
    Interrupted,
}
