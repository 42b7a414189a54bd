//! Colour to grey.

/// The grey of each pixel of `channels` (3 or 4) samples, red, green and blue first.
///
/// ITU-R 601-2 luma, `0.299 R + 0.587 G + 0.114 B`, in 16-bit fixed point with rounding: the
/// arithmetic of Pillow's `convert("L")` (`L24` in its `Convert.c`), so that the bytes are the
/// same.
pub(crate) fn luma(pixels: &[u8], channels: usize) -> Vec<u8> {
    pixels
        .chunks_exact(channels)
        .map(|p| {
            let [r, g, b] = [p[0], p[1], p[2]].map(u32::from);
            ((r * 19_595 + g * 38_470 + b * 7_471 + 0x8000) >> 16) as u8
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grey_stays_as_it_is() {
        for v in 0..=255 {
            assert_eq!(luma(&[v, v, v], 3), [v]);
        }
    }

    #[test]
    fn alpha_does_not_count() {
        assert_eq!(
            luma(&[10, 20, 30, 0, 10, 20, 30, 255], 4),
            luma(&[10, 20, 30, 10, 20, 30], 3)
        );
    }
}
