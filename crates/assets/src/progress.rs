//! What a fetch tells while it runs.

/// Receives what happens during a fetch. The command line draws bars; a test counts.
///
/// Steps do not nest: every [`begin`](Self::begin) is followed by its [`finish`](Self::finish)
/// before the next.
pub trait Progress: Sync {
    /// A step begins. `total` is its size in bytes where that is known.
    fn begin(&self, what: &str, total: Option<u64>);
    /// `bytes` more are done.
    fn advance(&self, bytes: u64);
    /// The step has ended, well or not.
    fn finish(&self);
    /// One line for the user, between steps.
    fn message(&self, text: &str);
    /// One line for whoever wants to follow closely: a source that failed while others are left. If
    /// all fail, the error says it too.
    fn detail(&self, _text: &str) {}
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _what: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn finish(&self) {}
    fn message(&self, _text: &str) {}
}

/// A step that finishes when it goes out of scope, also by way of an error.
pub(crate) struct Step<'a>(&'a dyn Progress);

impl<'a> Step<'a> {
    pub(crate) fn begin(progress: &'a dyn Progress, what: &str, total: Option<u64>) -> Self {
        progress.begin(what, total);
        Self(progress)
    }

    pub(crate) fn advance(&self, bytes: u64) {
        self.0.advance(bytes);
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        self.0.finish();
    }
}
