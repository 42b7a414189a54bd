//! Changes of colors.

/// A value of 0 to 255 times a factor, as Keras does it with Pillow's `ImageEnhance.Brightness`:
/// the value is cut to a whole number first, and so is the result, which ends at 255.
pub(super) fn brighten(value: f32, factor: f32) -> f32 {
    (value.trunc() * factor).clamp(0.0, 255.0).trunc()
}

/// Adds `by` to every value; the results stay between the smallest and the largest value that there
/// were, of all channels together, as with Keras's `apply_channel_shift`.
pub(super) fn shift(values: &mut [f32], by: f32) {
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

    #[test]
    fn values_stay_between_the_smallest_and_the_largest() {
        let shifted = |by| {
            let mut values = [10.0, 20.0, 90.0];
            shift(&mut values, by);
            values.map(|value| value as i32)
        };
        assert_eq!(
            [shifted(15.0), shifted(-15.0), shifted(500.0)],
            [[25, 35, 90], [10, 10, 75], [90; 3]]
        );
        shift(&mut [], 1.0);
    }
}
