//! Changes of 8-bit images by torchvision's color jitter, `RandAugment`, `TrivialAugmentWide` and `AugMix`.

use kiln_model::Channels;

/// One change of an image, with the arithmetic of `torchvision.transforms.v2.functional` for tensors of
/// `uint8`: the result is whole numbers of 0 to 255. What comes into a moved image from outside is black; it
/// is interpolated bilinearly. Gray images have neither saturation nor hue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Adjustment {
    /// Every row shows what lies this many pixels further to the right, times its distance from the top.
    ShearX(f64),
    /// Every column shows what lies this many pixels further down, times its distance from the left.
    ShearY(f64),
    /// Moved to the right by so many pixels.
    TranslateX(f64),
    /// Moved down by so many pixels.
    TranslateY(f64),
    /// Turned counterclockwise about the center by so many degrees.
    Rotate(f64),
    /// Factor of the brightness, at least 0; 0 is black.
    Brightness(f64),
    /// Factor of the contrast, at least 0; 0 is the image's mean gray.
    Contrast(f64),
    /// Factor of the saturation, at least 0; 0 is gray.
    Saturation(f64),
    /// Shift of the hue, -0.5 to 0.5 of the circle of colors.
    Hue(f64),
    /// Factor of the sharpness, at least 0; 0 is blurred over 3 by 3 pixels, 1 as it is.
    Sharpness(f64),
    /// Only so many of the highest bits are kept, 0 to 8.
    Posterize(u32),
    /// Values from this one on are inverted.
    Solarize(f64),
    /// Every channel is stretched to the range from 0 to 255.
    AutoContrast,
    /// The histogram of every channel is made even.
    Equalize,
}

/// Chains of changes, each beginning with the image itself, whose results are added to it, as by torchvision's
/// `AugMix` for tensors of `uint8`: in f32, and cut to whole numbers at the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixture {
    /// Share of the image as it is; with those of the chains, they make 1.
    pub own: f32,
    /// The share of each chain's result, and its changes, one after another.
    pub chains: Vec<(f32, Vec<Adjustment>)>,
}

/// Planes of `height` by `width` whole numbers of 0 to 255, one a channel.
pub(crate) struct Planes<'a> {
    pub values: &'a mut [f32],
    /// Height and width.
    pub size: [usize; 2],
    pub channels: Channels,
}

