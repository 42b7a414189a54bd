//! Panics as errors.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `work`; a panic becomes the error, with its message. The panic hook has printed it before.
///
/// Nothing that was under construction is used after a panic as long as `work` changes only what it
/// returns.
///
/// # Errors
///
/// Returns the message of the panic, or `no message`.
///
/// ```
/// let caught = kiln_util::catch_panic(|| [1, 2][std::hint::black_box(2)]);
/// assert!(caught.unwrap_err().starts_with("index out of bounds"));
/// ```
pub fn catch_panic<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let message = panic.downcast_ref::<String>().map(String::as_str);
        let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
        message.unwrap_or("no message").to_owned()
    })
}
