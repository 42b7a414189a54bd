//! A preprocessing record, ready to be carried out.

use std::fmt;

use fast_image_resize::FilterType;
use image::DynamicImage;
use kiln_model::{Arithmetic, Filter, Fit, Preprocessing, PreprocessingError, Resize};

use crate::bytes;
use crate::channels::{Source, blend, samples};
use crate::error::PreprocessError;
use crate::geometry::{Window, windows};
use crate::normalize::Normalize;
use crate::orientation::Orientation;
use crate::pixels::{Pixels, RawImage, eight_bit};
use crate::reduce::{divisor, jpeg_divisor, reduce};
use crate::resize::{Axis, blend_rows};
use crate::transform::Transform;

/// Turns images into the `[channels, height, width]` f32 tensor that a record asks for.
///
/// It keeps no state between images, so threads can share one.
pub struct Preprocessor {
    record: Preprocessing,
    /// One per channel of the record, in its order.
    normalize: Vec<Normalize>,
    /// As many that leave pixel values as they are.
    identity: Vec<Normalize>,
}

impl Preprocessor {
    /// A preprocessor for a record, which is checked first.
    pub fn new(record: Preprocessing) -> Result<Self, PreprocessingError> {
        record.check()?;
        let raw = Preprocessing::raw(record.height, record.width, record.channels);
        Ok(Self {
            normalize: Normalize::channels(&record),
            identity: Normalize::channels(&raw),
            record,
        })
    }

    /// The record.
    pub fn record(&self) -> &Preprocessing {
        &self.record
    }

