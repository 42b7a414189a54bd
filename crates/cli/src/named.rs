//! Output whose failures say what could not be written.

use std::io::{self, Write};

/// A writer with a name for messages. Errors keep their kind, by which a reader that went away is known.
pub struct Named<W> {
    name: String,
    to: W,
}

impl<W: Write> Named<W> {
    /// Writes there, under this name.
    pub fn new(name: impl Into<String>, to: W) -> Self {
        Self { name: name.into(), to }
    }

    fn fail(&self, error: &io::Error) -> io::Error {
        let advice = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ": make room, and begin again or use --resume",
            _ => "",
        };
        io::Error::new(error.kind(), format!("cannot write {}: {error}{advice}", self.name))
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
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn a_failure_names_what_it_is_about_and_keeps_its_kind() {
        let mut out = Named::new("p.csv", Full);
        let error = out.write_all(b"x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let message = error.to_string();
        assert!(message.starts_with("cannot write p.csv: ") && message.ends_with("--resume"), "{message}");
        assert_eq!(out.flush().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
