//! Brighter and darker.

/// A value of 0 to 255 times a factor, as Keras does it with Pillow's `ImageEnhance.Brightness`:
/// the value is cut to a whole number first, and so is the result, which ends at 255.
pub(super) fn brighten(value: f32, factor: f32) -> f32 {
    (value.trunc() * factor).clamp(0.0, 255.0).trunc()
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