impl Planes<'_> {
    /// Carries out one change after another; values are rounded to whole numbers before.
    pub fn adjust(&mut self, adjustments: &[Adjustment]) {
        if adjustments.is_empty() {
            return;
        }
        self.round();
        for adjustment in adjustments {
            self.carry_out(*adjustment);
        }
    }

    /// Mixes the image with what chains of changes make of it; values are rounded to whole numbers before.
    pub fn mix(&mut self, mixture: &Mixture) {
        self.round();
        let image = self.values.to_vec();
        let mut sum: Vec<f32> = image.iter().map(|value| mixture.own * value).collect();
        for (share, adjustments) in &mixture.chains {
            self.values.copy_from_slice(&image);
            self.adjust(adjustments);
            for (sum, value) in sum.iter_mut().zip(&*self.values) {
                *sum += share * value;
            }
        }
        for (value, sum) in self.values.iter_mut().zip(sum) {
            *value = cut(sum);
        }
    }

    fn round(&mut self) {
        for value in &mut *self.values {
            *value = value.round_ties_even().clamp(0.0, 255.0);
        }
    }

    fn carry_out(&mut self, adjustment: Adjustment) {
        let [height, width] = self.size.map(|side| side as f64);
        match adjustment {
            // About the upper left corner, which is half a pixel away from the first one's center.
            Adjustment::ShearX(by) => self.pull(|[y, x]| [y, x + by * (y + 0.5)]),
            Adjustment::ShearY(by) => self.pull(|[y, x]| [y + by * (x + 0.5), x]),
            Adjustment::TranslateX(by) => self.pull(|[y, x]| [y, x - by]),
            Adjustment::TranslateY(by) => self.pull(|[y, x]| [y - by, x]),
            Adjustment::Rotate(degrees) => {
                let (sin, cos) = degrees.to_radians().sin_cos();
                let center = [height, width].map(|side| (side - 1.0) / 2.0);
                self.pull(|[y, x]| {
                    let (y, x) = (y - center[0], x - center[1]);
                    [sin * x + cos * y + center[0], cos * x - sin * y + center[1]]
                });
            }
            Adjustment::Brightness(factor) => {
                let factor = factor as f32;
                self.each(|value| value * factor);
            }
            Adjustment::Contrast(factor) => {
                let gray = self.gray();
                let sum: f64 = gray.iter().copied().map(f64::from).sum();
                let mean = (sum / gray.len().max(1) as f64) as f32;
                self.each(|value| blend(value, mean, factor));
            }
            Adjustment::Saturation(factor) if self.is_color() => {
                let gray = self.gray();
                for plane in self.values.chunks_exact_mut(gray.len().max(1)) {
                    for (value, gray) in plane.iter_mut().zip(&gray) {
                        *value = cut(blend(*value, *gray, factor));
                    }
                }
            }
            Adjustment::Hue(by) if self.is_color() && by.abs() > 0.0 => {
                self.each_color(|color| shift_hue(color, by as f32));
            }
            Adjustment::Saturation(_) | Adjustment::Hue(_) => {}
            Adjustment::Sharpness(factor) => self.sharpen(factor),
            Adjustment::Posterize(bits) => {
                let mask = !(0xFF_u32 >> bits.min(8));
                self.each(|value| (value as u32 & mask) as f32);
            }
            Adjustment::Solarize(threshold) => {
                // In f32, as PyTorch compares: 170.000005 is 170.
                let threshold = threshold as f32;
                self.each(|value| {
                    if value >= threshold {
                        255.0 - value
                    } else {
                        value
                    }
                });
            }
            Adjustment::AutoContrast => self.planes().for_each(stretch),
            Adjustment::Equalize => self.planes().for_each(equalize),
        }
    }

    fn is_color(&self) -> bool {
        self.channels.count() == 3
    }

    fn area(&self) -> usize {
        self.size[0] * self.size[1]
    }

    fn planes(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let area = self.area().max(1);
        self.values.chunks_exact_mut(area)
    }

    fn each(&mut self, change: impl Fn(f32) -> f32) {
        for value in &mut *self.values {
            *value = cut(change(*value));
        }
    }

    /// Offsets of the planes of red, green and blue.
    fn colors(&self) -> [usize; 3] {
        let area = self.area();
        match self.channels {
            Channels::Gray => [0; 3],
            Channels::Rgb => [0, area, 2 * area],
            Channels::Bgr => [2 * area, area, 0],
        }
    }

    fn each_color(&mut self, change: impl Fn([f32; 3]) -> [f32; 3]) {
        let colors = self.colors();
        for at in 0..self.area() {
            let changed = change(colors.map(|offset| self.values[offset + at]));
            for (offset, value) in colors.into_iter().zip(changed) {
                self.values[offset + at] = value;
            }
        }
    }

    /// The luma of every pixel, cut to a whole number; of a gray image its values.
    fn gray(&self) -> Vec<f32> {
        if !self.is_color() {
            return self.values.to_vec();
        }
        let [red, green, blue] = self
            .colors()
            .map(|offset| &self.values[offset..][..self.area()]);
        let colors = red.iter().zip(green).zip(blue);
        colors
            .map(|((red, green), blue)| {
                fused(fused(red * 0.2989, *green, 0.587), *blue, 0.114).floor()
            })
            .collect()
    }

    /// Every pixel becomes what lies at another position, both as row and column.
    fn pull(&mut self, position: impl Fn([f64; 2]) -> [f64; 2]) {
        let [height, width] = self.size;
        let area = self.area();
        let image = self.values.to_vec();
        for at in 0..area {
            let [y, x] = position([(at / width) as f64, (at % width) as f64]);
            let (rows, columns) = (neighbors(y, height), neighbors(x, width));
            let planes = image.chunks_exact(area);
            for (plane, out) in planes.zip(self.values.chunks_exact_mut(area)) {
                let mut sum = 0.0;
                for (row, down) in rows {
                    for (column, across) in columns {
                        sum += f64::from(plane[row * width + column]) * down * across;
                    }
                }
                out[at] = (sum as f32).round_ties_even();
            }
        }
    }

    /// Away from the mean of 3 by 3 pixels, in which the one in the middle counts five times; the pixels of
    /// the edge stay.
    fn sharpen(&mut self, factor: f64) {
        let [height, width] = self.size;
        if height <= 2 || width <= 2 {
            return;
        }
        for plane in self.planes() {
            let before = plane.to_vec();
            for y in 1..height - 1 {
                for x in 1..width - 1 {
                    let at = y * width + x;
                    let rows = [at - width, at, at + width];
                    let around: f32 = rows
                        .iter()
                        .map(|row| before[row - 1..=row + 1].iter().sum::<f32>())
                        .sum();
                    let blurred = ((around + 4.0 * before[at]) / 13.0).round_ties_even();
                    let sharpened = fused(before[at], blurred - before[at], (1.0 - factor) as f32);
                    plane[at] = cut(sharpened);
                }
            }
        }
    }
}

