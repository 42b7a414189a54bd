//! Values for each pixel of an image, drawn over it in color.

use crate::picture::Color;
use crate::{ReportError, Tile};

/// Color of positive values; this and the other are told apart by most who are color-blind.
const POSITIVE: Color = [0xd5, 0x5e, 0x00];
/// Color of negative values.
const NEGATIVE: Color = [0x00, 0x72, 0xb2];
/// How much of the color of the largest value covers the image, which is still to be seen below it.
const OPACITY: f32 = 0.8;
/// The grays of black and white below the colors: between them, even a faint color is seen.
const GRAYS: [f32; 2] = [70.0, 235.0];

/// Draws `values`, one for each pixel of the image, over it: the image becomes gray, positive values orange and
/// negative ones blue, the more so the larger they are. 0 leaves gray, `most` and anything beyond it is the
/// strongest color.
pub fn overlay(image: &Tile, values: &[f32], most: f32) -> Result<Tile, ReportError> {
    if values.len() * 3 != image.pixels.len() {
        return Err(ReportError::Tile {
            width: image.width,
            height: image.height,
            found: values.len() * 3,
        });
    }
    let pixels = image.pixels.chunks_exact(3).zip(values);
    Ok(Tile {
        pixels: pixels
            .flat_map(|(pixel, value)| blend(gray(pixel), value / most))
            .collect(),
        ..image.clone()
    })
}

/// The gray of a color, by the luma of ITU-R BT.601.
fn gray(pixel: &[u8]) -> f32 {
    let weights = [0.299, 0.587, 0.114];
    let luma = pixel
        .iter()
        .zip(weights)
        .map(|(&sample, weight)| f32::from(sample) * weight);
    let [black, white] = GRAYS;
    black + luma.sum::<f32>() * (white - black) / 255.0
}

/// A gray below the color of a value from -1 to 1.
fn blend(gray: f32, value: f32) -> [u8; 3] {
    let color = if value < 0.0 { NEGATIVE } else { POSITIVE };
    let share = OPACITY * value.abs().min(1.0);
    color.map(|sample| (gray + (f32::from(sample) - gray) * share).round() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(pixels: &[u8], values: &[f32], most: f32) -> Vec<u8> {
        let tile = Tile {
            pixels: pixels.to_vec(),
            width: (pixels.len() / 3) as u32,
            height: 1,
            caption: String::new(),
        };
        overlay(&tile, values, most).unwrap().pixels
    }

    #[test]
    fn zero_is_gray_and_signs_have_their_colors() {
        let image = [[0; 3], [255; 3], [0; 3], [0; 3]].concat();
        let found = drawn(&image, &[0.0, 0.0, 0.5, -0.5], 0.5);
        assert_eq!(found[..6], [70, 70, 70, 235, 235, 235]);
        let blended =
            |color: Color| color.map(|sample| (14.0 + 0.8 * f32::from(sample)).round() as u8);
        assert_eq!(found[6..9], blended(POSITIVE));
        assert_eq!(found[9..], blended(NEGATIVE));
    }

    #[test]
    fn colors_grow_with_the_value_and_end_at_the_largest() {
        let found = drawn(&[0; 15], &[0.0, 0.1, 0.2, 0.4, 9.0], 0.4);
        let reds: Vec<u8> = found.chunks_exact(3).map(|pixel| pixel[0]).collect();
        assert!(reds[..4].is_sorted_by(|a, b| a < b), "{reds:?}");
        assert_eq!(reds[3], reds[4]);
    }

    #[test]
    fn a_map_of_another_size_is_an_error() {
        let tile = Tile {
            pixels: vec![0; 12],
            width: 2,
            height: 2,
            caption: String::new(),
        };
        assert!(overlay(&tile, &[0.0; 3], 1.0).is_err());
    }
}
