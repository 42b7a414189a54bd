//! Lines that are handed over every so often.

use std::io::{self, BufWriter, Write};

/// Lines from one flush to the next, where nothing else is asked for.
const FLUSH_EVERY: u32 = 64;

/// Returns the number of lines from one flush to the next for batches of this size: a batch, so
/// that what is computed does not wait for more, but at most 64.
pub fn flush_interval(batch_size: Option<u32>) -> u32 {
    batch_size.map_or(FLUSH_EVERY, |size| size.min(FLUSH_EVERY))
}

/// Buffers lines, and flushes them every few dozen, so that what reads along does not wait long.
pub struct LineWriter<W: Write> {
    out: BufWriter<W>,
    /// Lines since the last flush.
    waiting: u32,
    flush_every: u32,
}

impl<W: Write> LineWriter<W> {
    /// Creates a writer that flushes every 64 lines.
    pub fn new(out: W) -> Self {
        Self {
            out: BufWriter::with_capacity(1 << 16, out),
            waiting: 0,
            flush_every: FLUSH_EVERY,
        }
    }

    /// Flushes after this many lines.
    #[must_use]
    pub fn flush_every(mut self, lines: u32) -> Self {
        self.flush_every = lines;
        self
    }

    /// Ends a line that `write` writes.
    pub fn line(
        &mut self,
        write: impl FnOnce(&mut BufWriter<W>) -> io::Result<()>,
    ) -> io::Result<()> {
        write(&mut self.out)?;
        self.out.write_all(b"\n")?;
        self.waiting += 1;
        if self.waiting >= self.flush_every {
            self.flush()?;
        }
        Ok(())
    }

    /// Hands over what was not yet.
    pub fn flush(&mut self) -> io::Result<()> {
        self.waiting = 0;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_handed_over_together() {
        struct Flushes<'a>(&'a mut Vec<usize>);
        impl Write for Flushes<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.push(bytes.len());
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut flushed = Vec::new();
        let mut lines = LineWriter::new(Flushes(&mut flushed)).flush_every(2);
        for _ in 0..5 {
            lines.line(|out| out.write_all(b"abc")).unwrap();
        }
        lines.flush().unwrap();
        drop(lines);
        assert_eq!(flushed, [8, 8, 4]);
        assert_eq!(flush_interval(Some(1)), 1);
        assert_eq!(flush_interval(Some(999)), FLUSH_EVERY);
    }
}
