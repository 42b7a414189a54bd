//! From an image file to a model's input, within the server's limit on pixels.

use std::io::Cursor;

use image::ImageReader;
use kiln_inference::Preprocessor;
use kiln_preprocess::Pixels;
use kiln_util::thousands;

use super::job::{Failure, Input};

/// Most bytes of a file that counts as small.
const SMALL_FILE: usize = 64 << 10;
/// Most pixels of an image that counts as small.
const SMALL_IMAGE: u64 = 128 * 128;

/// Writes the model's input to `out`, and returns the pixels that the model sees where they are to be kept.
///
/// # Errors
///
/// Returns what is wrong with the image.
pub fn prepare(
    input: &Input,
    preprocessor: &Preprocessor,
    max_pixels: u64,
    out: &mut [f32],
) -> Result<Option<Vec<f32>>, Failure> {
    match input {
        Input::Values(values) if values.len() == out.len() => {
            out.copy_from_slice(values);
            Ok(None)
        }
        Input::Values(values) => Err(Failure::Image(format!(
            "expected {} values for an image, found {}",
            out.len(),
            values.len()
        ))),
        Input::File {
            bytes,
            name,
            keep_pixels,
        } => {
            check_size(bytes, name, max_pixels)?;
            let prepared = Pixels::decode_then(bytes, name, Some(preprocessor), |pixels| {
                if !keep_pixels {
                    preprocessor.pixels(pixels, out)?;
                    return Ok(None);
                }
                let mut seen = vec![0.0; out.len()];
                preprocessor.resized(preprocessor.upright(pixels).as_raw(), &mut seen)?;
                preprocessor.finish(&seen, None, out)?;
                Ok(Some(seen))
            });
            prepared.map_err(|error| Failure::Image(error.to_string()))
        }
    }
}

/// Refuses an image whose header announces more pixels than are allowed, before anything is decoded. What has no
/// readable header is left to the decoder, which has limits of its own.
fn check_size(bytes: &[u8], name: &str, max_pixels: u64) -> Result<(), Failure> {
    let Some((width, height)) = size(bytes) else {
        return Ok(());
    };
    if u64::from(width) * u64::from(height) <= max_pixels {
        return Ok(());
    }
    Err(Failure::Image(format!(
        "{name} is {width}x{height}: expected at most {} pixels",
        thousands(max_pixels as usize)
    )))
}

/// Returns whether an image is known to be prepared in some tenths of a millisecond: by the size in its header, and that
/// of its file.
pub fn is_small(input: &Input) -> bool {
    match input {
        Input::Values(_) => true,
        Input::File { bytes, .. } => {
            bytes.len() <= SMALL_FILE
                && size(bytes).is_some_and(|(width, height)| {
                    u64::from(width) * u64::from(height) <= SMALL_IMAGE
                })
        }
    }
}

/// Width and height by the header.
fn size(bytes: &[u8]) -> Option<(u32, u32)> {
    // The screen of a GIF, which holds all of its pictures.
    if let [b'G', b'I', b'F', _, _, _, w0, w1, h0, h1, ..] = *bytes {
        let side = |bytes| u32::from(u16::from_le_bytes(bytes));
        return Some((side([w0, w1]), side([h0, h1])));
    }
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    reader.ok()?.into_dimensions().ok()
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, ImageFormat};
    use kiln_inference::{Channels, Preprocessing};

    use super::*;

    fn file(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn input(bytes: Vec<u8>, keep_pixels: bool) -> Input {
        Input::File {
            bytes: bytes.into(),
            name: "image 1".into(),
            keep_pixels,
        }
    }

    #[test]
    fn pixels_that_are_kept_change_nothing() {
        let preprocessor = Preprocessor::new(Preprocessing::unit(5, 4, Channels::Rgb)).unwrap();
        let mut image = image::RgbImage::new(9, 7);
        for (x, y, pixel) in image.enumerate_pixels_mut() {
            *pixel = image::Rgb([(x * 20) as u8, (y * 30) as u8, 77]);
        }
        let bytes = file(&image.into(), ImageFormat::Png);
        let [mut plain, mut kept] = [vec![0.0; 60], vec![0.0; 60]];
        let none = prepare(&input(bytes.clone(), false), &preprocessor, 63, &mut plain).unwrap();
        let seen = prepare(&input(bytes, true), &preprocessor, 63, &mut kept).unwrap();
        assert_eq!((none, &plain), (None, &kept));
        assert!(seen.unwrap().iter().any(|value| *value > 1.0));
    }

    #[test]
    fn an_image_of_too_many_pixels_is_refused_by_its_header() {
        let preprocessor = Preprocessor::new(Preprocessing::raw(2, 2, Channels::Gray)).unwrap();
        let image = DynamicImage::new_luma8(900, 700);
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Bmp] {
            let mut bytes = file(&image, format);
            // What is left of the file could not be decoded.
            bytes.truncate(bytes.len() - 10);
            let error = prepare(&input(bytes, false), &preprocessor, 629_999, &mut [0.0; 4]);
            assert_eq!(
                error.unwrap_err().to_string(),
                "image 1 is 900x700: expected at most 629,999 pixels",
                "{format:?}"
            );
        }
        let error = check_size(b"GIF89a\xff\xff\xff\xff\0\0", "image 1", 64_000_000).unwrap_err();
        assert!(error.to_string().contains("65535x65535"), "{error}");
    }

    #[test]
    fn small_images_are_told_by_their_headers() {
        let is_small = |width, height| {
            let image = DynamicImage::new_luma8(width, height);
            super::is_small(&input(file(&image, ImageFormat::Png), false))
        };
        assert!(is_small(128, 128));
        // A file of some hundred bytes.
        assert!(!is_small(129, 128));
        let mut bytes = file(&DynamicImage::new_luma8(8, 8), ImageFormat::Png);
        bytes.resize(SMALL_FILE + 1, 0);
        assert!(!super::is_small(&input(bytes, false)));
        assert!(!super::is_small(&input(b"hello".to_vec(), false)));
    }

    #[test]
    fn what_is_no_image_is_refused() {
        let preprocessor = Preprocessor::new(Preprocessing::raw(2, 2, Channels::Gray)).unwrap();
        for bytes in [&b""[..], b"hello", b"\x89PNG\r\n\x1a\n"] {
            let error = prepare(
                &input(bytes.to_vec(), false),
                &preprocessor,
                100,
                &mut [0.0; 4],
            );
            assert!(error.unwrap_err().to_string().starts_with("image 1 "));
        }
    }
}
