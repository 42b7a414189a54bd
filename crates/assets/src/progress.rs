//! Progress of a fetch.

/// Receives the progress of a fetch. The command line draws bars; a test counts.
///
/// Steps do not nest: every [`begin`](Self::begin) is followed by its [`finish`](Self::finish)
/// before the next.
pub trait Progress: Sync {
    /// Begins a step. `total` is its size in bytes where that is known.
    fn begin(&self, what: &str, total: Option<u64>);
    /// Advances the step by `bytes`.
    fn advance(&self, bytes: u64);
    /// Ends the step, whether or not it succeeded.
    fn finish(&self);
    /// Shows a line to the user, between steps.
    fn message(&self, text: &str);
    /// Shows a line of detail: a source that failed while others are left. If all fail, the error
    /// lists it too.
    fn detail(&self, _text: &str) {}
}

/// Reports nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _what: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn finish(&self) {}
    fn message(&self, _text: &str) {}
}

/// A step that finishes when it is dropped, also because of an error.
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
