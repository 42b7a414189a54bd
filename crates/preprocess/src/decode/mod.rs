//! Image files and bytes to pixels, with the orientation that their metadata give.
//!
//! What the `image` crate does not decode as Pillow does has a file of its own: GIF, and kinds of TIFF
//! and JPEG. What nothing here decodes is refused by its kind.

mod flight;
mod gif;
mod jpeg;
mod tiff;

pub use flight::EncodedImage;

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use image::error::ImageError;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use crate::error::{MAX_DECODED_BYTES, MAX_SIDE, PreprocessError};
use crate::orientation::Orientation;
use crate::pixels::{Pixels, RawImage};
use crate::preprocessor::Preprocessor;

/// A decoded image file: its pixels as they are stored, and how a camera was held.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The pixels, not turned.
    pub image: DynamicImage,
    /// The tag of the file's metadata, in the Exif of a JPEG, PNG or WebP file; upright where there is
    /// none. Those of TIFF files are turned by their tag already, as by Pillow.
    pub orientation: Orientation,
}

impl From<DynamicImage> for Decoded {
    /// Pixels that are upright.
    fn from(image: DynamicImage) -> Self {
        Self {
            image,
            orientation: Orientation::Upright,
        }
    }
}

/// What a [`Preprocessor`] makes the tensor of an image from: a decoded file, whose orientation it knows, or
/// pixels without a file, which are upright.
pub trait Picture: Sync {
    /// Writes the tensor to `out`, which has [`Preprocessor::len`] values.
    fn prepare(&self, preprocessor: &Preprocessor, out: &mut [f32]) -> Result<(), PreprocessError>;
}

impl Picture for Decoded {
    fn prepare(&self, preprocessor: &Preprocessor, out: &mut [f32]) -> Result<(), PreprocessError> {
        if preprocessor.turns(self.orientation) {
            preprocessor.pixels(Pixels::of(self.clone())?, out)
        } else {
            preprocessor.image(&self.image, out)
        }
    }
}

impl Picture for DynamicImage {
    fn prepare(&self, preprocessor: &Preprocessor, out: &mut [f32]) -> Result<(), PreprocessError> {
        preprocessor.image(self, out)
    }
}

/// An image wherever a program has it. What is not decoded yet is decoded when it is prepared, and not kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ImageSource<'a> {
    /// An image file, as [`Preprocessor::open`] takes it.
    Path(&'a Path),
    /// The bytes of an image file, as [`Preprocessor::decode`] takes them.
    Encoded(&'a [u8]),
    /// Pixels, which are upright.
    Pixels(RawImage<'a>),
}

impl Picture for ImageSource<'_> {
    fn prepare(&self, preprocessor: &Preprocessor, out: &mut [f32]) -> Result<(), PreprocessError> {
        match *self {
            Self::Path(path) => preprocessor.open(path)?.prepare(preprocessor, out),
            Self::Encoded(bytes) => preprocessor.decode(bytes)?.prepare(preprocessor, out),
            Self::Pixels(pixels) => preprocessor.raw(pixels, out),
        }
    }
}

/// Decodes an image in memory. The content says which format it is: PNG, JPEG, BMP, WebP, TIFF or
/// GIF. Of several pictures it is the first.
///
/// # Errors
///
/// Content that is no image, damaged, truncated, or of a kind that is not decoded, such as TIFF of
/// floating-point samples. Sides of more than [`RawImage::MAX_SIDE`](crate::RawImage::MAX_SIDE)
/// pixels, and images that need more than 512 MiB.
pub fn decode(bytes: &[u8]) -> Result<Decoded, PreprocessError> {
    decode_as(bytes, "the data", None)
}

/// Endings, in small letters, of the files that are taken for images where a folder is searched for
/// them.
pub const ENDINGS: [&str; 10] = [
    "png", "jpg", "jpeg", "jpe", "jfif", "bmp", "webp", "tif", "tiff", "gif",
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
pub fn open(path: impl AsRef<Path>) -> Result<Decoded, PreprocessError> {
    let file = ImageBytes::read(path.as_ref())?;
    decode_as(&file.bytes, &file.name, None)
}

impl Preprocessor {
    /// Decodes an image in memory for this preprocessor, as [`decode`] does, but a JPEG that is divided by 8 or
    /// more by the record's `reducing_gap` by half as much already, in a fraction of the time and memory. From whole
    /// pixels, as [`decode`] gives them, the tensor differs by what decoders of JPEG differ.
    pub fn decode(&self, bytes: &[u8]) -> Result<Decoded, PreprocessError> {
        decode_as(bytes, "the data", Some(self))
    }

    /// Reads and decodes an image file for this preprocessor, as its [`decode`](Self::decode) does.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Decoded, PreprocessError> {
        let file = ImageBytes::read(path.as_ref())?;
        decode_as(&file.bytes, &file.name, Some(self))
    }
}

/// Most bytes of an image file: twice what its pixels may take.
const MAX_FILE_BYTES: u64 = 2 * MAX_DECODED_BYTES;

/// The bytes of an image file, not yet decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageBytes {
    /// What messages call it: its path in backquotes.
    pub name: String,
    /// The file's content.
    pub bytes: Vec<u8>,
}

