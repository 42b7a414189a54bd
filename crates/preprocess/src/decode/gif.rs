//! The first frame of a GIF, as Pillow's `convert("RGB")` has it.

use std::num::NonZero;

use gif::{ColorOutput, DecodeOptions, DecodingError, MemoryLimit};
use image::{DynamicImage, RgbImage};

use super::{Problem, check_size};
use crate::error::MAX_DECODED_BYTES;

/// One byte for the index and three for the color.
const BYTES_PER_PIXEL: u64 = 4;

/// Decodes the first frame. A transparent pixel has the color that the palette has for it, as alpha
/// is dropped of other formats. Around a frame that is smaller than the picture is the transparent
/// color, or the first; a frame that reaches beyond the picture makes it larger.
pub(super) fn decode(bytes: &[u8]) -> Result<DynamicImage, Problem> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    options.set_memory_limit(MemoryLimit::Bytes(
        NonZero::new(MAX_DECODED_BYTES).expect("not zero"),
    ));
    let mut decoder = options.read_info(bytes)?;
    let global = decoder.global_palette().map(<[u8]>::to_vec);
    let screen = [decoder.width(), decoder.height()].map(u32::from);
    let Some(info) = decoder.next_frame_info()? else {
        return Err(Problem::Damaged("the file has no frame".to_owned()));
    };
    let [left, top, width, height] = [info.left, info.top, info.width, info.height].map(u32::from);
    let size = [screen[0].max(left + width), screen[1].max(top + height)];
    check_size(size[0], size[1], BYTES_PER_PIXEL)?;
    check_size(width, height, BYTES_PER_PIXEL)?;
    let transparent = info.transparent;
    let palette = info.palette.clone().or(global).unwrap_or_default();
    let mut indices = vec![0; decoder.buffer_size()];
    decoder.read_into_buffer(&mut indices)?;

    let color = |index: u8| {
        let at = usize::from(index) * 3;
        let color = palette.get(at..).and_then(<[u8]>::first_chunk::<3>);
        image::Rgb(color.copied().unwrap_or_default())
    };
    let mut picture = RgbImage::from_pixel(size[0], size[1], color(transparent.unwrap_or(0)));
    for (y, row) in indices.chunks_exact(width as usize).enumerate() {
        for (x, &index) in row.iter().enumerate() {
            picture.put_pixel(left + x as u32, top + y as u32, color(index));
        }
    }
    Ok(picture.into())
}

impl From<DecodingError> for Problem {
    fn from(error: DecodingError) -> Self {
        match error {
            DecodingError::MemoryLimit | DecodingError::OutOfMemory => Self::TooLarge,
            other => Self::Damaged(other.to_string()),
        }
    }
}