/// A value that was computed, as a conversion to `uint8` cuts it.
fn cut(value: f32) -> f32 {
    value.clamp(0.0, 255.0).trunc()
}

/// The one times the factor, and the other for the rest.
fn blend(one: f32, other: f32, factor: f64) -> f32 {
    fused(one * factor as f32, other, (1.0 - factor) as f32)
}

/// A sum with a product that is rounded once, as PyTorch computes it; in f64, since not every processor can.
fn fused(sum: f32, value: f32, factor: f32) -> f32 {
    (f64::from(sum) + f64::from(value) * f64::from(factor)) as f32
}

/// The two pixels of `length` along an axis between which a position lies, with their weights: 0 for those
/// outside.
fn neighbors(position: f64, length: usize) -> [(usize, f64); 2] {
    let below = position.floor();
    let above = position - below;
    let tap = |at: f64, weight: f64| {
        if (0.0..length as f64).contains(&at) {
            (at as usize, weight)
        } else {
            (0, 0.0)
        }
    };
    [tap(below, 1.0 - above), tap(below + 1.0, above)]
}

/// Stretches a channel to the range from 0 to 255; one with a single value stays.
fn stretch(plane: &mut [f32]) {
    let low = plane.iter().copied().fold(f32::INFINITY, f32::min);
    let high = plane.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if low >= high {
        return;
    }
    let step = (high - low) * (1.0 / 255.0);
    for value in plane {
        *value = cut((*value - low) / step);
    }
}

/// Makes the histogram of a channel even, by the table of Pillow's `ImageOps.equalize`.
fn equalize(plane: &mut [f32]) {
    let mut counts = [0_usize; 256];
    for value in &*plane {
        counts[*value as usize] += 1;
    }
    let largest = counts.iter().rev().find(|count| **count > 0);
    let step = (plane.len() - largest.copied().unwrap_or(0)) / 255;
    if step == 0 {
        return;
    }
    let mut below = step / 2;
    let table = counts.map(|count| {
        let value = (below / step).min(255);
        below += count;
        value as f32
    });
    for value in plane {
        *value = table[*value as usize];
    }
}

