//! Kinds of TIFF that the `image` crate does not decode as Pillow does: palettes, samples of 2 and 4
//! bits, inks; what nobody decodes is refused by its kind.

use std::io::Cursor;

use image::{DynamicImage, GrayImage, RgbImage};
use tiff::TiffError;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::{PhotometricInterpretation, SampleFormat, Tag};

use super::{Decoded, Problem, check_size};
use crate::error::MAX_DECODED_BYTES;
use crate::orientation::Orientation;

/// Decodes an image of a kind that the `image` crate does not, or says which kind it is; none where
/// that crate is to be asked.
pub(super) fn decode(bytes: &[u8]) -> Option<Result<Decoded, Problem>> {
    // Its own reader says better what is wrong with a damaged file.
    let layout = Layout::read(bytes).ok()?;
    match layout.kind() {
        Kind::Usual => None,
        Kind::Other(kind) => Some(Err(Problem::Kind(kind))),
        Kind::Gray => Some(layout.gray(bytes)),
        Kind::Palette => Some(layout.palette(bytes)),
        Kind::Inks => Some(layout.inks(bytes)),
    }
}

/// How the samples of the first image are stored.
struct Layout {
    width: u32,
    height: u32,
    /// Bits of each sample, of the widest.
    bits: u16,
    format: SampleFormat,
    samples: u16,
    /// Whether the samples of a pixel are together.
    chunky: bool,
    interpretation: Option<PhotometricInterpretation>,
    colors: Vec<u16>,
    orientation: Orientation,
}

/// Who decodes it.
enum Kind {
    /// The `image` crate.
    Usual,
    /// Gray of 2 or 4 bits.
    Gray,
    /// Indices of 1 to 8 bits.
    Palette,
    /// Cyan, magenta, yellow and black of 8 bits.
    Inks,
    /// Nobody; what it is.
    Other(String),
}

impl Layout {
    fn read(bytes: &[u8]) -> Result<Self, TiffError> {
        let mut decoder = decoder(bytes)?;
        let (width, height) = decoder.dimensions()?;
        let bits = decoder.find_tag_unsigned_vec::<u16>(Tag::BitsPerSample)?;
        let formats = decoder.find_tag_unsigned_vec::<u16>(Tag::SampleFormat)?;
        let format = formats.and_then(|formats| formats.first().copied());
        let interpretation = decoder.find_tag_unsigned::<u16>(Tag::PhotometricInterpretation)?;
        let colors = decoder.find_tag_unsigned_vec::<u16>(Tag::ColorMap)?;
        let orientation = decoder.find_tag_unsigned::<u16>(Tag::Orientation)?;
        let planes = decoder.find_tag_unsigned::<u16>(Tag::PlanarConfiguration)?;
        Ok(Self {
            width,
            height,
            bits: bits.and_then(|bits| bits.into_iter().max()).unwrap_or(1),
            format: SampleFormat::from_u16_exhaustive(format.unwrap_or(1)),
            samples: decoder
                .find_tag_unsigned(Tag::SamplesPerPixel)?
                .unwrap_or(1),
            chunky: planes.is_none_or(|planes| planes == 1),
            interpretation: interpretation.and_then(PhotometricInterpretation::from_u16),
            colors: colors.unwrap_or_default(),
            orientation: orientation
                .and_then(Orientation::from_exif)
                .unwrap_or_default(),
        })
    }

    fn kind(&self) -> Kind {
        let bits = self.bits;
        let samples = match self.format {
            SampleFormat::Uint => "",
            SampleFormat::Int => "signed ",
            SampleFormat::IEEEFP => "floating-point ",
            _ => return Kind::Other(format!("a TIFF of {bits}-bit samples of an unknown type")),
        };
        if !samples.is_empty() || !matches!(bits, 1 | 2 | 4 | 8 | 16) {
            return Kind::Other(format!("a TIFF of {bits}-bit {samples}samples"));
        }
        match (self.interpretation, self.samples, bits) {
            (Some(PhotometricInterpretation::RGBPalette), 1, 1..=8) => Kind::Palette,
            (Some(PhotometricInterpretation::RGBPalette), ..) => {
                Kind::Other(format!("a TIFF with a palette of {bits}-bit indices"))
            }
            (Some(PhotometricInterpretation::BlackIsZero), 1, 2 | 4) => Kind::Gray,
            (Some(PhotometricInterpretation::CMYK), 4, 8) if self.chunky => Kind::Inks,
            (_, _, 2 | 4) => Kind::Other(format!("a TIFF of {bits}-bit samples")),
            (Some(PhotometricInterpretation::CIELab | PhotometricInterpretation::IccLab), ..) => {
                Kind::Other("a TIFF in the color space CIE L*a*b*".to_owned())
            }
            (Some(PhotometricInterpretation::TransparencyMask), ..) => {
                Kind::Other("a TIFF of a transparency mask".to_owned())
            }
            _ => Kind::Usual,
        }
    }

