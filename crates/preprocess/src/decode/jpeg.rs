//! What the `image` crate's decoder of JPEG does not tell or do: truncated files, which it pads with
//! gray, are errors; frames of motion JPEG get the Huffman tables that they leave out; kinds that it
//! does not decode have names; large images can be decoded at a smaller size.

use std::borrow::Cow;
use std::io::{self, BufRead, Cursor, Seek, SeekFrom};

use image::codecs::jpeg::JpegDecoder;
use image::{DynamicImage, GrayImage, ImageDecoder, RgbImage};
use jpeg_decoder::{Decoder, PixelFormat};

use super::{Decoded, Problem, orientation};
use crate::error::MAX_DECODED_BYTES;
use crate::preprocessor::Preprocessor;
use crate::reduce::jpeg_divisor;

/// Start of a marker.
const MARKER: u8 = 0xFF;
/// End of image.
const EOI: u8 = 0xD9;
/// Start of scan.
const SOS: u8 = 0xDA;
/// Define Huffman tables.
const DHT: u8 = 0xC4;
/// Start of a frame of baseline, extended and progressive DCT, in this order.
const SOF: [u8; 3] = [0xC0, 0xC1, 0xC2];

/// Returns a file that can be decoded: the same, or with the Huffman tables that it lacks.
pub(super) fn complete(bytes: &[u8]) -> Result<Cow<'_, [u8]>, Problem> {
    let survey = Survey::of(bytes).map_err(|reason| Problem::Damaged(reason.to_string()))?;
    if let Some(kind) = survey.frame.and_then(Frame::undecodable) {
        return Err(Problem::Kind(kind));
    }
    if survey.is_truncated {
        let reason = "the file ends before the image does, as after an interrupted download";
        return Err(Problem::Damaged(reason.to_owned()));
    }
    let sequential = survey.frame.is_some_and(|frame| frame.code != SOF[2]);
    Ok(match survey.first_scan {
        Some(at) if sequential && !survey.has_tables => {
            Cow::Owned([&bytes[..at], &STANDARD_TABLES[..], &bytes[at..]].concat())
        }
        _ => Cow::Borrowed(bytes),
    })
}

/// Decodes an image smaller than it is, where the preprocessor divides it before it resizes it. None where the
/// decoder does not divide it, it has other colors than gray or three, or cannot be decoded in this way: then
/// decoding it whole tells what is wrong.
pub(super) fn reduced(bytes: &[u8], wanted: &Preprocessor) -> Option<Decoded> {
    let mut header = JpegDecoder::new(Cursor::new(bytes)).ok()?;
    let (width, height) = header.dimensions();
    let orientation = orientation(&mut header);
    let by = jpeg_divisor(wanted.divisor([height, width], orientation));
    if by == 1 {
        return None;
    }
    let mut decoder = Decoder::new(bytes);
    decoder.set_max_decoding_buffer_size(MAX_DECODED_BYTES as usize);
    let side = |side: u32| u16::try_from(side.div_ceil(by)).ok();
    let (width, height) = decoder.scale(side(width)?, side(height)?).ok()?;
    let samples = decoder.decode().ok()?;
    let (width, height) = (width.into(), height.into());
    let image = match decoder.info()?.pixel_format {
        PixelFormat::L8 => GrayImage::from_raw(width, height, samples).map(DynamicImage::from),
        PixelFormat::RGB24 => RgbImage::from_raw(width, height, samples).map(DynamicImage::from),
        PixelFormat::L16 | PixelFormat::CMYK32 => None,
    };
    let image = image?;
    Some(Decoded { image, orientation })
}

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    /// The marker's code, which says how the frame is coded.
    code: u8,
    /// Bits of a sample.
    bits: u8,
}

impl Frame {
    /// What kind it is, if none that is decoded (ITU T.81, table B.1).
    fn undecodable(self) -> Option<String> {
        let kind = match self.code {
            0xC3 => "a lossless JPEG",
            0xC5..=0xC7 => "a hierarchical JPEG",
            0xC9 | 0xCA => "a JPEG with arithmetic coding",
            0xCB => "a lossless JPEG with arithmetic coding",
            0xCD..=0xCF => "a hierarchical JPEG with arithmetic coding",
            _ if self.bits != 8 => return Some(format!("a JPEG of {}-bit samples", self.bits)),
            _ => return None,
        };
        Some(kind.to_owned())
    }
}

/// What the segments of a file say.
#[derive(Debug, Default)]
struct Survey {
    /// The file ends before its image does: without the marker `EOI` after its last scan (ITU T.81,
    /// annex B).
    is_truncated: bool,
    frame: Option<Frame>,
    /// There are Huffman tables before the first scan.
    has_tables: bool,
    /// Where the marker of the first scan begins.
    first_scan: Option<usize>,
}

