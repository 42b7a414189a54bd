//! One change of an image, as augmentation makes it.

mod affine;
mod colors;
mod fill;

use kiln_model::FillMode;

use affine::Affine;
use colors::{brighten, shift};

/// What is done to one image: all of it decided, nothing random.
///
/// As by `apply_transform` of Keras's `ImageDataGenerator`, in this order: turned, moved, sheared
/// and zoomed about the center, by one bilinear interpolation (`scipy.ndimage.affine_transform` of
/// order 1); flipped; its values shifted; made brighter or darker. Two things follow Keras's
/// documentation in place of its code: `shift` has the axes that it says, which Keras swaps, and
/// the center of images that are not square is theirs. Square images that are shifted alike along
/// both axes are the same either way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Transform {
    /// Degrees.
    pub rotation: f64,
    /// How far the image's content moves up and to the left, in pixels.
    pub shift: [f64; 2],
    /// Degrees.
    pub shear: f64,
    /// Along the height and the width; above 1 things get smaller.
    pub zoom: [f64; 2],
    /// Mirrored left to right.
    pub horizontal_flip: bool,
    /// Mirrored top to bottom.
    pub vertical_flip: bool,
    /// What is added to every value; the result stays between the image's smallest and largest
    /// value.
    pub channel_shift: f32,
    /// Factor of the brightness; with one, values are cut to whole numbers of 0 to 255.
    pub brightness: Option<f32>,
    /// What lies outside of the image.
    pub fill_mode: FillMode,
    /// The value that [`FillMode::Constant`] fills with, 0 to 255.
    pub cval: f64,
}

impl Default for Transform {
    /// Nothing is done.
    fn default() -> Self {
        Self {
            rotation: 0.0,
            shift: [0.0; 2],
            shear: 0.0,
            zoom: [1.0; 2],
            horizontal_flip: false,
            vertical_flip: false,
            channel_shift: 0.0,
            brightness: None,
            fill_mode: FillMode::Nearest,
            cval: 0.0,
        }
    }
}

impl Transform {
    /// Writes the transformed image to `out`. Both are planes of `height` by `width` values of 0 to
    /// 255, one plane a channel.
    pub(crate) fn apply(&self, image: &[f32], [height, width]: [usize; 2], out: &mut [f32]) {
        let affine = Affine::new(self, [height, width]);
        let area = height * width;
        for y in 0..height {
            for x in 0..width {
                let from_y = if self.vertical_flip {
                    height - 1 - y
                } else {
                    y
                };
                let from_x = if self.horizontal_flip {
                    width - 1 - x
                } else {
                    x
                };
                let at = y * width + x;
                match &affine {
                    None => copy(image, from_y * width + from_x, out, at, area),
                    Some(affine) => {
                        let taps = affine.taps([from_y, from_x], self.fill_mode);
                        for (plane, out) in image.chunks_exact(area).zip(out.chunks_exact_mut(area))
                        {
                            out[at] = taps.map_or(self.cval, |taps| taps.sum(plane)) as f32;
                        }
                    }
                }
            }
        }
        if self.channel_shift != 0.0 {
            shift(out, self.channel_shift);
        }
        if let Some(factor) = self.brightness {
            for value in out {
                *value = brighten(*value, factor);
            }
        }
    }
}

/// Copies one pixel of each plane of `area` values.
fn copy(image: &[f32], from: usize, out: &mut [f32], to: usize, area: usize) {
    for (plane, out) in image.chunks_exact(area).zip(out.chunks_exact_mut(area)) {
        out[to] = plane[from];
    }
}

#[cfg(test)]
mod tests;
