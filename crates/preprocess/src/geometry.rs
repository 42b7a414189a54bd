//! Sizes: what an image is resized to, and which part of that is the model's input.

use std::ops::Range;

use kiln_model::{Arithmetic, CropRounding, Fit, Preprocessing, Resize};

/// Where the resized image and the tensor overlap along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// First pixel of the image that is resized.
    pub(crate) from: usize,
    /// Number of pixels of the image that are resized, at least 1.
    pub(crate) of: usize,
    /// Length of the resized image.
    pub(crate) resized: usize,
    /// Its first pixel in the tensor.
    pub(crate) skip: usize,
    /// Where in the tensor that is.
    pub(crate) start: usize,
    /// Number of pixels in the tensor.
    pub(crate) len: usize,
}

impl Window {
    /// All of an image, stretched to the tensor.
    pub(crate) fn stretched(of: usize, tensor: usize) -> Self {
        Self {
            from: 0,
            of,
            resized: tensor,
            skip: 0,
            start: 0,
            len: tensor,
        }
    }

    /// The center of the resized image, or all of it in the center of the tensor: torchvision's
    /// `center_crop`, which timm's `center_crop_or_pad` follows. Of an odd number of pixels to crop,
    /// half is rounded to the even neighbor, as Python does, or down; of those to pad, the end gets
    /// one more.
    fn new([from, of]: [usize; 2], resized: usize, tensor: usize, rounding: CropRounding) -> Self {
        if resized < tensor {
            return Self {
                from,
                of,
                resized,
                skip: 0,
                start: (tensor - resized) / 2,
                len: resized,
            };
        }
        let twice = resized - tensor;
        let half = twice / 2;
        let up = match rounding {
            CropRounding::Even => twice % 2 == 1 && half % 2 == 1,
            CropRounding::Down => false,
        };
        Self {
            from,
            of,
            resized,
            skip: half + usize::from(up),
            start: 0,
            len: tensor,
        }
    }

    /// The pixels of the resized image that are in the tensor.
    pub(crate) fn outputs(&self) -> Range<usize> {
        self.skip..self.skip + self.len
    }

    /// Whether the window leaves parts of the tensor empty.
    pub(crate) fn leaves_room(&self, tensor: usize) -> bool {
        self.len < tensor
    }
}

/// A part of an image that is resized in place of all of it, decided on before the image's size is known: as
/// torchvision's `RandomResizedCrop` chooses it.
#[derive(Debug, Clone, PartialEq)]
pub struct Crop {
    /// Shares of the image's area, 0 to 1, and ratios of the width to the height, of which the first that
    /// fits into the image is taken.
    pub tries: Vec<[f64; 2]>,
    /// Where the part is along the height and the width: the share of the room that is left before it, 0 up to
    /// but not 1.
    pub place: [f64; 2],
    /// Smallest and largest ratio of the width to the height. Where no try fits, the part is the largest one
    /// in the center whose ratio is within these.
    pub ratio: [f64; 2],
}

impl Crop {
    /// Returns the part of an image with this height and width, as its first pixel and its length along
    /// both.
    pub(crate) fn part(&self, [height, width]: [usize; 2]) -> [[usize; 2]; 2] {
        let area = (height * width) as f64;
        let rounded = |side: f64| side.round_ties_even() as usize;
        let fitting = self.tries.iter().find_map(|[share, ratio]| {
            let area = share * area;
            let size = [area / ratio, area * ratio].map(|it| rounded(it.sqrt()));
            let fits = |of: usize, side: usize| (1..=side).contains(&of);
            (fits(size[0], height) && fits(size[1], width)).then_some(size)
        });
        if let Some([rows, columns]) = fitting {
            let [down, across] = self.place;
            let from = |share: f64, room: usize| ((share * (room + 1) as f64) as usize).min(room);
            return [
                [from(down, height - rows), rows],
                [from(across, width - columns), columns],
            ];
        }
        let ratio = width as f64 / height as f64;
        let [low, high] = self.ratio;
        let within = |side: f64, most: usize| rounded(side).clamp(1, most);
        let [rows, columns] = if ratio < low {
            [within(width as f64 / low, height), width]
        } else if ratio > high {
            [height, within(height as f64 * high, width)]
        } else {
            [height, width]
        };
        [
            [(height - rows) / 2, rows],
            [(width - columns) / 2, columns],
        ]
    }
}

/// The windows of an image with this height and width, along the height and the width.
pub(crate) fn windows(record: &Preprocessing, image: [u32; 2]) -> [Window; 2] {
    let size = record.resized_size();
    let [height, width] = resized_size(record.resize.fit, image, size);
    let [rows, columns] = resized_part(&record.resize, image, size);
    let rounding = record.resize.crop_rounding;
    [
        Window::new(rows, height, record.height as usize, rounding),
        Window::new(columns, width, record.width as usize, rounding),
    ]
}

