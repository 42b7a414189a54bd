//! Ctrl-C: while work is done that asks for it, the first stops after the current step; else, and
//! the second time, it ends the program at once.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_util::CancelToken;

static STOP: LazyLock<CancelToken> = LazyLock::new(CancelToken::new);
static POLLING: AtomicUsize = AtomicUsize::new(0);

/// Begins to listen. Where the system does not allow it, Ctrl-C just ends the program.
pub fn listen() {
    let _ = ctrlc::set_handler(|| {
        if STOP.is_cancelled() || POLLING.load(Ordering::Relaxed) == 0 {
            std::process::exit(130);
        }
        STOP.cancel();
    });
}

/// Work that asks [`requested`] often; as long as this lives, Ctrl-C waits for it.
pub struct Polling(());

impl Polling {
    pub fn begin() -> Self {
        POLLING.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        POLLING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Cancelled once the user wants to stop.
pub fn token() -> &'static CancelToken {
    &STOP
}

/// Whether the user wants to stop.
pub fn requested() -> bool {
    STOP.is_cancelled()
}
