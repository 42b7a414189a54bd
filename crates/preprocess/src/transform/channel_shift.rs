//! All values up or down.

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