/// Shifts the hue of red, green and blue; in f32, as torchvision.
fn shift_hue(color: [f32; 3], by: f32) -> [f32; 3] {
    let [red, green, blue] = color.map(|value| value * (1.0 / 255.0));
    let high = red.max(green).max(blue);
    let low = red.min(green).min(blue);
    let range = high - low;
    let (mut hue, mut saturation) = (0.0, 0.0);
    if range > 0.0 {
        saturation = range / high;
        let [r, g, b] = [red, green, blue].map(|value| (high - value) / range);
        hue = if red >= high {
            b - g
        } else if green >= high {
            2.0 + r - b
        } else {
            4.0 + g - r
        };
        hue = (hue / 6.0 + 1.0).fract();
    }
    let sixth = (hue + by).rem_euclid(1.0) * 6.0;
    let (sector, part) = (sixth.floor(), sixth.fract());
    let p = high * (1.0 - saturation);
    let q = high * (1.0 - saturation * part);
    let t = high * (1.0 - saturation * (1.0 - part));
    let shifted = match sector as u32 % 6 {
        0 => [high, t, p],
        1 => [q, high, p],
        2 => [p, high, t],
        3 => [p, q, high],
        4 => [t, p, high],
        _ => [high, p, q],
    };
    // A float of 0 to 1 becomes a byte by this factor in torchvision.
    shifted.map(|value| cut(value.clamp(0.0, 1.0) * (256.0 - 1e-3)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn adjusted(channels: Channels, size: [usize; 2], values: &[f32], by: Adjustment) -> Vec<f32> {
        let mut values = values.to_vec();
        Planes {
            values: &mut values,
            size,
            channels,
        }
        .adjust(&[by]);
        values
    }

    #[test]
    fn images_move_where_they_should_and_leave_black() {
        let image: Vec<f32> = (1..=6).map(|value| value as f32).collect();
        let moved = |by| adjusted(Channels::Gray, [2, 3], &image, by);
        assert_eq!(
            moved(Adjustment::TranslateX(1.0)),
            [0.0, 1.0, 2.0, 0.0, 4.0, 5.0]
        );
        assert_eq!(
            moved(Adjustment::TranslateY(-1.0)),
            [4.0, 5.0, 6.0, 0.0, 0.0, 0.0]
        );
        assert_eq!(
            moved(Adjustment::Rotate(180.0)),
            [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
        );
        let square = adjusted(
            Channels::Gray,
            [2, 2],
            &[1.0, 2.0, 3.0, 4.0],
            Adjustment::Rotate(90.0),
        );
        assert_eq!(square, [2.0, 4.0, 1.0, 3.0], "counterclockwise");
    }

    #[test]
    fn chains_begin_with_the_image_and_are_added_up_by_their_shares() {
        let image = [10.0, 100.0, 250.0, 0.0];
        let mut values = image.to_vec();
        let mixture = Mixture {
            own: 0.5,
            chains: vec![
                (
                    0.25,
                    vec![Adjustment::Solarize(0.0), Adjustment::Solarize(0.0)],
                ),
                (0.25, vec![Adjustment::Solarize(0.0)]),
            ],
        };
        let mut planes = Planes {
            values: &mut values,
            size: [2, 2],
            channels: Channels::Gray,
        };
        planes.mix(&mixture);
        // Three quarters of the image, a quarter of its negative, cut.
        assert_eq!(values, [68.0, 113.0, 188.0, 63.0]);
    }

    #[test]
    fn blue_first_is_the_same_picture() {
        let rgb: Vec<f32> = (0..48).map(|i| (i * 37 % 256) as f32).collect();
        let bgr = |values: &[f32]| [&values[32..], &values[16..32], &values[..16]].concat();
        for by in [
            Adjustment::Hue(0.2),
            Adjustment::Saturation(0.3),
            Adjustment::Contrast(1.7),
        ] {
            let expected = bgr(&adjusted(Channels::Rgb, [4, 4], &rgb, by));
            assert_eq!(
                adjusted(Channels::Bgr, [4, 4], &bgr(&rgb), by),
                expected,
                "{by:?}"
            );
        }
    }

    #[test]
    fn gray_images_have_neither_saturation_nor_hue() {
        let image = [10.0, 200.0, 90.0, 0.0];
        for by in [Adjustment::Saturation(0.0), Adjustment::Hue(0.4)] {
            assert_eq!(adjusted(Channels::Gray, [2, 2], &image, by), image);
        }
    }

    fn any_adjustment() -> impl Strategy<Value = Adjustment> {
        prop_oneof![
            (-3.0..3.0).prop_map(Adjustment::ShearX),
            (-3.0..3.0).prop_map(Adjustment::ShearY),
            (-1e4..1e4).prop_map(Adjustment::TranslateX),
            (-1e4..1e4).prop_map(Adjustment::TranslateY),
            (-360.0..360.0).prop_map(Adjustment::Rotate),
            (0.0..300.0).prop_map(Adjustment::Brightness),
            (0.0..300.0).prop_map(Adjustment::Contrast),
            (0.0..300.0).prop_map(Adjustment::Saturation),
            (-0.5..0.5).prop_map(Adjustment::Hue),
            (0.0..300.0).prop_map(Adjustment::Sharpness),
            (0_u32..10).prop_map(Adjustment::Posterize),
            (0.0..256.0).prop_map(Adjustment::Solarize),
            Just(Adjustment::AutoContrast),
            Just(Adjustment::Equalize),
        ]
    }

    proptest! {
        #[test]
        fn bytes_stay_bytes(
            by in any_adjustment(), height in 1..9usize, width in 1..9usize, color: bool, seed: u32,
        ) {
            let channels = if color { Channels::Rgb } else { Channels::Gray };
            let len = channels.count() * height * width;
            let image: Vec<f32> = (0..len as u32).map(|i| (i.wrapping_mul(seed) % 256) as f32).collect();
            let out = adjusted(channels, [height, width], &image, by);
            prop_assert!(out.iter().all(|v| (0.0..=255.0).contains(v) && v.fract() == 0.0), "{:?}", out);
        }

        #[test]
        fn what_changes_nothing_changes_nothing(height in 1..9usize, width in 1..9usize, seed: u32) {
            let image: Vec<f32> = (0..(3 * height * width) as u32).map(|i| (i.wrapping_mul(seed) % 256) as f32).collect();
            for by in [
                Adjustment::ShearX(0.0), Adjustment::TranslateY(0.0), Adjustment::Rotate(0.0), Adjustment::Brightness(1.0),
                Adjustment::Contrast(1.0), Adjustment::Saturation(1.0), Adjustment::Sharpness(1.0), Adjustment::Posterize(8),
                Adjustment::Solarize(256.0),
            ] {
                prop_assert_eq!(&adjusted(Channels::Rgb, [height, width], &image, by), &image, "{:?}", by);
            }
            // Once around, values may be one step lower.
            let turned = adjusted(Channels::Rgb, [height, width], &image, Adjustment::Hue(1.0));
            prop_assert!(turned.iter().zip(&image).all(|(a, b)| (a - b).abs() <= 1.0), "{:?} {:?}", turned, image);
        }
    }
}
