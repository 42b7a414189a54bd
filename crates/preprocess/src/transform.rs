//! One change of an image, as augmentation makes it: where the pixels of the result come from, and what
//! happens to their colors.

use kiln_model::{Channels, FillMode};

use crate::adjustment::{Adjustment, Mixture, Planes};
use crate::erasing::Erasing;
use crate::geometry::Crop;

/// What is done to one image: all of it decided, nothing random.
///
/// A part of it is taken before it is resized. Then, as by `apply_transform` of Keras's `ImageDataGenerator`, in this order: turned, moved, sheared
/// and zoomed about the center, by one bilinear interpolation (`scipy.ndimage.affine_transform` of
/// order 1); flipped; its values shifted; made brighter or darker. Two things follow Keras's
/// documentation in place of its code: `shift` has the axes that it says, which Keras swaps, and
/// the center of images that are not square is theirs. Square images that are shifted alike along
/// both axes are the same either way. Last come torchvision's changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Transform {
    /// The part of the image that is resized; all of it, as the record says, where there is none.
    pub crop: Option<Crop>,
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
    /// Changes of the image as 8 bits, one after another.
    pub adjustments: Vec<Adjustment>,
    /// Chains of such changes that are mixed with what those made of the image.
    pub mixture: Option<Mixture>,
    /// A rectangle that is overwritten after the image is normalized.
    pub erasing: Option<Erasing>,
}

impl Default for Transform {
    /// Nothing is done.
    fn default() -> Self {
        Self {
            crop: None,
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
            adjustments: Vec::new(),
            mixture: None,
            erasing: None,
        }
    }
}

impl Transform {
    /// Writes the transformed image, of which nothing is erased yet, to `out`. Both are planes of `height` by
    /// `width` values of 0 to 255, one plane a channel.
    pub(crate) fn apply(
        &self,
        image: &[f32],
        [height, width]: [usize; 2],
        channels: Channels,
        out: &mut [f32],
    ) {
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
            shift_channels(out, self.channel_shift);
        }
        if let Some(factor) = self.brightness {
            for value in &mut *out {
                *value = brighten(*value, factor);
            }
        }
        let mut planes = Planes {
            values: out,
            size: [height, width],
            channels,
        };
        planes.adjust(&self.adjustments);
        if let Some(mixture) = &self.mixture {
            planes.mix(mixture);
        }
    }
}

/// Copies one pixel of each plane of `area` values.
fn copy(image: &[f32], from: usize, out: &mut [f32], to: usize, area: usize) {
    for (plane, out) in image.chunks_exact(area).zip(out.chunks_exact_mut(area)) {
        out[to] = plane[from];
    }
}

/// Where in the source each output pixel lies: `position = linear * pixel + offset`, x before y.
struct Affine {
    linear: [[f64; 2]; 2],
    offset: [f64; 2],
    size: [usize; 2],
}

impl Affine {
    /// The map of a transform, for images of this height and width; none where it moves nothing.
    fn new(transform: &Transform, size: [usize; 2]) -> Option<Self> {
        let Transform {
            rotation,
            shift: [down, across],
            shear,
            zoom: [zoom_y, zoom_x],
            ..
        } = *transform;
        let still = Transform::default();
        if (rotation, transform.shift, shear, transform.zoom)
            == (still.rotation, still.shift, still.shear, still.zoom)
        {
            return None;
        }
        let (sin, cos) = rotation.to_radians().sin_cos();
        let (shear_sin, shear_cos) = shear.to_radians().sin_cos();
        // Rotation times shear times zoom.
        let linear = [
            [cos * zoom_x, (-cos * shear_sin - sin * shear_cos) * zoom_y],
            [sin * zoom_x, (-sin * shear_sin + cos * shear_cos) * zoom_y],
        ];
        let shift = [cos * across - sin * down, sin * across + cos * down];
        let center = [size[1], size[0]].map(|side| side as f64 / 2.0 - 0.5);
        let offset = [0, 1].map(|axis| {
            let [x, y] = linear[axis];
            center[axis] + shift[axis] - (x * center[0] + y * center[1])
        });
        Some(Self {
            linear,
            offset,
            size,
        })
    }

    /// The pixels that make an output pixel, given by its row and column; none where nothing of the
    /// image is there.
    fn taps(&self, [row, column]: [usize; 2], mode: FillMode) -> Option<Taps> {
        let (x, y) = (column as f64, row as f64);
        let position =
            |axis: usize| self.linear[axis][0] * x + self.linear[axis][1] * y + self.offset[axis];
        let [height, width] = self.size;
        Some(Taps {
            y: neighbors(position(1), height, mode)?,
            x: neighbors(position(0), width, mode)?,
            width,
        })
    }
}

