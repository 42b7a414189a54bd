//! Image files and bytes to pixels. Truncated JPEG files, which decoders pad with gray, are errors.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Seek, SeekFrom};
use std::path::Path;

use image::error::ImageError;
use image::{DynamicImage, ImageFormat, ImageReader, Limits};

use crate::error::{MAX_DECODED_BYTES, MAX_SIDE, PreprocessError};

/// Decodes an image in memory. The content says which format it is: PNG, JPEG, BMP, WebP or TIFF.
///
/// Sides of more than [`RawImage::MAX_SIDE`](crate::RawImage::MAX_SIDE) pixels, and images that need more than 512 MiB, are
/// errors.
pub fn decode(bytes: &[u8]) -> Result<DynamicImage, PreprocessError> {
    decode_as(bytes, "the data")
}

/// Decodes an image in memory that messages call by this name.
pub(crate) fn decode_as(bytes: &[u8], name: &str) -> Result<DynamicImage, PreprocessError> {
    read(Cursor::new(bytes), name)
}

/// Endings, in small letters, of the files that are taken for images where a folder is searched for
/// them.
pub const ENDINGS: [&str; 9] = [
    "png", "jpg", "jpeg", "jpe", "jfif", "bmp", "webp", "tif", "tiff",
];

/// Returns whether a file's name is that of an image: one of [`ENDINGS`], without a leading dot as
/// hidden files have it.
pub fn is_image_name(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let ending = path
        .extension()
        .map(|ending| ending.to_string_lossy().to_lowercase());
    !hidden && ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
}

/// Reads and decodes an image file, as [`decode`] does. The file's name does not matter.
pub fn open(path: impl AsRef<Path>) -> Result<DynamicImage, PreprocessError> {
    let path = path.as_ref();
    let name = format!("`{}`", path.display());
    match File::open(path) {
        Ok(file) => read(BufReader::new(file), &name),
        Err(reason) => Err(PreprocessError::Read {
            image: name,
            reason,
        }),
    }
}

fn read(content: impl BufRead + Seek, name: &str) -> Result<DynamicImage, PreprocessError> {
    let image = || name.to_owned();
    let mut reader = ImageReader::new(content)
        .with_guessed_format()
        .map_err(|reason| PreprocessError::Read {
            image: image(),
            reason,
        })?;
    match reader.format() {
        Some(format) if format.reading_enabled() => {}
        Some(format) => {
            return Err(PreprocessError::Format {
                image: image(),
                found: format.to_mime_type().to_owned(),
            });
        }
        None => {
            return Err(PreprocessError::Format {
                image: image(),
                found: "no known format".to_owned(),
            });
        }
    }
    if reader.format() == Some(ImageFormat::Jpeg) {
        let mut content = reader.into_inner();
        let truncated =
            is_truncated(&mut content).and_then(|truncated| content.rewind().map(|()| truncated));
        if truncated.map_err(|reason| PreprocessError::Read {
            image: image(),
            reason,
        })? {
            let reason =
                "the file ends before the image does, as after an interrupted download".to_owned();
            return Err(PreprocessError::Damaged {
                image: image(),
                reason,
            });
        }
        reader = ImageReader::with_format(content, ImageFormat::Jpeg);
    }
    reader.limits(limits());
    reader.decode().map_err(|error| match error {
        ImageError::Limits(_) => PreprocessError::TooLarge { image: image() },
        other => PreprocessError::Damaged {
            image: image(),
            reason: other.to_string(),
        },
    })
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    limits
}

/// Start of a marker.
const MARKER: u8 = 0xFF;
/// End of image.
const EOI: u8 = 0xD9;

