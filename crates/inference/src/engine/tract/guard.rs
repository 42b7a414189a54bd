//! tract's errors and panics as one kind of error.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tract_onnx::prelude::TractResult;

use crate::engine::one_line::one_line;

/// Runs `work` and says in one line what went wrong.
///
/// tract indexes and unwraps in places that a malformed graph reaches (an axis beyond the rank,
/// say). A file must not be able to end the process, so a panic becomes an error (its message still
/// goes to the panic hook). Nothing that was under construction is used after one: results are
/// taken only from `work` that returned.
pub fn guarded<T>(work: impl FnOnce() -> TractResult<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| one_line(&format_args!("{error:#}"))),
        Err(panic) => {
            let message = panic.downcast_ref::<String>().map(String::as_str);
            let message = message
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            Err(format!("tract panicked: {}", one_line(&message)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_become_errors() {
        let none: [u8; 0] = [];
        let error = guarded(|| Ok(none[std::hint::black_box(3)])).unwrap_err();
        assert!(
            error.starts_with("tract panicked: index out of bounds"),
            "{error}"
        );
    }
}
