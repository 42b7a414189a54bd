//! From a tensor back to pixels.

/// The pixels `[height, width, channels]` of images `[channels, height, width]` with values of 0 to 255, for graphs that
/// take 8 bits a sample: rounded to the nearest whole number, halves up, and kept within 0 to 255.
pub fn to_pixels(values: &[f32], [channels, height, width]: [usize; 3]) -> Vec<u8> {
    let plane = height * width;
    let mut pixels = vec![0; values.len()];
    for (image, pixels) in values.chunks_exact(channels * plane).zip(pixels.chunks_exact_mut(channels * plane)) {
        for (channel, values) in image.chunks_exact(plane).enumerate() {
            for (pixel, value) in pixels[channel..].iter_mut().step_by(channels).zip(values) {
                // A cast to u8 stops at 0 and 255.
                *pixel = value.round() as u8;
            }
        }
    }
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_rounded_and_the_channels_of_a_pixel_put_together() {
        // Two images of two channels, one row of two pixels.
        let values = [0.0, 1.4, 2.5, 3.49, 254.6, 300.0, -1.0, 0.499_999_97];
        assert_eq!(to_pixels(&values, [2, 1, 2]), [0, 3, 1, 3, 255, 0, 255, 0]);
        assert_eq!(to_pixels(&[], [2, 1, 2]), []);
    }
}