impl ImageBytes {
    /// Reads a file, of up to 1 GiB.
    pub fn read(path: &Path) -> Result<Self, PreprocessError> {
        let name = format!("`{}`", path.display());
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| {
            // A hint only: pipes have no length.
            let length = file.metadata().map_or(0, |metadata| metadata.len());
            bytes.reserve(length.min(MAX_FILE_BYTES) as usize + 1);
            file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)
        });
        match read {
            Ok(_) if bytes.len() as u64 > MAX_FILE_BYTES => {
                Err(PreprocessError::TooLarge { image: name })
            }
            Ok(_) => Ok(Self { name, bytes }),
            Err(reason) => Err(PreprocessError::Read {
                image: name,
                reason,
            }),
        }
    }
}

/// What is wrong with an image, before it has a name.
#[derive(Debug)]
enum Problem {
    TooLarge,
    Damaged(String),
    /// A kind that is not decoded, with its article.
    Kind(String),
}

impl Problem {
    fn of(self, image: &str) -> PreprocessError {
        let image = image.to_owned();
        match self {
            Self::TooLarge => PreprocessError::TooLarge { image },
            Self::Damaged(reason) => PreprocessError::Damaged { image, reason },
            Self::Kind(kind) => PreprocessError::Kind { image, kind },
        }
    }
}

impl From<ImageError> for Problem {
    fn from(error: ImageError) -> Self {
        match error {
            ImageError::Limits(_) => Self::TooLarge,
            other => Self::Damaged(other.to_string()),
        }
    }
}

/// Decodes an image in memory that messages call by this name; a JPEG no larger than is wanted.
pub(crate) fn decode_as(
    bytes: &[u8],
    name: &str,
    wanted: Option<&Preprocessor>,
) -> Result<Decoded, PreprocessError> {
    let decoded = match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => jpeg::complete(bytes).and_then(|bytes| {
            let dividing = wanted.filter(|wanted| wanted.divides());
            match dividing.and_then(|wanted| jpeg::reduced(&bytes, wanted)) {
                Some(decoded) => Ok(decoded),
                None => through_image(&bytes, ImageFormat::Jpeg),
            }
        }),
        Ok(ImageFormat::Tiff) => tiff::decode(bytes)
            .unwrap_or_else(|| through_image(bytes, ImageFormat::Tiff))
            .map(upright),
        Ok(ImageFormat::Gif) => gif::decode(bytes).map(Decoded::from),
        Ok(format) if format.reading_enabled() => through_image(bytes, format),
        other => {
            let known = other.ok().map(|format| format.to_mime_type());
            return Err(PreprocessError::Format {
                image: name.to_owned(),
                found: known.unwrap_or_else(|| content(bytes)).to_owned(),
            });
        }
    };
    decoded.map_err(|problem| problem.of(name))
}

/// Decodes by the `image` crate.
fn through_image(bytes: &[u8], format: ImageFormat) -> Result<Decoded, Problem> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits());
    let mut decoder = reader.into_decoder()?;
    let mut left = limits();
    left.reserve(decoder.total_bytes())?;
    decoder.set_limits(left)?;
    let orientation = orientation(&mut decoder);
    let image = DynamicImage::from_decoder(decoder)?;
    Ok(Decoded { image, orientation })
}

/// How a camera was held. Metadata that cannot be read are no reason to refuse the pixels.
fn orientation(decoder: &mut impl ImageDecoder) -> Orientation {
    let found = decoder.orientation().ok();
    found
        .and_then(|orientation| Orientation::from_exif(orientation.to_exif().into()))
        .unwrap_or_default()
}

