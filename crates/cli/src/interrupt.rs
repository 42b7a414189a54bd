//! Ctrl-C: the first one stops work that watches the token after its current step; without such
//! work, and the second time, it ends the program at once.

use kiln_pipeline::CancelToken;

/// Begins to listen. Where the system does not allow it, Ctrl-C just ends the program.
pub fn listen(token: CancelToken) {
    let _ = ctrlc::set_handler(move || {
        if token.is_cancelled() || !token.is_watched() {
            std::process::exit(130);
        }
        token.cancel();
    });
}
