//! What every command gets.

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