/// The part of an image that is resized, as its first pixel and its length along the height and the
/// width.
fn resized_part(resize: &Resize, image: [u32; 2], size: [u32; 2]) -> [[usize; 2]; 2] {
    let [height, width] = image;
    let [to_height, to_width] = size;
    let part = |side: u32, other: u32, to: u32, other_to: u32| {
        let len = match resize.arithmetic {
            // `smart_resize` and `Resizing` of Keras's TensorFlow backend.
            Arithmetic::TensorFlow | Arithmetic::Torch => {
                ((other as f32 * to as f32) / other_to as f32) as u32
            }
            // Keras's `load_img`.
            Arithmetic::Pillow => {
                (u64::from(other) * u64::from(to) / u64::from(other_to)).min(u64::from(side)) as u32
            }
        };
        let len = len.clamp(1, side);
        [((side - len) / 2) as usize, len as usize]
    };
    match resize.fit {
        Fit::Stretch | Fit::Shorter | Fit::Longer => [[0, height as usize], [0, width as usize]],
        Fit::CropToAspectRatio => [
            part(height, width, to_height, to_width),
            part(width, height, to_width, to_height),
        ],
    }
}

/// The height and width that an image gets, at least 1 each.
fn resized_size(fit: Fit, image: [u32; 2], size: [u32; 2]) -> [usize; 2] {
    let [height, width] = image.map(f64::from);
    let [to_height, to_width] = size.map(f64::from);
    let (by_height, by_width) = (height / to_height, width / to_width);
    // timm's `ResizeKeepRatio.get_params`; Python rounds halves to the even number.
    let divided = |ratio: f64| [height, width].map(|side| (side / ratio).round_ties_even());
    let resized = match fit {
        Fit::Stretch | Fit::CropToAspectRatio => [to_height, to_width],
        // torchvision's `_compute_resized_output_size`.
        Fit::Shorter if size[0] == size[1] => {
            let longer = |long: f64, short: f64| (to_height * long / short).floor();
            if width <= height {
                [longer(height, width), to_width]
            } else {
                [to_height, longer(width, height)]
            }
        }
        Fit::Shorter => divided(by_height.min(by_width)),
        Fit::Longer => divided(by_height.max(by_width)),
    };
    resized.map(|side| (side as usize).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_rounded_as_by_torchvision_and_timm() {
        // `transforms.Resize(256)`, `ResizeKeepRatio((256, 192))` and
        // `ResizeKeepRatio((224, 224), longest=1.)` of torchvision 0.29 and timm 1.0.31.
        for (image, shorter, not_square, longer) in [
            ([375, 500], [256, 341], [256, 341], [168, 224]),
            ([500, 333], [384, 256], [288, 192], [224, 149]),
            ([1, 1000], [256, 256_000], [256, 256_000], [1, 224]),
            ([257, 255], [258, 256], [256, 254], [224, 222]),
        ] {
            assert_eq!(
                resized_size(Fit::Shorter, image, [256; 2]),
                shorter,
                "{image:?}"
            );
            assert_eq!(
                resized_size(Fit::Shorter, image, [256, 192]),
                not_square,
                "{image:?}"
            );
            assert_eq!(
                resized_size(Fit::Longer, image, [224; 2]),
                longer,
                "{image:?}"
            );
            assert_eq!(resized_size(Fit::Stretch, image, [7, 9]), [7, 9]);
        }
    }

    #[test]
    fn halves_are_rounded_to_the_even_number() {
        let window = |resized, tensor| {
            let Window {
                skip, start, len, ..
            } = Window::new([0, resized], resized, tensor, CropRounding::Even);
            (skip, start, len)
        };
        // `int(round((resized - tensor) / 2))` in Python.
        for (resized, skip) in [
            (10, 0),
            (11, 0),
            (12, 1),
            (13, 2),
            (14, 2),
            (15, 2),
            (17, 4),
        ] {
            assert_eq!(window(resized, 10), (skip, 0, 10), "{resized}");
        }
        assert_eq!(window(7, 10), (0, 1, 7));
        let leaves_room =
            |resized| Window::new([0, resized], resized, 10, CropRounding::Even).leaves_room(10);
        assert!(leaves_room(7) && !leaves_room(11));
        for (resized, skip) in [(10, 0), (11, 0), (12, 1), (13, 1), (15, 2), (17, 3)] {
            let window = Window::new([0, resized], resized, 10, CropRounding::Down);
            assert_eq!(window.skip, skip, "{resized}");
        }
    }

    #[test]
    fn parts_have_the_aspect_ratio() {
        // The crop box of Keras's `smart_resize`: `[start, length]` of rows and columns.
        for (image, size, expected) in [
            ([31, 47], [16, 16], [[0, 31], [8, 31]]),
            ([50, 33], [16, 16], [[8, 33], [0, 33]]),
            ([3, 500], [10, 20], [[0, 3], [247, 6]]),
            ([1, 1], [7, 9], [[0, 1], [0, 1]]),
            ([500, 1], [4, 1000], [[249, 1], [0, 1]]),
        ] {
            for arithmetic in Arithmetic::ALL {
                let resize = Resize {
                    fit: Fit::CropToAspectRatio,
                    arithmetic,
                    ..Resize::default()
                };
                assert_eq!(resized_part(&resize, image, size), expected, "{image:?}");
            }
        }
    }
}
