//! What every command gets, and how it ended.

use kiln_pipeline::{CachedAssets, Context};

use crate::terminal::Terminal;

/// The surroundings of a command.
pub struct App<'a> {
    /// Where results and messages go.
    pub terminal: &'a Terminal,
    /// kiln's cache.
    pub assets: &'a CachedAssets,
    /// What the pipeline's phases get.
    pub context: Context<'a>,
}

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
