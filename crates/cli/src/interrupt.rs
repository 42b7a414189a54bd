//! Ctrl-C: while work is done that asks for it, the first stops after the current step; else, and
//! the second time, it ends the program at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

static STOP: AtomicBool = AtomicBool::new(false);
static POLLING: AtomicUsize = AtomicUsize::new(0);

/// Begins to listen. Where the system does not allow it, Ctrl-C just ends the program.
pub fn listen() {
    let _ = ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) || POLLING.load(Ordering::Relaxed) == 0 {
            std::process::exit(130);
        }
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

/// Set once the user wants to stop.
pub fn flag() -> &'static AtomicBool {
    &STOP
}

/// Whether the user wants to stop.
pub fn requested() -> bool {
    STOP.load(Ordering::Relaxed)
}
