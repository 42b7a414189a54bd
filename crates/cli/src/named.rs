//! Output whose failures say what could not be written.

use std::io::{self, ErrorKind, Stdout, Write};

/// A writer with a name for messages. Errors keep their kind, by which a reader that went away is
/// known.
pub struct Named<W> {
    name: &'static str,
    to: W,
}

impl Named<Stdout> {
    /// Standard output.
    pub fn stdout() -> Self {
        Self {
            name: "standard output",
            to: io::stdout(),
        }
    }
}

impl<W> Named<W> {
    fn fail(&self, error: &io::Error) -> io::Error {
        let full = matches!(
            error.kind(),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded
        );
        let advice = if full { ": make room" } else { "" };
        io::Error::new(
            error.kind(),
            format!("cannot write {}: {error}{advice}", self.name),
        )
    }
}

impl<W: Write> Write for Named<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.to.write(bytes).map_err(|error| self.fail(&error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush().map_err(|error| self.fail(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn a_failure_names_what_it_is_about_and_keeps_its_kind() {
        let mut out = Named {
            name: "standard output",
            to: Full,
        };
        let error = out.write_all(b"x").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        let message = error.to_string();
        assert!(
            message.starts_with("cannot write standard output: ")
                && message.ends_with(": make room"),
            "{message}"
        );
        assert_eq!(out.flush().unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