    /// Number of values of one image.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a checked record has at least one value"
    )]
    pub fn len(&self) -> usize {
        self.record.len()
    }

    /// The tensor's shape for one image: `[channels, height, width]`.
    pub fn shape(&self) -> [usize; 3] {
        self.record.shape()
    }

    /// Writes the tensor of a decoded image, which is upright, to `out`, which has [`len`](Self::len) values.
    pub fn image(&self, image: &DynamicImage, out: &mut [f32]) -> Result<(), PreprocessError> {
        let (samples, channels) = eight_bit(image)?;
        self.raw(
            RawImage {
                pixels: &samples,
                height: image.height(),
                width: image.width(),
                channels,
            },
            out,
        )
    }

    /// Writes the tensor of decoded pixels to `out`, which has [`len`](Self::len) values. They are
    /// [turned upright](Self::upright) first.
    pub fn pixels(&self, pixels: Pixels, out: &mut [f32]) -> Result<(), PreprocessError> {
        self.raw(self.upright(pixels).as_raw(), out)
    }

    /// Whether pixels that are stored in this orientation are to be turned: they are not upright, and the
    /// record says so.
    pub fn turns(&self, orientation: Orientation) -> bool {
        self.record.orientation && orientation != Orientation::Upright
    }

    /// Whether large images are divided before they are resized, so that what is decoded for this preprocessor is for it
    /// alone.
    pub fn divides(&self) -> bool {
        self.record.resize.reducing_gap > 0
    }

    /// Whether a JPEG with these pixels, which were decoded whole, is decoded at a smaller size for this
    /// preprocessor, to slightly other pixels.
    pub fn decodes_less(&self, whole: &Pixels) -> bool {
        let RawImage { height, width, .. } = whole.as_raw();
        jpeg_divisor(self.divisor([height, width], whole.orientation())) > 1
    }

    /// Returns decoded pixels turned upright, where the record says so; else as they are. Those that are turned are
    /// divided before, by the record's `reducing_gap`: from the corner where their file begins, as a decoder does it.
    pub fn upright(&self, pixels: Pixels) -> Pixels {
        let orientation = pixels.orientation();
        if !self.turns(orientation) {
            return pixels;
        }
        let image = pixels.as_raw();
        let by = self.divisor([image.height, image.width], orientation);
        match self.reduced(&image, by) {
            Some(reduced) => reduced.stored_in(orientation).upright(),
            None => pixels.upright(),
        }
    }

    /// Writes the tensor of raw pixels, which are upright, to `out`, which has [`len`](Self::len)
    /// values.
    pub fn raw(&self, image: RawImage<'_>, out: &mut [f32]) -> Result<(), PreprocessError> {
        self.write(&image, &self.normalize, out)
    }

    /// Writes the tensor of raw pixels that are transformed, at the tensor's size and before they
    /// are normalized (all but what is cropped before and erased after that), to `out`, which has [`len`](Self::len) values.
    pub fn transformed(
        &self,
        image: RawImage<'_>,
        transform: &Transform,
        out: &mut [f32],
    ) -> Result<(), PreprocessError> {
        let mut pixels = vec![0.0; out.len()];
        match &transform.crop {
            Some(crop) => {
                image.check()?;
                let [rows, columns] = crop.part([image.height, image.width].map(|it| it as usize));
                let part = image.part(rows, columns);
                let tensor = [self.record.height, self.record.width];
                // A part is stretched, whatever becomes of whole images.
                let resize = Resize {
                    fit: Fit::Stretch,
                    ..self.record.resize
                };
                let size = [rows[1] as u32, columns[1] as u32];
                let reduced = self.reduced(&part.as_raw(), divisor(size, tensor, &resize));
                let part = reduced.as_ref().unwrap_or(&part).as_raw();
                let windows = [
                    Window::stretched(part.height as usize, tensor[0] as usize),
                    Window::stretched(part.width as usize, tensor[1] as usize),
                ];
                self.write_windows(&part, windows, &self.identity, &mut pixels)?;
            }
            None => self.resized(image, &mut pixels)?,
        }
        self.finish(&pixels, Some(transform), out)
    }

    /// Writes raw pixels at the tensor's size and with its channels, values of 0 to 255 in the
    /// tensor's order, to `out`, which has [`len`](Self::len) values: what is left is to
    /// [`finish`](Self::finish) them.
    pub fn resized(&self, image: RawImage<'_>, out: &mut [f32]) -> Result<(), PreprocessError> {
        self.write(&image, &self.identity, out)
    }

    /// Writes the tensor of [`resized`](Self::resized) pixels, transformed if they are to be, to
    /// `out`. Both have [`len`](Self::len) values. The result is that of [`raw`](Self::raw) or
    /// [`transformed`](Self::transformed) to the last bit, but for the transform's crop, which is of pixels
    /// that are not resized yet.
    pub fn finish(
        &self,
        resized: &[f32],
        transform: Option<&Transform>,
        out: &mut [f32],
    ) -> Result<(), PreprocessError> {
        for found in [resized.len(), out.len()] {
            if found != self.len() {
                return Err(PreprocessError::Output {
                    expected: self.len(),
                    found,
                });
            }
        }
        let [_, height, width] = self.shape();
        match transform {
            Some(transform) => {
                transform.apply(resized, [height, width], self.record.channels, out);
            }
            None => out.copy_from_slice(resized),
        }
        for (plane, normalize) in out.chunks_exact_mut(height * width).zip(&self.normalize) {
            for value in plane {
                *value = normalize.value(*value);
            }
        }
        if let Some(erasing) = transform.and_then(|transform| transform.erasing) {
            erasing.apply(out, [height, width]);
        }
        Ok(())
    }

    /// By what an image that is stored with this height and width is divided before it is resized.
    pub(crate) fn divisor(&self, size: [u32; 2], orientation: Orientation) -> u32 {
        let size = if self.turns(orientation) {
            orientation.upright_size(size)
        } else {
            size
        };
        divisor(size, self.record.resized_size(), &self.record.resize)
    }

    /// An image that was checked, divided; none where nothing is divided. What is transparent is put on the
    /// background first: a mean of colors knows nothing of it.
    fn reduced(&self, image: &RawImage<'_>, by: u32) -> Option<Pixels> {
        if by == 1 {
            return None;
        }
        Some(match self.record.background.filter(|_| image.has_alpha()) {
            Some(background) => {
                let image = RawImage {
                    pixels: &blend(image, background),
                    channels: 3,
                    ..*image
                };
                reduce(&image, by)
            }
            None => reduce(image, by),
        })
    }

    /// Writes the tensor with these normalizations, one per channel.
    fn write(
        &self,
        image: &RawImage<'_>,
        normalize: &[Normalize],
        out: &mut [f32],
    ) -> Result<(), PreprocessError> {
        image.check()?;
        let by = self.divisor([image.height, image.width], Orientation::Upright);
        let reduced = self.reduced(image, by);
        let image = reduced.as_ref().map_or(*image, Pixels::as_raw);
        let windows = windows(&self.record, [image.height, image.width]);
        self.write_windows(&image, windows, normalize, out)
    }

    /// Writes what the windows show of an image that was checked.
    fn write_windows(
        &self,
        image: &RawImage<'_>,
        windows: [Window; 2],
        normalize: &[Normalize],
        out: &mut [f32],
    ) -> Result<(), PreprocessError> {
        if out.len() != self.len() {
            return Err(PreprocessError::Output {
                expected: self.len(),
                found: out.len(),
            });
        }
        let record = &self.record;
        let source = Source::new(image, record.channels, record.background);
        self.pad(windows, normalize, out);
        let size = [image.height, image.width].map(|side| side as usize);
        if windows.iter().all(|window| window.of == window.resized) {
            let [row, column] = windows.map(|window| window.from + window.skip);
            let offset = row * size[1] + column;
            let pixels = &source.pixels[offset * source.channels..];
            self.copy(&source, pixels, size[1], windows, normalize, out);
            return Ok(());
        }
        match pillow_filter(record.resize.arithmetic, record.resize.filter) {
            Some(filter) => {
                let pixels = bytes::resize(&source, size, windows, &record.resize, filter);
                let width = windows[1].len;
                self.copy(&source, &pixels, width, windows, normalize, out);
            }
            None => self.resize(&source, size[1], windows, normalize, out),
        }
        Ok(())
    }

    /// The plane of each channel in `out`, with its normalization and the offset of its sample in a
    /// source pixel.
    fn planes<'a>(
        &'a self,
        source: &Source<'_>,
        normalize: &'a [Normalize],
        out: &'a mut [f32],
    ) -> impl Iterator<Item = (&'a mut [f32], &'a Normalize, usize)> {
        let [_, height, width] = self.shape();
        out.chunks_exact_mut(height * width)
            .zip(normalize)
            .zip(source.order)
            .map(|((p, n), o)| (p, n, o))
    }

    /// Fills the tensor with the color of padding where the image leaves room.
    fn pad(&self, [rows, columns]: [Window; 2], normalize: &[Normalize], out: &mut [f32]) {
        let [_, height, width] = self.shape();
        if !rows.leaves_room(height) && !columns.leaves_room(width) {
            return;
        }
        let color = samples(self.record.resize.padding, self.record.channels);
        let planes = out.chunks_exact_mut(height * width);
        for ((plane, normalize), sample) in planes.zip(normalize).zip(color) {
            plane.fill(normalize.byte(sample));
        }
    }

    /// Copies pixels, with the channels of the source and in rows of `width`, into the windows.
    fn copy(
        &self,
        source: &Source<'_>,
        pixels: &[u8],
        width: usize,
        [rows, columns]: [Window; 2],
        normalize: &[Normalize],
        out: &mut [f32],
    ) {
        let [_, _, row_length] = self.shape();
        for (plane, normalize, offset) in self.planes(source, normalize, out) {
            let plane = plane[rows.start * row_length..].chunks_exact_mut(row_length);
            let pixels = pixels.chunks(width * source.channels);
            for (values, pixels) in plane.zip(pixels).take(rows.len) {
                let values = values[columns.start..][..columns.len].iter_mut();
                for (value, pixel) in values.zip(pixels.chunks_exact(source.channels)) {
                    *value = normalize.byte(pixel[offset]);
                }
            }
        }
    }

    /// Each output row is blended from source rows first, all channels together, then resized along
    /// its width.
    fn resize(
        &self,
        source: &Source<'_>,
        width: usize,
        [down, across]: [Window; 2],
        normalize: &[Normalize],
        out: &mut [f32],
    ) {
        let [_, _, row_length] = self.shape();
        let rows = Axis::new(down, &self.record.resize);
        let columns = Axis::new(across, &self.record.resize);
        let mut row = vec![0.0; width * source.channels];
        for (y, (first, weights)) in (down.start..).zip(rows.outputs()) {
            blend_rows(&source.pixels, down.from + first, weights, &mut row);
            for (plane, normalize, offset) in self.planes(source, normalize, out) {
                let values = &mut plane[y * row_length + across.start..][..across.len];
                for (value, (first, weights)) in values.iter_mut().zip(columns.outputs()) {
                    let pixels = row[(across.from + first) * source.channels..]
                        .chunks_exact(source.channels);
                    *value = normalize.value(
                        pixels
                            .zip(weights)
                            .map(|(pixel, weight)| weight * pixel[offset])
                            .sum(),
                    );
                }
            }
        }
    }
}