/// Four neighbors with their weights.
#[derive(Clone, Copy)]
struct Taps {
    y: Pair,
    x: Pair,
    width: usize,
}

impl Taps {
    /// The value that they make of a plane.
    fn sum(&self, plane: &[f32]) -> f64 {
        let ((top, bottom, down), (left, right, across)) = (self.y, self.x);
        let row = |y: usize| {
            let row = &plane[y * self.width..][..self.width];
            f64::from(row[left]) * (1.0 - across) + f64::from(row[right]) * across
        };
        row(top) * (1.0 - down) + row(bottom) * down
    }
}

/// Two neighbors along an axis, and the weight of the second.
type Pair = (usize, usize, f64);

/// The two pixels, of `length` along an axis, between which a position lies; none where it is
/// beyond the edge and nothing of the image is there. The rules are those of `map_coordinate` in
/// `ni_interpolation.c` of `scipy.ndimage`.
fn neighbors(position: f64, length: usize, mode: FillMode) -> Option<Pair> {
    let last = (length - 1) as f64;
    if (0.0..=last).contains(&position) {
        return Some(within(position, length));
    }
    match mode {
        FillMode::Constant => None,
        FillMode::Nearest => Some(within(position.clamp(0.0, last), length)),
        FillMode::Reflect => {
            let below = position.floor();
            Some((
                mirrored(below, length),
                mirrored(below + 1.0, length),
                position - below,
            ))
        }
        // The last pixel lies upon the first one: the image repeats after one pixel less than it
        // has.
        FillMode::Wrap if length == 1 => Some((0, 0, 0.0)),
        FillMode::Wrap if position < 0.0 => Some(within(
            position + last * ((-position / last).floor() + 1.0),
            length,
        )),
        FillMode::Wrap => Some(within(position - last * (position / last).floor(), length)),
    }
}

/// The neighbors of a position from the first to the last pixel.
fn within(position: f64, length: usize) -> Pair {
    let below = (position as usize).min(length - 1);
    (below, (below + 1).min(length - 1), position - below as f64)
}

/// The pixel that a whole position shows where the image and its mirror image take turns.
fn mirrored(position: f64, length: usize) -> usize {
    let period = 2.0 * length as f64;
    let position = position.rem_euclid(period) as usize;
    if position < length {
        position
    } else {
        2 * length - 1 - position
    }
}

/// A value of 0 to 255 times a factor, as Keras does it with Pillow's `ImageEnhance.Brightness`:
/// the value is cut to a whole number first, and so is the result, which ends at 255.
fn brighten(value: f32, factor: f32) -> f32 {
    (value.trunc() * factor).clamp(0.0, 255.0).trunc()
}

