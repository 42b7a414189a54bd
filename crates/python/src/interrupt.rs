//! Work that Ctrl-C ends.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kiln_util::CancelToken;
use pyo3::prelude::*;

/// How often signals are looked for. Python runs the handler of a signal in the main thread only.
const LOOK: Duration = Duration::from_millis(50);

/// Does work without Python's global lock in another thread, and cancels it once a signal's handler raises, as that of
/// Ctrl-C does.
pub fn interruptible<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(CancelToken) -> PyResult<T> + Send,
) -> PyResult<T> {
    let cancel = CancelToken::new();
    let (done, ended) = channel();
    let mut interrupted = Ok(());
    let result = std::thread::scope(|scope| {
        let token = cancel.clone();
        let worker = scope.spawn(move || {
            let result = work(token);
            // The other end is there as long as this thread.
            let _ = done.send(());
            result
        });
        // Waiting needs the global lock as little as working does.
        let ended = Mutex::new(ended);
        let wait = || {
            let ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
            ended.recv_timeout(LOOK)
        };
        while let Err(RecvTimeoutError::Timeout) = py.detach(wait) {
            if let Err(raised) = py.check_signals() {
                cancel.cancel();
                interrupted = Err(raised);
                break;
            }
        }
        py.detach(|| worker.join())
    });
    interrupted?;
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
