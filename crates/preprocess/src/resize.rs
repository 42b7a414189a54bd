//! Bilinear resizing as TensorFlow does it.

use std::ops::Range;

/// How the source pixels along one axis make the output pixels: for each, a few neighbors and
/// their weights.
///
/// Positions are f32 and computed in TensorFlow's order of operations, so that rounding picks the
/// same neighbors.
pub(crate) struct Axis {
    spans: Vec<Span>,
    weights: Vec<f32>,
}

struct Span {
    first: usize,
    weights: Range<usize>,
}

impl Axis {
    /// The axis that turns `input` into `output` pixels, both at least 1.
    pub(crate) fn new(input: usize, output: usize, antialias: bool) -> Self {
        if antialias {
            Self::triangle(input, output)
        } else {
            Self::linear(input, output)
        }
    }

    /// The two nearest source pixels, however far apart the output pixels are:
    /// `compute_interpolation_weights` with `HalfPixelScaler` in TensorFlow's
    /// `resize_bilinear_op.cc`.
    fn linear(input: usize, output: usize) -> Self {
        let scale = input as f32 / output as f32;
        let mut axis = Self::with_capacity(output, 2);
        for x in 0..output {
            let position = (x as f32 + 0.5) * scale - 0.5;
            let below = position.floor();
            let fraction = position - below;
            // The cast takes a negative position to 0.
            let lower = (below as usize).min(input - 1);
            let upper = (position.ceil() as usize).min(input - 1);
            if lower == upper {
                axis.push(lower, [1.0]);
            } else {
                axis.push(lower, [1.0 - fraction, fraction]);
            }
        }
        axis
    }

    /// A triangle as wide as two output pixels where the image shrinks and two source pixels where
    /// it grows: `ComputeSpansCore` with the triangle kernel in TensorFlow's
    /// `scale_and_translate_op.cc`.
    fn triangle(input: usize, output: usize) -> Self {
        let inverse_scale = 1.0 / (output as f32 / input as f32);
        let radius = inverse_scale.max(1.0);
        let mut axis = Self::with_capacity(output, 2 * radius.ceil() as usize + 1);
        for x in 0..output {
            let center = (x as f32 + 0.5) * inverse_scale;
            let first = ((center - radius - 0.5).ceil() as usize).min(input - 1);
            let last = ((center + radius - 0.5).floor() as usize).min(input - 1);
            let weight =
                |source| (1.0 - ((source as f32 + 0.5 - center) * (1.0 / radius)).abs()).max(0.0);
            let normalize = 1.0 / (first..=last).map(weight).sum::<f32>();
            axis.push(
                first,
                (first..=last).map(|source| weight(source) * normalize),
            );
        }
        axis
    }

    fn with_capacity(output: usize, weights: usize) -> Self {
        Self {
            spans: Vec::with_capacity(output),
            weights: Vec::with_capacity(output * weights),
        }
    }

    fn push(&mut self, first: usize, weights: impl IntoIterator<Item = f32>) {
        let start = self.weights.len();
        self.weights.extend(weights);
        self.spans.push(Span {
            first,
            weights: start..self.weights.len(),
        });
    }

    /// For each output pixel, its first source pixel and the weights from there on.
    pub(crate) fn outputs(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.spans
            .iter()
            .map(|span| (span.first, &self.weights[span.weights.clone()]))
    }
}

/// Writes the weighted sum of as many rows of `pixels` as there are weights to `row`, from row
/// `first` on.
pub(crate) fn blend_rows(pixels: &[u8], first: usize, weights: &[f32], row: &mut [f32]) {
    row.fill(0.0);
    for (source, &weight) in pixels.chunks_exact(row.len()).skip(first).zip(weights) {
        for (sum, &p) in row.iter_mut().zip(source) {
            *sum += weight * f32::from(p);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spans(axis: &Axis) -> Vec<(usize, Vec<f32>)> {
        axis.outputs()
            .map(|(first, weights)| (first, weights.to_vec()))
            .collect()
    }

    #[test]
    fn doubling_weighs_quarters() {
        let expected = [
            (0, vec![1.0]),
            (0, vec![0.75, 0.25]),
            (0, vec![0.25, 0.75]),
            (1, vec![1.0]),
        ];
        assert_eq!(spans(&Axis::new(2, 4, false)), expected);
    }

    #[test]
    fn halving_averages_pairs() {
        assert_eq!(
            spans(&Axis::new(4, 2, false)),
            [(0, vec![0.5, 0.5]), (2, vec![0.5, 0.5])]
        );
    }

    #[test]
    fn halving_with_antialias_reaches_further() {
        let [a, b, c] = [3.0, 3.0, 1.0].map(|w| w / 7.0f32);
        let found = spans(&Axis::new(4, 2, true));
        for (found, expected) in found[0].1.iter().chain(&found[1].1).zip([a, b, c, c, b, a]) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        assert_eq!((found[0].0, found[1].0), (0, 1));
    }

    proptest! {
        #[test]
        fn weights_are_an_average_of_pixels_within_the_image(
            input in 1..3000usize, output in 1..3000usize, antialias: bool,
        ) {
            let axis = Axis::new(input, output, antialias);
            prop_assert_eq!(axis.outputs().count(), output);
            for (first, weights) in axis.outputs() {
                prop_assert!(!weights.is_empty() && first + weights.len() <= input);
                prop_assert!(weights.iter().all(|w| (0.0..=1.0).contains(w)), "{:?}", weights);
                prop_assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            }
        }

        #[test]
        fn neighbors_move_forward_only(input in 1..3000usize, output in 1..3000usize, antialias: bool) {
            let axis = Axis::new(input, output, antialias);
            prop_assert!(axis.outputs().map(|(first, _)| first).is_sorted());
        }
    }
}