/// Adds `by` to every value; the results stay between the smallest and the largest value that there
/// were, of all channels together, as with Keras's `apply_channel_shift`.
fn shift_channels(values: &mut [f32], by: f32) {
    let (low, high) = values
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), &v| {
            (l.min(v), h.max(v))
        });
    for value in values {
        *value = (*value + by).clamp(low, high);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is seen at whole positions from -5 to 8 of an image `0123`.
    fn seen(mode: FillMode) -> String {
        let pixel = |position: i32| match neighbors(f64::from(position), 4, mode) {
            Some((below, above, weight)) => {
                char::from(b'0' + if weight < 0.5 { below } else { above } as u8)
            }
            None => 'k',
        };
        (-5..=8).map(pixel).collect()
    }

    #[test]
    fn edges_go_on_as_documented() {
        assert_eq!(seen(FillMode::Nearest), "00000012333333");
        assert_eq!(seen(FillMode::Constant), "kkkkk0123kkkkk");
        assert_eq!(seen(FillMode::Reflect), "33210012332100");
        // Where the last pixel lies upon the first one, the left shows the last and the right the
        // first.
        assert_eq!(seen(FillMode::Wrap), "12312012312012");
    }

    proptest! {
        #[test]
        fn every_position_has_pixels_of_the_image(position in -1e6..1e6, length in 1..50usize) {
            for mode in [FillMode::Nearest, FillMode::Constant, FillMode::Reflect, FillMode::Wrap] {
                let Some((below, above, weight)) = neighbors(position, length, mode) else {
                    prop_assert_eq!(mode, FillMode::Constant);
                    continue;
                };
                prop_assert!(below < length && above < length && below.abs_diff(above) <= 1);
                prop_assert!((0.0..=1.0).contains(&weight), "{}", weight);
            }
        }
    }

    #[test]
    fn values_are_cut_not_rounded() {
        for (value, factor, expected) in [
            (0.9, 1.5, 0.0),
            (10.7, 1.5, 15.0),
            (200.0, 1.5, 255.0),
            (3.0, 0.5, 1.0_f32),
        ] {
            assert_eq!(brighten(value, factor).to_bits(), expected.to_bits());
        }
    }

    #[test]
    fn values_stay_between_the_smallest_and_the_largest() {
        let shifted = |by| {
            let mut values = [10.0, 20.0, 90.0];
            shift_channels(&mut values, by);
            values.map(|value| value as i32)
        };
        assert_eq!(
            [shifted(15.0), shifted(-15.0), shifted(500.0)],
            [[25, 35, 90], [10, 10, 75], [90; 3]]
        );
        shift_channels(&mut [], 1.0);
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "each call makes its transform"
    )]
    fn run(transform: Transform, image: &[f32], size: [usize; 2]) -> Vec<f32> {
        let mut out = vec![f32::NAN; image.len()];
        transform.apply(image, size, Channels::Gray, &mut out);
        out
    }

    /// 0, 1, 2, …: `planes` planes of this height and width.
    fn ramp([height, width]: [usize; 2], planes: usize) -> Vec<f32> {
        (0..planes * height * width)
            .map(|i| (i % 251) as f32)
            .collect()
    }

    #[test]
    fn shifts_go_along_their_own_axis() {
        let image = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        let right = Transform {
            shift: [0.0, 1.0],
            ..Transform::default()
        };
        assert_eq!(run(right, &image, [2, 3]), [1.0, 2.0, 2.0, 4.0, 5.0, 5.0]);
        let down = Transform {
            shift: [1.0, 0.0],
            ..Transform::default()
        };
        assert_eq!(run(down, &image, [2, 3]), [3.0, 4.0, 5.0, 3.0, 4.0, 5.0]);
    }

    #[test]
    fn channels_are_transformed_alike() {
        let size = [4, 6];
        let transform = Transform {
            rotation: 20.0,
            zoom: [0.8, 1.3],
            horizontal_flip: true,
            ..Transform::default()
        };
        let image = ramp(size, 3);
        let one_by_one: Vec<f32> = image
            .chunks(24)
            .flat_map(|plane| run(transform.clone(), plane, size))
            .collect();
        assert_eq!(run(transform, &image, size), one_by_one);
    }

    #[test]
    fn an_image_of_one_pixel_stays_one_pixel() {
        for fill_mode in [FillMode::Nearest, FillMode::Reflect, FillMode::Wrap] {
            let transform = Transform {
                rotation: 33.0,
                shift: [0.7, -5.2],
                fill_mode,
                ..Transform::default()
            };
            assert_eq!(run(transform, &[9.0], [1, 1]), [9.0]);
        }
    }

    proptest! {
        #[test]
        fn half_a_turn_is_both_flips(height in 1..9usize, width in 1..9usize) {
            let image = ramp([height, width], 1);
            let turned = run(Transform { rotation: 180.0, ..Transform::default() }, &image, [height, width]);
            let both = Transform { horizontal_flip: true, vertical_flip: true, ..Transform::default() };
            let flipped = run(both, &image, [height, width]);
            prop_assert!(turned.iter().zip(&flipped).all(|(a, b)| (a - b).abs() < 1e-3), "{:?} {:?}", turned, flipped);
        }

        #[test]
        fn nothing_leaves_the_range_of_the_image(
            rotation in -180.0..180.0, down in -20.0..20.0, across in -20.0..20.0, shear in -89.0..89.0, zoom in 0.1..4.0,
            brightness in prop::option::of(0.0..3.0f32), mode in 0..4usize, height in 1..9usize, width in 1..9usize,
        ) {
            let fill_mode = [FillMode::Nearest, FillMode::Constant, FillMode::Reflect, FillMode::Wrap][mode];
            let transform = Transform {
                rotation, shear, brightness, fill_mode, shift: [down, across], zoom: [zoom, 1.0], cval: 17.0,
                ..Transform::default()
            };
            let out = run(transform, &ramp([height, width], 2), [height, width]);
            prop_assert!(out.iter().all(|value| (0.0..=255.0).contains(value)), "{:?}", out);
        }
    }
}