/// The filter by which 8 bits are resized; none where floats are, or pixels only picked.
fn pillow_filter(arithmetic: Arithmetic, filter: Filter) -> Option<FilterType> {
    match (arithmetic, filter) {
        (Arithmetic::TensorFlow | Arithmetic::Torch, _) | (_, Filter::Nearest) => None,
        (Arithmetic::Pillow, Filter::Bilinear) => Some(FilterType::Bilinear),
        (Arithmetic::Pillow, Filter::Bicubic) => Some(FilterType::CatmullRom),
        (Arithmetic::Pillow, Filter::Lanczos) => Some(FilterType::Lanczos3),
    }
}

impl fmt::Debug for Preprocessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Preprocessor").field(&self.record).finish()
    }
}

#[cfg(test)]
mod tests {
    use kiln_model::Channels;

    use super::*;

    fn run(record: Preprocessing, pixels: &[u8], [height, width, channels]: [u32; 3]) -> Vec<f32> {
        let preprocessor = Preprocessor::new(record).unwrap();
        let mut out = vec![f32::NAN; preprocessor.len()];
        preprocessor
            .raw(
                RawImage {
                    pixels,
                    height,
                    width,
                    channels,
                },
                &mut out,
            )
            .unwrap();
        out
    }

    #[test]
    fn unit_scale_is_one_product() {
        let pixels: Vec<u8> = (0..=255).collect();
        let out = run(
            Preprocessing::unit(16, 16, Channels::Gray),
            &pixels,
            [16, 16, 1],
        );
        for (value, &p) in out.iter().zip(&pixels) {
            assert_eq!(value.to_bits(), (f32::from(p) * (1.0 / 255.0)).to_bits());
        }
    }

