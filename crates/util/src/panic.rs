//! Panics as errors.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    /// How many calls of [`catch_panic`] this thread is in.
    static GUARDED: Cell<usize> = const { Cell::new(0) };
}

/// Runs `work`; a panic becomes the error, with its message, and is not printed.
///
/// The first call wraps the panic hook of the program in one that stays silent on threads that are in
/// such a call, and calls the program's own otherwise. A hook that the program sets later prints these
/// panics again. Threads that `work` starts are not covered.
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
    static SILENCED: Once = Once::new();
    // A thread that is panicking already may not change the hook.
    if !std::thread::panicking() {
        SILENCED.call_once(silence_guarded_threads);
    }
    let guard = Guard::new();
    let caught = catch_unwind(AssertUnwindSafe(work));
    drop(guard);
    caught.map_err(|panic| {
        let message = panic.downcast_ref::<String>().map(String::as_str);
        let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
        message.unwrap_or("no message").to_owned()
    })
}

fn silence_guarded_threads() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // A thread that ends has no such value any more.
        if GUARDED.try_with(Cell::get).is_ok_and(|depth| depth > 0) {
            return;
        }
        hook(panic);
    }));
}

/// Counts a call for as long as it lasts.
struct Guard;

impl Guard {
    fn new() -> Self {
        GUARDED.with(|depth| depth.set(depth.get() + 1));
        Self
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        GUARDED.with(|depth| depth.set(depth.get() - 1));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    static PRINTED: Mutex<Vec<String>> = Mutex::new(Vec::new());

    #[expect(clippy::manual_assert, reason = "it is about panics")]
    fn fail(message: &str) {
        if !message.is_empty() {
            panic!("{message}");
        }
    }

    #[test]
    fn only_panics_outside_are_printed() {
        let earlier = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| match panic.payload_as_str() {
            Some(message) if message.starts_with("test:") => {
                PRINTED.lock().unwrap().push(message.to_owned());
            }
            _ => earlier(panic),
        }));
        assert_eq!(
            catch_panic(|| fail("test: inside")),
            Err("test: inside".into())
        );
        let nested = catch_panic(|| {
            assert!(catch_panic(|| fail("test: deeper")).is_err());
            fail("test: after");
        });
        assert_eq!(nested, Err("test: after".into()));
        assert!(catch_unwind(|| fail("test: outside")).is_err());
        let other = std::thread::spawn(|| fail("test: elsewhere"));
        assert!(catch_panic(|| other.join()).unwrap().is_err());
        assert_eq!(
            *PRINTED.lock().unwrap(),
            ["test: outside", "test: elsewhere"]
        );
    }
}
