//! tract's errors and panics as one kind of error.

use kiln_util::catch_panic;
use tract_onnx::prelude::TractResult;

use crate::engine::error::one_line;

/// Runs `work` and says in one line what went wrong.
///
/// tract indexes and unwraps in places that a malformed graph reaches (an axis beyond the rank,
/// say). A file must not be able to end the process, so a panic becomes an error (its message still
/// goes to the panic hook). Nothing that was under construction is used after one: results are
/// taken only from `work` that returned.
pub fn guarded<T>(work: impl FnOnce() -> TractResult<T>) -> Result<T, String> {
    match catch_panic(work) {
        Ok(result) => result.map_err(|error| one_line(&format_args!("{error:#}"))),
        Err(message) => Err(format!("tract panicked: {}", one_line(&message))),
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