impl Survey {
    /// Goes through the segments, so that the `EOI` of a thumbnail within one does not count.
    fn of(bytes: &[u8]) -> io::Result<Self> {
        let mut survey = Self::default();
        let mut file = Cursor::new(bytes);
        while let Some(code) = next_marker(&mut file)? {
            match code {
                EOI => return Ok(survey),
                // What stands alone: a byte of a scan that is no marker, restarts, start of image.
                0x00 | 0x01 | 0xD0..=0xD8 => {}
                _ => {
                    let start = file.position() as usize;
                    let Some(&[high, low]) =
                        bytes.get(start..start + 2).and_then(<[u8]>::first_chunk)
                    else {
                        break;
                    };
                    survey.note(code, start, bytes.get(start + 2));
                    let length = i64::from(u16::from_be_bytes([high, low]).max(2));
                    file.seek(SeekFrom::Current(length))?;
                }
            }
        }
        survey.is_truncated = true;
        Ok(survey)
    }

    /// Takes note of a segment whose length is at `start`, with the byte after that.
    fn note(&mut self, code: u8, start: usize, first: Option<&u8>) {
        match code {
            DHT => self.has_tables |= self.first_scan.is_none(),
            SOS => {
                self.first_scan.get_or_insert(start - 2);
            }
            // What is left of these codes: `JPG` and `DAC`.
            0xC8 | 0xCC => {}
            0xC0..=0xCF if self.frame.is_none() => {
                self.frame = first.map(|&bits| Frame { code, bits });
            }
            _ => {}
        }
    }
}

/// Goes to after the next marker; returns its code.
fn next_marker(file: &mut Cursor<&[u8]>) -> io::Result<Option<u8>> {
    file.skip_until(MARKER)?;
    // Markers may have more of the byte in front.
    loop {
        let Some(&code) = file.fill_buf()?.first() else {
            return Ok(None);
        };
        file.consume(1);
        if code != MARKER {
            return Ok(Some(code));
        }
    }
}

/// The segment of the Huffman tables of ITU T.81, annex K.3, which frames of motion JPEG leave out:
/// those of the direct and the alternating coefficients of luminance, then of chrominance.
#[rustfmt::skip]
const STANDARD_TABLES: [u8; 420] = [
    MARKER, DHT, 0x01, 0xA2,
    0x00, 0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0,
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
    0x10, 0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7D,
    0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71,
    0x14, 0x32, 0x81, 0x91, 0xA1, 0x08, 0x23, 0x42, 0xB1, 0xC1, 0x15, 0x52, 0xD1, 0xF0, 0x24, 0x33, 0x62, 0x72,
    0x82, 0x09, 0x0A, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x34, 0x35, 0x36, 0x37,
    0x38, 0x39, 0x3A, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59,
    0x5A, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6A, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0x83,
    0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0xA2, 0xA3,
    0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9, 0xAA, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA, 0xC2, 0xC3,
    0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA, 0xE1, 0xE2,
    0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xF1, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA,
    0x01, 0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0,
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
    0x11, 0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77,
    0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22,
    0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xA1, 0xB1, 0xC1, 0x09, 0x23, 0x33, 0x52, 0xF0, 0x15, 0x62, 0x72, 0xD1,
    0x0A, 0x16, 0x24, 0x34, 0xE1, 0x25, 0xF1, 0x17, 0x18, 0x19, 0x1A, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x35, 0x36,
    0x37, 0x38, 0x39, 0x3A, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58,
    0x59, 0x5A, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6A, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A,
    0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A,
    0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9, 0xAA, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA,
    0xC2, 0xC3, 0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA,
    0xE2, 0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA,
];

#[cfg(test)]
mod tests {
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
        Survey::of(bytes).unwrap().is_truncated
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

    /// Without its segments of Huffman tables.
    fn without_tables(bytes: &[u8]) -> Vec<u8> {
        let mut left = bytes[..2].to_vec();
        let mut at = 2;
        while bytes[at + 1] != SOS {
            let length = usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
            let segment = &bytes[at..at + 2 + length];
            if segment[1] != DHT {
                left.extend(segment);
            }
            at += 2 + length;
        }
        left.extend(&bytes[at..]);
        left
    }

    #[test]
    fn frames_without_tables_get_the_standard_ones() {
        // The encoder uses the tables of the standard.
        let whole = jpeg();
        let frame = without_tables(&whole);
        assert!(frame.len() < whole.len());
        let expected = crate::decode(&whole).unwrap();
        assert_eq!(crate::decode(&frame).unwrap(), expected);
        assert!(matches!(complete(&whole), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn frames_that_are_not_decoded_are_named() {
        let kind = |code: u8, bits: u8| {
            let mut bytes = jpeg();
            let at = bytes.windows(2).position(|two| two == [MARKER, SOF[0]]);
            let at = at.unwrap();
            bytes[at + 1] = code;
            bytes[at + 4] = bits;
            crate::decode(&bytes).unwrap_err().to_string()
        };
        for (code, bits, expected) in [
            (SOF[1], 12, "a JPEG of 12-bit samples"),
            (0xC3, 8, "a lossless JPEG"),
            (0xC9, 8, "a JPEG with arithmetic coding"),
        ] {
            let message = kind(code, bits);
            assert!(
                message.starts_with(&format!("the data is {expected}")),
                "{message}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_to_an_end(bytes: Vec<u8>) {
            let _ = truncated(&bytes);
        }
    }
}
