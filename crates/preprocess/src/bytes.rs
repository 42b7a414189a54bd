//! Resizing in 8 bits, as Pillow does it.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, IntoImageView, PixelType, ResizeAlg, ResizeOptions, Resizer};
use kiln_model::Resize;

use crate::channels::Source;
use crate::geometry::Window;

/// Resizes and crops an image of this height and width to the windows; the samples of a pixel are
/// those of the source.
///
/// Pillow resizes along one axis, rounds and clips, then along the other. What a filter overshoots at
/// the corner of a bright area is clipped by more than ten steps otherwise in the other order, and
/// `fast_image_resize` has an order of its own, so each axis is a call. What is left is its
/// coefficients of 16 bits, of which Pillow has 32: one step.
pub(crate) fn resize(
    source: &Source<'_>,
    [height, width]: [usize; 2],
    [rows, columns]: [Window; 2],
    resize: &Resize,
    filter: FilterType,
) -> Vec<u8> {
    let options = ResizeOptions::new()
        .use_alpha(false)
        .resize_alg(if resize.antialias {
            ResizeAlg::Convolution(filter)
        } else {
            ResizeAlg::Interpolation(filter)
        });
    let kind = match source.channels {
        1 => PixelType::U8,
        2 => PixelType::U8x2,
        3 => PixelType::U8x3,
        _ => PixelType::U8x4,
    };
    let image = ImageRef::new(width as u32, height as u32, &source.pixels, kind)
        .expect("the image was checked to have its size");
    let size = [rows.len, columns.len];
    let (down, across) = (Span::new(height, rows), Span::new(width, columns));
    if (width, columns.of) == (columns.resized, columns.resized)
        || (height, rows.of) == (rows.resized, rows.resized)
    {
        return run(&image, [down, across], size, &options).into_vec();
    }
    let cropped = if height_first([height, width], [rows.resized, columns.resized]) {
        let needed = across.reached(width, columns);
        let short = run(
            &image,
            [down, needed],
            [rows.len, needed.len as usize],
            &options,
        );
        run(
            &short,
            [Span::all(rows.len), across.after(needed)],
            size,
            &options,
        )
    } else {
        let needed = down.reached(height, rows);
        let narrow = run(
            &image,
            [needed, across],
            [needed.len as usize, columns.len],
            &options,
        );
        run(
            &narrow,
            [down.after(needed), Span::all(columns.len)],
            size,
            &options,
        )
    };
    cropped.into_vec()
}

/// Whether Pillow resizes along the height first: where that takes away more than twice as many rows
/// as the other takes columns (`ImagingResample` of Pillow 13; older ones never do).
fn height_first([height, width]: [usize; 2], resized: [usize; 2]) -> bool {
    let rows = height as i64 - resized[0] as i64;
    let columns = width as i64 - resized[1] as i64;
    rows > 0 && rows > 2 * columns
}

/// Part of a side of the source, in its pixels.
#[derive(Clone, Copy)]
struct Span {
    start: f64,
    len: f64,
}

impl Span {
    /// What becomes the window, of a side of this length.
    fn new(side: usize, window: Window) -> Self {
        let scale = window.of as f64 / window.resized as f64;
        Self {
            start: window.from as f64 + window.skip as f64 * scale,
            len: window.len as f64 * scale,
        }
        .within(side as f64)
    }

    /// All of a side.
    fn all(side: usize) -> Self {
        Self {
            start: 0.0,
            len: side as f64,
        }
    }

    /// The whole pixels of a side that a filter reaches from here: three, or as many times more as it
    /// shrinks.
    fn reached(self, side: usize, window: Window) -> Self {
        let reach = (3.0 * (window.of as f64 / window.resized as f64).max(1.0)).ceil() + 1.0;
        let start = (self.start - reach).floor().max(0.0);
        let end = (self.start + self.len + reach).ceil().min(side as f64);
        Self {
            start,
            len: end - start,
        }
    }

    /// The same in an image that begins with this part.
    fn after(self, part: Self) -> Self {
        Self {
            start: self.start - part.start,
            ..self
        }
        .within(part.len)
    }

    /// The same without what rounding puts beyond the end.
    fn within(mut self, side: f64) -> Self {
        while self.start + self.len > side {
            self.len = self.len.next_down();
        }
        self
    }
}

/// Makes an image of this height and width of a part of another.
fn run(
    image: &impl IntoImageView,
    [down, across]: [Span; 2],
    [height, width]: [usize; 2],
    options: &ResizeOptions,
) -> Image<'static> {
    let kind = image.pixel_type().expect("all pixels have a type");
    let mut out = Image::new(width as u32, height as u32, kind);
    let options = options.crop(across.start, down.start, across.len, down.len);
    Resizer::new()
        .resize(image, &mut out, &options)
        .expect("the part is within the image");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_pillows() {
        // Which of both orders `Image.resize` of Pillow 13 gives the bytes of.
        for (size, resized, expected) in [
            ([50, 33], [13, 10], false),
            ([50, 33], [12, 18], true),
            ([78, 34], [30, 13], true),
            ([63, 78], [37, 61], false),
            ([9, 11], [12, 18], false),
            ([20, 11], [12, 18], true),
        ] {
            assert_eq!(
                height_first(size, resized),
                expected,
                "{size:?} {resized:?}"
            );
        }
    }
}