/// Returns whether a JPEG file ends before its image does: without the marker `EOI` after its last scan
/// (ITU T.81, annex B). Goes through the segments, so that the `EOI` of a thumbnail within one does
/// not count. The reader's position afterwards is unspecified.
fn is_truncated(file: &mut (impl BufRead + Seek)) -> io::Result<bool> {
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
    use image::codecs::jpeg::JpegEncoder;
    use proptest::prelude::*;

    use super::*;

    const FORMATS: [ImageFormat; 5] = [
        ImageFormat::Png,
        ImageFormat::Jpeg,
        ImageFormat::Bmp,
        ImageFormat::WebP,
        ImageFormat::Tiff,
    ];

    fn encode(format: ImageFormat) -> Vec<u8> {
        let image =
            image::RgbImage::from_fn(5, 4, |x, y| image::Rgb([50 * x as u8, 60 * y as u8, 7]));
        let mut bytes = Cursor::new(Vec::new());
        DynamicImage::from(image)
            .write_to(&mut bytes, format)
            .unwrap();
        bytes.into_inner()
    }

    /// The start of an 8-bit RGB PNG file that claims this size.
    fn png_header(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = encode(ImageFormat::Png);
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let checksum = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |c, _| {
                if c & 1 == 1 {
                    (c >> 1) ^ 0xEDB8_8320
                } else {
                    c >> 1
                }
            })
        })
    }

    #[test]
    fn every_format_is_read_whatever_its_name() {
        let folder = tempfile::tempdir().unwrap();
        for format in FORMATS {
            let path = folder.path().join("image.dat");
            std::fs::write(&path, encode(format)).unwrap();
            let image = open(&path).unwrap();
            assert_eq!((image.width(), image.height()), (5, 4), "{format:?}");
            assert_eq!(image, decode(&encode(format)).unwrap(), "{format:?}");
        }
    }

    #[test]
    fn the_orientation_of_a_photograph_is_ignored() {
        use image::ImageDecoder;

        // A little-endian TIFF header and a directory of one entry: Orientation (0x112), one SHORT,
        // 6 for a quarter turn.
        let exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        let plain = encode(ImageFormat::Jpeg);
        let mut turned = plain[..2].to_vec();
        turned.extend([0xFF, 0xE1, 0, exif.len() as u8 + 2]);
        turned.extend(exif);
        turned.extend(&plain[2..]);
        let mut decoder = image::codecs::jpeg::JpegDecoder::new(Cursor::new(&turned)).unwrap();
        assert_eq!(
            decoder.orientation().unwrap(),
            image::metadata::Orientation::Rotate90
        );
        assert_eq!(decode(&turned).unwrap(), decode(&plain).unwrap());
    }

    #[test]
    fn names_of_images_end_like_images_and_are_not_hidden() {
        for (name, expected) in [
            ("a.png", true),
            ("A.JPEG", true),
            ("a.jfif", true),
            ("a.jpe", true),
            ("._a.png", false),
            ("a.txt", false),
            ("png", false),
            (".png", false),
        ] {
            assert_eq!(is_image_name(Path::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn files_that_cannot_be_read_are_named() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().join("missing.png"), folder.path().to_owned()] {
            let error = open(&path).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("cannot read `{}`", path.display())),
                "{error}"
            );
        }
    }

    #[test]
    fn other_content_is_no_image() {
        for (bytes, found) in [
            (&b""[..], "no known format"),
            (b"hello", "no known format"),
            (b"GIF89a..", "image/gif"),
        ] {
            let error = decode(bytes).unwrap_err().to_string();
            let start =
                "the data is not an image kiln can read (PNG, JPEG, BMP, WebP, TIFF): found ";
            assert!(error.starts_with(&format!("{start}{found}")), "{error}");
        }
    }

    #[test]
    fn sizes_beyond_the_limits_are_refused() {
        // 3 channels: 32,768 x 6,000 pixels are more than 512 MiB.
        for (width, height) in [
            (32_769, 1),
            (1, 32_769),
            (32_768, 6_000),
            (0x7FFF_FFFF, 0x7FFF_FFFF),
        ] {
            let error = decode(&png_header(width, height)).unwrap_err();
            assert!(
                matches!(error, PreprocessError::TooLarge { .. }),
                "{width}x{height}: {error}"
            );
        }
        let error = decode(&png_header(32_768, 5_000)).unwrap_err();
        assert!(matches!(error, PreprocessError::Damaged { .. }), "{error}");
    }

    #[test]
    fn truncated_images_are_damaged() {
        for format in FORMATS {
            let bytes = encode(format);
            let error = decode(&bytes[..bytes.len() * 9 / 10]).unwrap_err();
            assert!(
                matches!(error, PreprocessError::Damaged { .. }),
                "{format:?}: {error}"
            );
        }
        let bytes = encode(ImageFormat::Jpeg);
        let error = decode(&bytes[..bytes.len() - 1]).unwrap_err().to_string();
        assert!(
            error.contains("the file ends before the image does"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn damage_never_panics(
            format in prop::sample::select(FORMATS.to_vec()), cut in 0..100usize, at: prop::sample::Index, byte: u8,
        ) {
            let mut bytes = encode(format);
            let index = at.index(bytes.len());
            bytes[index] = byte;
            bytes.truncate(bytes.len().saturating_sub(cut));
            let _ = decode(&bytes);
        }
    }

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