    /// Values of 0 to 255 for those of 2 or 4 bits.
    fn gray(&self, bytes: &[u8]) -> Result<Decoded, Problem> {
        let scale = 255 / ((1_u16 << self.bits) - 1) as u8;
        let gray = self.values(bytes)?.into_iter().map(|value| value * scale);
        let image = GrayImage::from_raw(self.width, self.height, gray.collect());
        self.decoded(image.map(DynamicImage::from))
    }

    /// The high bytes of the palette's colors, whose samples have 16 bits: first all red ones, then
    /// green, then blue.
    fn palette(&self, bytes: &[u8]) -> Result<Decoded, Problem> {
        let entries = self.colors.len() / 3;
        let sample = |channel: usize, index: u8| {
            let index = usize::from(index);
            let value = (index < entries).then(|| self.colors[channel * entries + index]);
            (value.unwrap_or(0) >> 8) as u8
        };
        let indices = self.values(&as_gray(bytes)?)?;
        let colors = indices
            .into_iter()
            .flat_map(|index| [0, 1, 2].map(|channel| sample(channel, index)));
        let image = RgbImage::from_raw(self.width, self.height, colors.collect());
        self.decoded(image.map(DynamicImage::from))
    }

    /// The colors of inks, as Pillow's `convert("RGB")` (`cmyk2rgb` in its `Convert.c`), so that the
    /// bytes are the same.
    fn inks(&self, bytes: &[u8]) -> Result<Decoded, Problem> {
        let inks = self.values(bytes)?;
        let (pixels, _) = inks.as_chunks::<4>();
        let color = |&[cyan, magenta, yellow, black]: &[u8; 4]| {
            let light = 255 - u32::from(black);
            [cyan, magenta, yellow].map(|ink| {
                let product = u32::from(ink) * light + 128;
                (light - ((product + (product >> 8)) >> 8)) as u8
            })
        };
        let colors = pixels.iter().flat_map(color).collect();
        let image = RgbImage::from_raw(self.width, self.height, colors);
        self.decoded(image.map(DynamicImage::from))
    }

    /// The values of samples of up to 8 bits, row by row.
    fn values(&self, bytes: &[u8]) -> Result<Vec<u8>, Problem> {
        check_size(self.width, self.height, 4)?;
        let DecodingResult::U8(packed) = decoder(bytes)?.read_image()? else {
            return Err(Problem::Damaged("samples are not as announced".to_owned()));
        };
        let (width, bits) = (self.width as usize, usize::from(self.bits));
        if bits == 8 {
            return Ok(packed);
        }
        let per_byte = 8 / bits;
        let mask = (1_u16 << bits) as u8 - 1;
        let value = |row: &[u8], x: usize| {
            let shift = 8 - bits * (x % per_byte + 1);
            (row[x / per_byte] >> shift) & mask
        };
        let rows = packed.chunks_exact(width.div_ceil(per_byte));
        Ok(rows
            .flat_map(|row| (0..width).map(move |x| value(row, x)))
            .collect())
    }

    fn decoded(&self, image: Option<DynamicImage>) -> Result<Decoded, Problem> {
        let too_few = || Problem::Damaged("the file ends before the image does".to_owned());
        Ok(Decoded {
            image: image.ok_or_else(too_few)?,
            orientation: self.orientation,
        })
    }
}

fn decoder(bytes: &[u8]) -> Result<Decoder<Cursor<&[u8]>>, TiffError> {
    let mut limits = Limits::default();
    limits.decoding_buffer_size = MAX_DECODED_BYTES as usize;
    limits.intermediate_buffer_size = MAX_DECODED_BYTES as usize;
    Ok(Decoder::new(Cursor::new(bytes))?.with_limits(limits))
}

/// Returns a copy of a file whose indices into a palette are called gray, as the decoder hands out no
/// indices: with another value of one tag.
fn as_gray(bytes: &[u8]) -> Result<Vec<u8>, Problem> {
    let big_endian = bytes.starts_with(b"MM");
    let number = |at: usize, length: usize| {
        let bytes = bytes.get(at..at + length)?.iter();
        let add = |sum: usize, &byte: &u8| (sum << 8) | usize::from(byte);
        Some(if big_endian {
            bytes.fold(0, add)
        } else {
            bytes.rev().fold(0, add)
        })
    };
    let find = || {
        let directory = number(4, 4)?;
        let entries = directory + 2..;
        let mut entries = entries.step_by(12).take(number(directory, 2)?);
        let tag = usize::from(Tag::PhotometricInterpretation.to_u16());
        entries.find(|&entry| number(entry, 2) == Some(tag))
    };
    let missing = || Problem::Damaged("the first directory has no interpretation".to_owned());
    let value = find().ok_or_else(missing)? + 8;
    let mut copy = bytes.to_vec();
    let value = copy.get_mut(value..value + 2).ok_or_else(missing)?;
    value.copy_from_slice(if big_endian { &[0, 1] } else { &[1, 0] });
    Ok(copy)
}

impl From<TiffError> for Problem {
    fn from(error: TiffError) -> Self {
        match error {
            TiffError::LimitsExceeded => Self::TooLarge,
            other => Self::Damaged(other.to_string()),
        }
    }
}
