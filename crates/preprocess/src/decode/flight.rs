//! How much is decoded at the same time: threads wait for one another where photographs are so large
//! that one for each of many cores would exhaust memory.

use std::io::Cursor;
use std::sync::{Condvar, Mutex, PoisonError};

use image::ImageReader;

use crate::error::PreprocessError;
use crate::pixels::Pixels;
use crate::preprocessor::Preprocessor;

/// Bytes that decoding may take in the whole process, as far as they can be told from the files: some
/// twenty photographs of 12 megapixels at a time, or one of any size.
const IN_FLIGHT: u64 = 2 << 30;

/// Bytes that decoding takes for each pixel: up to four samples, as coefficients of 16 bits and as
/// the result.
const BYTES_PER_PIXEL: u64 = 12;

/// Bytes that count as nothing, so that small images wait for no large ones.
const NOTHING_MUCH: u64 = 1 << 20;

static BUDGET: Budget = Budget::new(IN_FLIGHT);

/// An image file in memory, of which the header was read.
#[derive(Debug, Clone, Copy)]
pub struct EncodedImage<'a> {
    bytes: &'a [u8],
    name: &'a str,
    size: Option<(u32, u32)>,
}

impl<'a> EncodedImage<'a> {
    /// Reads the header of a file that messages call by this name.
    pub fn new(bytes: &'a [u8], name: &'a str) -> Self {
        let size = size(bytes);
        Self { bytes, name, size }
    }

    /// Returns the file.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns what messages call it.
    pub const fn name(&self) -> &'a str {
        self.name
    }

    /// Returns width and height in pixels, as the header has them; `None` where it cannot be read. The screen of a GIF
    /// holds all of its pictures.
    pub const fn size(&self) -> Option<(u32, u32)> {
        self.size
    }

    /// Returns the number of pixels by the header.
    pub fn pixels(&self) -> Option<u64> {
        let (width, height) = self.size?;
        Some(u64::from(width) * u64::from(height))
    }

    /// Decodes the image, as [`Pixels::decode`] does, for a preprocessor if one is given, and hands the pixels on, while
    /// no more is decoded in this way at the same time than memory has room for: some 2 GiB, or a
    /// single image.
    ///
    /// `then` must not decode in this way itself, since it would wait for its own end.
    pub fn decode_then<T>(
        &self,
        wanted: Option<&Preprocessor>,
        then: impl FnOnce(Pixels) -> Result<T, PreprocessError>,
    ) -> Result<T, PreprocessError> {
        let estimate = self.estimate();
        let _room = (estimate > NOTHING_MUCH).then(|| BUDGET.take(estimate));
        then(Pixels::decode(self.bytes, self.name, wanted)?)
    }

    /// Bytes that decoding takes.
    fn estimate(&self) -> u64 {
        self.pixels().unwrap_or_default() * BYTES_PER_PIXEL + self.bytes.len() as u64
    }
}

/// Width and height by the header, read by the decoder itself: anything else could be told another size.
fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    if let [b'G', b'I', b'F', _, _, _, w0, w1, h0, h1, ..] = *bytes {
        let side = |bytes| u32::from(u16::from_le_bytes(bytes));
        return Some((side([w0, w1]), side([h0, h1])));
    }
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    reader.ok()?.into_dimensions().ok()
}

/// Room that many threads take parts of, and wait for.
struct Budget {
    whole: u64,
    taken: Mutex<u64>,
    freed: Condvar,
}

impl Budget {
    const fn new(whole: u64) -> Self {
        Self {
            whole,
            taken: Mutex::new(0),
            freed: Condvar::new(),
        }
    }

    /// Takes so many bytes, or all there are, once others have left as many.
    fn take(&self, bytes: u64) -> Room<'_> {
        let bytes = bytes.min(self.whole);
        let full = |taken: &mut u64| *taken + bytes > self.whole;
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = self.freed.wait_while(taken, full);
        *taken.unwrap_or_else(PoisonError::into_inner) += bytes;
        Room {
            budget: self,
            bytes,
        }
    }
}

/// A part of a budget, given back when dropped.
struct Room<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let taken = self.budget.taken.lock();
        *taken.unwrap_or_else(PoisonError::into_inner) -= self.bytes;
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn no_more_is_taken_than_there_is_and_one_may_take_all() {
        let budget = Budget::new(10);
        let (now, most) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for wanted in [3, 4, 5, 99, 6, 1, 10, 2] {
                let (budget, now, most) = (&budget, &now, &most);
                scope.spawn(move || {
                    for _ in 0..50 {
                        let room = budget.take(wanted);
                        let taken = now.fetch_add(room.bytes, Ordering::SeqCst) + room.bytes;
                        most.fetch_max(taken, Ordering::SeqCst);
                        std::thread::yield_now();
                        now.fetch_sub(room.bytes, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(most.into_inner() <= 10);
        assert_eq!(*budget.taken.lock().unwrap(), 0);
    }

    #[test]
    fn memory_is_told_from_the_size_that_a_file_announces() {
        let mut png = Cursor::new(Vec::new());
        image::DynamicImage::new_rgb8(100, 50)
            .write_to(&mut png, image::ImageFormat::Png)
            .unwrap();
        let png = png.into_inner();
        let estimate = |bytes| EncodedImage::new(bytes, "it").estimate();
        assert_eq!(estimate(&png), 12 * 5_000 + png.len() as u64);
        assert_eq!(estimate(b"nothing"), 7);
    }
}
