//! Resizing in f32, as TensorFlow and PyTorch do it.

use std::f32::consts::PI;
use std::ops::Range;

use kiln_model::{Arithmetic, Filter, Resize};

use crate::geometry::Window;

/// How the source pixels along one axis make the output pixels: for each, a few neighbors and
/// their weights.
///
/// Positions are f32 and computed in the peer's order of operations, so that rounding picks the
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
    /// The axis that turns the pixels that are resized, counted from the first of them, into those of
    /// the window.
    pub(crate) fn new(window: Window, resize: &Resize) -> Self {
        let input = window.of;
        let antialias = resize.antialias;
        match (resize.filter, resize.arithmetic) {
            (Filter::Nearest, arithmetic) => Self::nearest(input, window, arithmetic),
            (Filter::Bilinear, _) if antialias => Self::widened(input, window, triangle, 1.0, true),
            (Filter::Bilinear, _) => Self::linear(input, window),
            (Filter::Bicubic, _) if antialias => Self::widened(input, window, keys, 2.0, true),
            (Filter::Bicubic, Arithmetic::Torch) => Self::torch_cubic(input, window),
            (Filter::Bicubic, Arithmetic::TensorFlow | Arithmetic::Pillow) => {
                Self::tabled_cubic(input, window)
            }
            (Filter::Lanczos, _) => Self::widened(input, window, lanczos, 3.0, antialias),
        }
    }

    /// One source pixel for each. TensorFlow's by centers (`HalfPixelScalerForNN` in
    /// `resize_nearest_neighbor_op.cc`), PyTorch's by corners
    /// (`nearest_neighbor_compute_source_index`), Pillow's by centers in f64, summed up
    /// (`ImagingScaleAffine` in `Geometry.c`).
    fn nearest(input: usize, window: Window, arithmetic: Arithmetic) -> Self {
        let scale = input as f32 / window.resized as f32;
        let step = input as f64 / window.resized as f64;
        let mut summed = window.from as f64 + step * 0.5;
        let mut axis = Self::with_capacity(window.len, 1);
        for x in 0..window.skip + window.len {
            let source = match arithmetic {
                Arithmetic::TensorFlow => ((x as f32 + 0.5) * scale) as usize,
                Arithmetic::Torch => (x as f32 * scale) as usize,
                Arithmetic::Pillow => summed as usize - window.from,
            };
            summed += step;
            if x >= window.skip {
                axis.push(source.min(input - 1), [1.0]);
            }
        }
        axis
    }

    /// The two nearest source pixels, however far apart the output pixels are:
    /// `compute_interpolation_weights` with `HalfPixelScaler` in TensorFlow's
    /// `resize_bilinear_op.cc`; PyTorch's `upsample_bilinear2d` is the same.
    fn linear(input: usize, window: Window) -> Self {
        let scale = input as f32 / window.resized as f32;
        let mut axis = Self::with_capacity(window.len, 2);
        for x in window.outputs() {
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

    /// A kernel of this radius, as many times wider as the image shrinks where that is asked for:
    /// `ComputeSpansCore` in TensorFlow's `scale_and_translate_op.cc`; PyTorch's
    /// `_compute_indices_min_size_weights_aa` is the same.
    fn widened(
        input: usize,
        window: Window,
        kernel: fn(f32) -> f32,
        radius: f32,
        antialias: bool,
    ) -> Self {
        let inverse_scale = 1.0 / (window.resized as f32 / input as f32);
        let width = if antialias {
            inverse_scale.max(1.0)
        } else {
            1.0
        };
        let radius = radius * width;
        let mut axis = Self::with_capacity(window.len, 2 * radius.ceil() as usize + 1);
        for x in window.outputs() {
            let center = (x as f32 + 0.5) * inverse_scale;
            let first = ((center - radius - 0.5).ceil() as usize).min(input - 1);
            let last = ((center + radius - 0.5).floor() as usize).min(input - 1);
            let weight = |source| kernel(((source as f32 + 0.5 - center) * (1.0 / width)).abs());
            let normalize = 1.0 / (first..=last).map(weight).sum::<f32>();
            axis.push(
                first,
                (first..=last).map(|source| weight(source) * normalize),
            );
        }
        axis
    }

    /// The four nearest source pixels by a table of 1,024 steps between two pixels; beyond the edge
    /// there is nothing: `GetWeightsAndIndices` with Keys's kernel in TensorFlow's
    /// `resize_bicubic_op.cc`.
    fn tabled_cubic(input: usize, window: Window) -> Self {
        const STEPS: f32 = 1024.0;
        let scale = input as f32 / window.resized as f32;
        let mut axis = Self::with_capacity(window.len, 4);
        for x in window.outputs() {
            let position = (x as f32 + 0.5) * scale - 0.5;
            let below = position.floor();
            let fraction = ((position - below) * STEPS).round_ties_even() / STEPS;
            let weights = [1.0 + fraction, fraction, 1.0 - fraction, 2.0 - fraction].map(keys);
            axis.push_inside(below as isize - 1, weights, input);
        }
        axis
    }

    /// The four nearest source pixels, those at the edge for what is beyond it: PyTorch's
    /// `upsample_bicubic2d`, whose kernel has a = -0.75.
    fn torch_cubic(input: usize, window: Window) -> Self {
        let scale = input as f32 / window.resized as f32;
        let last = input as isize - 1;
        let mut axis = Self::with_capacity(window.len, 4);
        for x in window.outputs() {
            let position = (x as f32 + 0.5) * scale - 0.5;
            let below = position.floor();
            let fraction = position - below;
            let from = below as isize - 1;
            let first = from.clamp(0, last);
            let count = ((from + 3).clamp(0, last) - first + 1) as usize;
            let mut weights = [0.0; 4];
            let distances = [1.0 + fraction, fraction, 1.0 - fraction, 2.0 - fraction];
            for (source, distance) in (from..).zip(distances) {
                weights[(source.clamp(0, last) - first) as usize] += cubic(distance, -0.75);
            }
            axis.push(first as usize, weights.into_iter().take(count));
        }
        axis
    }

    /// Adds an output pixel of those of four source pixels, from one on, that are within the image;
    /// their weights are made to add up to 1.
    fn push_inside(&mut self, from: isize, weights: [f32; 4], input: usize) {
        let inside = |at: &isize| (0..input as isize).contains(&(from + at));
        let within: Vec<isize> = (0..4).filter(inside).collect();
        let sum: f32 = within.iter().map(|&at| weights[at as usize]).sum();
        let first = from + within.first().copied().unwrap_or_default();
        self.push(
            first as usize,
            within.iter().map(|&at| weights[at as usize] / sum),
        );
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

/// The triangle of bilinear interpolation, at a distance of at least 0.
fn triangle(distance: f32) -> f32 {
    (1.0 - distance).max(0.0)
}

/// Keys's cubic kernel with this `a` (Keys, 1981, equation 15), at a distance of at least 0.
fn cubic(x: f32, a: f32) -> f32 {
    if x < 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    } else {
        0.0
    }
}

/// The cubic kernel of TensorFlow, Pillow and PyTorch's antialiasing.
fn keys(distance: f32) -> f32 {
    cubic(distance, -0.5)
}

/// A sinc of radius 3 windowed by a sinc.
fn lanczos(x: f32) -> f32 {
    const RADIUS: f32 = 3.0;
    if x > RADIUS {
        0.0
    } else if x <= 1e-3 {
        1.0
    } else {
        RADIUS * (PI * x).sin() * (PI * x / RADIUS).sin() / (PI * PI * x * x)
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

    fn axis(input: usize, output: usize, antialias: bool) -> Axis {
        let resize = Resize {
            antialias,
            ..Resize::default()
        };
        Axis::new(all(input, output), &resize)
    }

    fn all(input: usize, output: usize) -> Window {
        Window::stretched(input, output)
    }

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
        assert_eq!(spans(&axis(2, 4, false)), expected);
    }

    #[test]
    fn halving_averages_pairs() {
        assert_eq!(
            spans(&axis(4, 2, false)),
            [(0, vec![0.5, 0.5]), (2, vec![0.5, 0.5])]
        );
    }

    #[test]
    fn halving_with_antialias_reaches_further() {
        let [a, b, c] = [3.0, 3.0, 1.0].map(|w| w / 7.0f32);
        let found = spans(&axis(4, 2, true));
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
            let axis = axis(input, output, antialias);
            prop_assert_eq!(axis.outputs().count(), output);
            for (first, weights) in axis.outputs() {
                prop_assert!(!weights.is_empty() && first + weights.len() <= input);
                prop_assert!(weights.iter().all(|w| (0.0..=1.0).contains(w)), "{:?}", weights);
                prop_assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            }
        }

        #[test]
        fn neighbors_move_forward_only(input in 1..3000usize, output in 1..3000usize, antialias: bool) {
            let axis = axis(input, output, antialias);
            prop_assert!(axis.outputs().map(|(first, _)| first).is_sorted());
        }
    }
}