    #[test]
    fn channels_are_planes_in_the_order_asked_for() {
        let pixels = [1, 2, 3, 4, 5, 6];
        let size = [1, 2, 3];
        assert_eq!(
            run(Preprocessing::raw(1, 2, Channels::Rgb), &pixels, size),
            [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]
        );
        assert_eq!(
            run(Preprocessing::raw(1, 2, Channels::Bgr), &pixels, size),
            [3.0, 6.0, 2.0, 5.0, 1.0, 4.0]
        );
    }

    #[test]
    fn means_and_deviations_follow_the_order_of_the_record() {
        let record = Preprocessing {
            scale: 0.5,
            mean: vec![1.0, 2.0, 3.0],
            std: vec![1.0, 2.0, 4.0],
            ..Preprocessing::raw(1, 1, Channels::Bgr)
        };
        assert_eq!(run(record, &[10, 20, 30], [1, 1, 3]), [14.0, 4.0, 0.5]);
    }

    #[test]
    fn gray_is_repeated_and_alpha_dropped() {
        assert_eq!(
            run(Preprocessing::raw(1, 1, Channels::Rgb), &[9], [1, 1, 1]),
            [9.0; 3]
        );
        assert_eq!(
            run(Preprocessing::raw(1, 1, Channels::Bgr), &[9, 0], [1, 1, 2]),
            [9.0; 3]
        );
        assert_eq!(
            run(Preprocessing::raw(1, 1, Channels::Gray), &[9, 0], [1, 1, 2]),
            [9.0]
        );
        assert_eq!(
            run(
                Preprocessing::raw(1, 1, Channels::Rgb),
                &[7, 8, 9, 0],
                [1, 1, 4]
            ),
            [7.0, 8.0, 9.0]
        );
    }

    #[test]
    fn resizing_treats_channels_alike() {
        let [r, g, b] = [[10, 20, 30, 40], [50, 60, 70, 80], [90, 0, 255, 3]];
        let mixed: Vec<u8> = (0..4).flat_map(|i| [r[i], g[i], b[i], 255]).collect();
        let out = run(Preprocessing::raw(3, 5, Channels::Rgb), &mixed, [2, 2, 4]);
        for (plane, pixels) in out.chunks(15).zip([r, g, b]) {
            assert_eq!(
                plane,
                run(Preprocessing::raw(3, 5, Channels::Gray), &pixels, [2, 2, 1])
            );
        }
    }

    #[test]
    fn bad_records_and_outputs_are_refused() {
        assert!(Preprocessor::new(Preprocessing::raw(0, 1, Channels::Gray)).is_err());
        let preprocessor = Preprocessor::new(Preprocessing::raw(1, 1, Channels::Rgb)).unwrap();
        let image = RawImage {
            pixels: &[0],
            height: 1,
            width: 1,
            channels: 1,
        };
        let error = preprocessor
            .raw(image, &mut [0.0; 2])
            .unwrap_err()
            .to_string();
        assert!(error.contains("room for 2 values: expected 3"), "{error}");
    }
}
