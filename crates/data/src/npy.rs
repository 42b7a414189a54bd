//! Rows of numbers in NumPy's format, which `numpy.load` reads.
//!
//! <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>

use std::io::{self, Seek, SeekFrom, Write};

/// Length of the header with all before it; NumPy pads to a multiple of 64 bytes too. The longest
/// dictionary, of two numbers of 20 digits, has room in it, so the number of rows can be written when
/// it is known.
const HEADER: usize = 128;

/// Magic string, version 1.0, and the length of the rest of the header.
const START: [u8; 10] = *b"\x93NUMPY\x01\x00\x76\x00";

/// Writes a file of f32 values, `[rows, width]`, row-major and little-endian, row by row.
pub struct NpyWriter<W: Write + Seek> {
    out: W,
    width: usize,
    rows: u64,
    /// A row's bytes.
    bytes: Vec<u8>,
}

impl<W: Write + Seek> NpyWriter<W> {
    /// Begins a file of rows of `width` values.
    pub fn new(mut out: W, width: usize) -> io::Result<Self> {
        out.write_all(&header(0, width))?;
        Ok(Self {
            out,
            width,
            rows: 0,
            bytes: Vec::with_capacity(width * size_of::<f32>()),
        })
    }

    /// Adds a row.
    ///
    /// # Panics
    ///
    /// If it has another width.
    pub fn row(&mut self, values: &[f32]) -> io::Result<()> {
        assert_eq!(values.len(), self.width, "a row of the file's width");
        self.bytes.clear();
        self.bytes
            .extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self.rows += 1;
        self.out.write_all(&self.bytes)
    }

    /// Writes the number of rows into the header, and returns the output.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&header(self.rows, self.width))?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// Returns the output.
    pub const fn get_ref(&self) -> &W {
        &self.out
    }
}

fn header(rows: u64, width: usize) -> Vec<u8> {
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}");
    let mut bytes = START.to_vec();
    bytes.extend(text.into_bytes());
    bytes.resize(HEADER - 1, b' ');
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn written(rows: &[[f32; 3]]) -> Vec<u8> {
        let mut writer = NpyWriter::new(Cursor::new(Vec::new()), 3).unwrap();
        for row in rows {
            writer.row(row).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn files_are_those_of_numpy_byte_for_byte() {
        // Written by tests/golden/npy.py.
        let golden = include_bytes!("../tests/golden/rows.npy");
        let rows = [[0.0, 1.0, -2.5], [f32::MIN_POSITIVE, f32::MAX, 0.1]];
        assert_eq!(written(&rows), golden);
    }

    #[test]
    fn every_size_has_room_in_the_header() {
        assert_eq!(header(u64::MAX, usize::MAX).len(), HEADER);
        assert_eq!(written(&[]).len(), HEADER);
    }
}
