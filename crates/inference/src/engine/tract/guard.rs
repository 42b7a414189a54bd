//! tract's errors and panics as one kind of error.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tract_onnx::prelude::TractResult;

/// Runs `work` and says in one line what went wrong.
///
/// tract indexes and unwraps in places that a malformed graph reaches (an axis beyond the rank, say). A file must not
/// be able to end the process, so a panic becomes an error. Nothing that was under construction is used after one:
/// results are taken only from `work` that returned.
pub fn guarded<T>(work: impl FnOnce() -> TractResult<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| one_line(&format!("{error:#}"))),
        Err(panic) => {
            let message = panic.downcast_ref::<String>().map(String::as_str);
            let message = message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            Err(format!("tract stopped short: {}", one_line(message)))
        }
    }
}

/// The chain of causes without line breaks, cut where a dump of a graph would begin.
fn one_line(message: &str) -> String {
    const LONGEST: usize = 600;
    let mut line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(LONGEST) {
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_become_errors() {
        let none: [u8; 0] = [];
        let error = guarded(|| Ok(none[std::hint::black_box(3)])).unwrap_err();
        assert!(error.starts_with("tract stopped short: index out of bounds"), "{error}");
    }

    #[test]
    fn long_messages_are_cut_and_kept_on_one_line() {
        let error = one_line(&"né\n".repeat(1000));
        assert_eq!(error.chars().count(), 601);
        assert!(error.starts_with("né né "));
    }
}
