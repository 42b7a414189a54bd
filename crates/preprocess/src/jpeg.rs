//! Truncated JPEG files, which decoders pad with gray.

use std::io::{self, BufRead, Seek, SeekFrom};

/// Start of a marker.
const MARKER: u8 = 0xFF;
/// End of image.
const EOI: u8 = 0xD9;

/// Returns whether a JPEG file ends before its image does: without the marker `EOI` after its last scan
/// (ITU T.81, annex B). Goes through the segments, so that the `EOI` of a thumbnail within one does
/// not count. The reader's position afterwards is unspecified.
pub fn is_truncated(file: &mut (impl BufRead + Seek)) -> io::Result<bool> {
    loop {
        file.skip_until(MARKER)?;
        // Markers may have more of the byte in front.
        let mut code = MARKER;
        while code == MARKER {
            let Some(next) = byte(file)? else {
                return Ok(true);
            };
            code = next;
        }
        match code {
            EOI => return Ok(false),
            // What stands alone: a byte of a scan that is no marker, restarts, start of image.
            0x00 | 0x01 | 0xD0..=0xD8 => {}
            _ => {
                let (Some(high), Some(low)) = (byte(file)?, byte(file)?) else {
                    return Ok(true);
                };
                let length = u16::from_be_bytes([high, low]);
                file.seek(SeekFrom::Current(i64::from(length.saturating_sub(2))))?;
            }
        }
    }
}

fn byte(file: &mut impl BufRead) -> io::Result<Option<u8>> {
    let first = file.fill_buf()?.first().copied();
    file.consume(usize::from(first.is_some()));
    Ok(first)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::codecs::jpeg::JpegEncoder;
    use proptest::prelude::*;

    use super::*;

    /// A noisy picture, so that its scan has bytes of all values.
    fn jpeg() -> Vec<u8> {
        let image = image::RgbImage::from_fn(40, 30, |x, y| {
            image::Rgb([x * 37 % 251, y * 59 % 241, x * y % 239].map(|v| v as u8))
        });
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, 95)
            .encode_image(&image)
            .unwrap();
        bytes
    }

    fn truncated(bytes: &[u8]) -> bool {
        is_truncated(&mut Cursor::new(bytes)).unwrap()
    }

    #[test]
    fn complete_files_pass_and_every_shorter_one_is_truncated() {
        let mut bytes = jpeg();
        for length in 0..bytes.len() {
            assert!(truncated(&bytes[..length]), "{length} of {}", bytes.len());
        }
        assert!(!truncated(&bytes));
        bytes.extend(b"what a camera appends");
        assert!(!truncated(&bytes));
    }

    #[test]
    fn the_end_of_a_thumbnail_is_not_the_end() {
        let (image, thumbnail) = (jpeg(), jpeg());
        let length = (thumbnail.len() + 2) as u16;
        let segment = [&[0xFF, 0xE1][..], &length.to_be_bytes(), &thumbnail].concat();
        let bytes = [&image[..2], &segment, &image[2..]].concat();
        assert!(
            !truncated(&bytes)
                && truncated(&bytes[..bytes.len() - 2])
                && truncated(&bytes[..segment.len() + 2])
        );
    }

    proptest! {
        #[test]
        fn any_bytes_come_to_an_end(bytes: Vec<u8>) {
            let _ = truncated(&bytes);
        }
    }
}