/// Turns the pixels of a TIFF file, as Pillow does when it reads one: elsewhere the tag is left to
/// `ImageOps.exif_transpose`.
fn upright(mut decoded: Decoded) -> Decoded {
    let tag = decoded.orientation.exif() as u8;
    if let Some(orientation) = image::metadata::Orientation::from_exif(tag) {
        decoded.image.apply_orientation(orientation);
    }
    Decoded::from(decoded.image)
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    limits
}

/// Checks the size of an image that needs this many bytes for a pixel.
fn check_size(width: u32, height: u32, bytes_per_pixel: u64) -> Result<(), Problem> {
    if width == 0 || height == 0 {
        return Err(Problem::Damaged("the image has no pixels".to_owned()));
    }
    let bytes = u64::from(width) * u64::from(height) * bytes_per_pixel;
    if width > MAX_SIDE || height > MAX_SIDE || bytes > MAX_DECODED_BYTES {
        return Err(Problem::TooLarge);
    }
    Ok(())
}

/// Beginnings of content that people have among their images, from a place in the file on.
const CONTENT: [(usize, &[u8], &str); 20] = [
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypheix", "image/heic"),
    (4, b"ftyphevc", "image/heic"),
    (4, b"ftypmif1", "image/heif"),
    (4, b"ftypmsf1", "image/heif"),
    (4, b"ftypavis", "image/avif"),
    (4, b"ftyp", "a video"),
    (0, b"\xFF\x0A", "image/jxl"),
    (0, b"\0\0\0\x0CJXL ", "image/jxl"),
    (0, b"\0\0\0\x0CjP  ", "image/jp2"),
    (0, b"\xFF\x4F\xFF\x51", "image/jp2"),
    (0, b"8BPS", "image/vnd.adobe.photoshop"),
    (0, b"II+\0", "BigTIFF"),
    (0, b"MM\0+", "BigTIFF"),
    (128, b"DICM", "application/dicom"),
    (0, b"%PDF", "application/pdf"),
    (0, b"<svg", "image/svg+xml"),
    (0, b"<!DOCTYPE html", "an HTML page"),
    (0, b"<html", "an HTML page"),
    (
        0,
        b"version https://git-lfs",
        "a pointer of Git LFS in place of the file",
    ),
];

/// What content is that no decoder knows.
fn content(bytes: &[u8]) -> &'static str {
    if bytes.is_empty() {
        return "an empty file";
    }
    let begins = |&&(at, start, _): &&(usize, &[u8], &str)| {
        bytes
            .get(at..at + start.len())
            .is_some_and(|found| found.eq_ignore_ascii_case(start))
    };
    CONTENT
        .iter()
        .find(begins)
        .map_or("no known format", |known| known.2)
}

#[cfg(test)]
mod tests {
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
            assert_eq!(
                (image.image.width(), image.image.height()),
                (5, 4),
                "{format:?}"
            );
            assert_eq!(image, decode(&encode(format)).unwrap(), "{format:?}");
        }
    }

    #[test]
    fn the_orientation_of_a_photograph_comes_with_its_pixels() {
        // A little-endian TIFF header and a directory of one entry: Orientation (0x112), one SHORT,
        // 6 for a quarter turn.
        let exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        let plain = encode(ImageFormat::Jpeg);
        let mut turned = plain[..2].to_vec();
        turned.extend([0xFF, 0xE1, 0, exif.len() as u8 + 2]);
        turned.extend(exif);
        turned.extend(&plain[2..]);
        let [plain, turned] = [plain, turned].map(|bytes| decode(&bytes).unwrap());
        assert_eq!(plain.orientation, Orientation::Upright);
        assert_eq!(turned.orientation, Orientation::Clockwise);
        assert_eq!(turned.image, plain.image);
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
            (&b""[..], "an empty file"),
            (b"hello", "no known format"),
            (b"\0\0\0\x1Cftypavif", "image/avif"),
            (b"\0\0\0\x1Cftypheic", "image/heic"),
            (b"<!doctype HTML>", "an HTML page"),
        ] {
            let error = decode(bytes).unwrap_err().to_string();
            let start =
                "the data is not an image kiln can read (PNG, JPEG, BMP, WebP, TIFF, GIF): found ";
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
}
