//! Stopping work from another thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Asks long work to stop after its current step. Clones share one state.
///
/// ```
/// let token = kiln_util::CancelToken::new();
/// let clone = token.clone();
/// clone.cancel();
/// assert!(token.is_cancelled());
/// ```
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<State>);

#[derive(Debug, Default)]
struct State {
    cancelled: AtomicBool,
    watchers: AtomicUsize,
}

impl CancelToken {
    /// Creates a token that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the work to stop. This cannot be taken back.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Relaxed);
    }

    /// Returns whether the work is to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Relaxed)
    }

    /// Announces work that looks at the token often, for as long as the guard lives.
    pub fn watch(&self) -> Watch {
        self.0.watchers.fetch_add(1, Ordering::Relaxed);
        Watch(self.clone())
    }

    /// Returns whether any work looks at the token: if not, whoever wants to stop has to end the
    /// process.
    pub fn is_watched(&self) -> bool {
        self.0.watchers.load(Ordering::Relaxed) > 0
    }
}

/// Work that looks at a [`CancelToken`] often.
#[derive(Debug)]
#[must_use = "the work counts as watching only while this lives"]
pub struct Watch(CancelToken);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.0.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_watched_as_long_as_the_guards_live() {
        let token = CancelToken::new();
        let (first, second) = (token.watch(), token.clone().watch());
        drop(first);
        assert!(token.is_watched());
        drop(second);
        assert!(!token.is_watched() && !token.is_cancelled());
    }
}
