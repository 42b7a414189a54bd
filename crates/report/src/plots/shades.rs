//! From a share of 0 to 1 to a colour: white to dark blue, ordered by lightness, so that it reads
//! in grey too.

use plotters::style::RGBColor;

/// "Blues" with nine classes by Cynthia Brewer (`ColorBrewer` 2.0).
const BLUES: [[u8; 3]; 9] = [
    [0xf7, 0xfb, 0xff],
    [0xde, 0xeb, 0xf7],
    [0xc6, 0xdb, 0xef],
    [0x9e, 0xca, 0xe1],
    [0x6b, 0xae, 0xd6],
    [0x42, 0x92, 0xc6],
    [0x21, 0x71, 0xb5],
    [0x08, 0x51, 0x9c],
    [0x08, 0x30, 0x6b],
];

/// The shade of a share, which is taken to lie within 0 to 1.
pub(super) fn shade(share: f64) -> RGBColor {
    let position = share.clamp(0.0, 1.0) * (BLUES.len() - 1) as f64;
    let below = (position as usize).min(BLUES.len() - 2);
    let part = position - below as f64;
    let [r, g, b] = [0, 1, 2].map(|channel| {
        let (from, to) = (
            f64::from(BLUES[below][channel]),
            f64::from(BLUES[below + 1][channel]),
        );
        (from + (to - from) * part).round() as u8
    });
    RGBColor(r, g, b)
}

/// Whether text on that shade must be white.
pub(super) fn is_dark(share: f64) -> bool {
    share > 0.5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_from_light_to_dark() {
        assert_eq!(shade(0.0), RGBColor(0xf7, 0xfb, 0xff));
        assert_eq!(shade(0.5), RGBColor(0x6b, 0xae, 0xd6));
        assert_eq!(shade(1.0), RGBColor(0x08, 0x30, 0x6b));
    }

    #[test]
    fn gets_darker_all_the_way() {
        let luminance = |i: u32| {
            let RGBColor(r, g, b) = shade(f64::from(i) / 100.0);
            0.2126 * f64::from(r) + 0.7152 * f64::from(g) + 0.0722 * f64::from(b)
        };
        assert!((0..100).all(|i| luminance(i) > luminance(i + 1)));
    }
}
