//! Sizes: what an image is resized to, and which part of that is the model's input.

use std::ops::Range;

use kiln_model::{Fit, Preprocessing};

/// Where the resized image and the tensor overlap along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
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
    /// The center of the resized image, or all of it in the center of the tensor: torchvision's
    /// `center_crop`, which timm's `center_crop_or_pad` follows. Of an odd number of pixels to crop,
    /// the half is rounded to the even neighbor, as Python does; of those to pad, the end gets one
    /// more.
    fn new(resized: usize, tensor: usize) -> Self {
        if resized < tensor {
            return Self {
                resized,
                skip: 0,
                start: (tensor - resized) / 2,
                len: resized,
            };
        }
        let twice = resized - tensor;
        let half = twice / 2;
        Self {
            resized,
            skip: half + usize::from(twice % 2 == 1 && half % 2 == 1),
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

/// The windows of an image with this height and width, along the height and the width.
pub(crate) fn windows(record: &Preprocessing, image: [u32; 2]) -> [Window; 2] {
    let [height, width] = resized_size(record.resize.fit, image, record.resized_size());
    [
        Window::new(height, record.height as usize),
        Window::new(width, record.width as usize),
    ]
}

/// The height and width that an image gets, at least 1 each.
fn resized_size(fit: Fit, image: [u32; 2], size: [u32; 2]) -> [usize; 2] {
    let [height, width] = image.map(f64::from);
    let [to_height, to_width] = size.map(f64::from);
    let (by_height, by_width) = (height / to_height, width / to_width);
    // timm's `ResizeKeepRatio.get_params`; Python rounds halves to the even number.
    let divided = |ratio: f64| [height, width].map(|side| (side / ratio).round_ties_even());
    let resized = match fit {
        Fit::Stretch => [to_height, to_width],
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
            } = Window::new(resized, tensor);
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
        assert!(Window::new(7, 10).leaves_room(10) && !Window::new(11, 10).leaves_room(10));
    }
}
