//! From an image file to a model's input, within the server's limit on pixels.

use kiln_inference::Preprocessor;
use kiln_preprocess::EncodedImage;
use kiln_util::thousands;

use super::job::{Failure, Input};

/// Most bytes of a file that counts as small.
const SMALL_FILE: usize = 64 << 10;
/// Most pixels of an image that counts as small.
const SMALL_IMAGE: u64 = 128 * 128;

/// An image of a request, of which a file's header has been read.
#[derive(Debug)]
pub enum Image<'a> {
    /// An image file.
    File {
        /// The file.
        file: EncodedImage<'a>,
        /// Whether the answer is to have the pixels that the model saw.
        keep_pixels: bool,
    },
    /// Prepared values.
    Values(&'a [f32]),
}

impl<'a> Image<'a> {
    /// Reads the header of a file.
    pub fn of(input: &'a Input) -> Self {
        match input {
            Input::Values(values) => Self::Values(values),
            Input::File {
                bytes,
                name,
                keep_pixels,
            } => Self::File {
                file: EncodedImage::new(bytes, name),
                keep_pixels: *keep_pixels,
            },
        }
    }

    /// The same of a file that is known to be prepared in some tenths of a millisecond, by its size and that of the image;
    /// `None` of any other. Headers of large files are not read, which can take long too.
    pub fn small(input: &'a Input) -> Option<Self> {
        if matches!(input, Input::File { bytes, .. } if bytes.len() > SMALL_FILE) {
            return None;
        }
        let image = Self::of(input);
        let is_small = match &image {
            Self::Values(_) => true,
            Self::File { file, .. } => file.pixels().is_some_and(|pixels| pixels <= SMALL_IMAGE),
        };
        is_small.then_some(image)
    }

    /// Writes the model's input to `out`, and returns the pixels that the model sees where they are to be kept.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the image.
    pub fn prepare(
        &self,
        preprocessor: &Preprocessor,
        max_pixels: u64,
        out: &mut [f32],
    ) -> Result<Option<Vec<f32>>, Failure> {
        match self {
            Self::Values(values) if values.len() == out.len() => {
                out.copy_from_slice(values);
                Ok(None)
            }
            Self::Values(values) => Err(Failure::Image(format!(
                "expected {} values for an image, found {}",
                out.len(),
                values.len()
            ))),
            Self::File { file, keep_pixels } => {
                check_size(file, max_pixels)?;
                let prepared = file.decode_then(Some(preprocessor), |pixels| {
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
}

/// Refuses an image whose header announces more pixels than are allowed, before anything is decoded. What has no
/// readable header is left to the decoder, which has limits of its own.
fn check_size(file: &EncodedImage, max_pixels: u64) -> Result<(), Failure> {
    let Some((width, height)) = file
        .size()
        .filter(|_| file.pixels().is_some_and(|pixels| pixels > max_pixels))
    else {
        return Ok(());
    };
    Err(Failure::Image(format!(
        "{} is {width}x{height}: expected at most {} pixels",
        file.name(),
        thousands(max_pixels as usize)
    )))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

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
        let none = Image::of(&input(bytes.clone(), false))
            .prepare(&preprocessor, 63, &mut plain)
            .unwrap();
        let seen = Image::of(&input(bytes, true))
            .prepare(&preprocessor, 63, &mut kept)
            .unwrap();
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
            let input = input(bytes, false);
            let error = Image::of(&input).prepare(&preprocessor, 629_999, &mut [0.0; 4]);
            assert_eq!(
                error.unwrap_err().to_string(),
                "image 1 is 900x700: expected at most 629,999 pixels",
                "{format:?}"
            );
        }
        let gif = EncodedImage::new(b"GIF89a\xff\xff\xff\xff\0\0", "image 1");
        let error = check_size(&gif, 64_000_000).unwrap_err();
        assert!(error.to_string().contains("65535x65535"), "{error}");
    }

    #[test]
    fn small_images_are_told_by_their_headers() {
        let is_small = |width, height| {
            let image = DynamicImage::new_luma8(width, height);
            Image::small(&input(file(&image, ImageFormat::Png), false)).is_some()
        };
        assert!(is_small(128, 128));
        // A file of some hundred bytes.
        assert!(!is_small(129, 128));
        let mut bytes = file(&DynamicImage::new_luma8(8, 8), ImageFormat::Png);
        bytes.resize(SMALL_FILE + 1, 0);
        assert!(Image::small(&input(bytes, false)).is_none());
        assert!(Image::small(&input(b"hello".to_vec(), false)).is_none());
    }

    #[test]
    fn what_is_no_image_is_refused() {
        let preprocessor = Preprocessor::new(Preprocessing::raw(2, 2, Channels::Gray)).unwrap();
        for bytes in [&b""[..], b"hello", b"\x89PNG\r\n\x1a\n"] {
            let input = input(bytes.to_vec(), false);
            let error = Image::of(&input).prepare(&preprocessor, 100, &mut [0.0; 4]);
            assert!(error.unwrap_err().to_string().starts_with("image 1 "));
        }
    }
}
