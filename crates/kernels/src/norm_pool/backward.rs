//! The gradient through dropout, pooling, activation and normalization.
//!
//! With `d` the gradient of the normalized values, zero where a value was no maximum, was
//! dropped or lay outside the activation's range, that of the input is by channel (Ioffe and Szegedy, "Batch Normalization", 2015):
//!
//! ```text
//! dx = gamma / σ · ( d  -  mean(d)  -  (x - mean) / σ² · mean(d · (x - mean)) )        σ² = variance + epsilon
//! ```
//!
//! The two means are over the whole batch, so there are two passes. The first reads only the
//! outputs' gradients, the places of the maxima and the inputs there: `d` is zero elsewhere, and a
//! quarter of the input (for 2×2 windows) is enough. The second goes image by image, into whatever
//! buffer the caller has: inside a convolution's backward pass the gradient of a large activation
//! never reaches memory.
//!
//! Outputs are spread over windows by comparing each place with the one of the maximum, 16 channels
//! at a time: adding zeros is faster than scattered stores, and right where windows overlap. Without
//! pooling there is nothing to spread, and the second pass is one loop.

use crate::parallel::{self, Scratch, Shared, share};
use crate::simd_level::{SimdLevel, multiversioned};

use super::forward::lanes;
use super::shape::{NormPoolShape, Windows};
use super::state::{BLOCKED, NormPoolState, sum_images};

/// The gradient that a [`norm_pool_forward`](crate::norm_pool_forward) passes back to its input,
/// not yet written out.
///
/// Creating one makes the sums that batch normalization needs over the whole batch. The gradient
/// itself is then made image by image: by [`NormPoolGradient::write`], or inside
/// [`conv2d_backward`](crate::conv2d_backward), where it never leaves the cache.
#[derive(Debug)]
pub struct NormPoolGradient<'a> {
    shape: NormPoolShape,
    input: &'a [f32],
    state: &'a NormPoolState,
    gradient: &'a [f32],
    windows: Windows,
    sums: Vec<f64>,
    /// `scale * (d - constant - (x - mean) * slope)` by channel, or `d` alone without
    /// normalization.
    coefficients: Option<Coefficients>,
}

#[derive(Debug)]
struct Coefficients {
    scale: Vec<f32>,
    constant: Vec<f32>,
    slope: Vec<f32>,
}

impl<'a> NormPoolGradient<'a> {
    /// Takes what the forward pass took and left: `gamma` (if it normalized), `input`, `state`, and
    /// the output's `gradient`.
    ///
    /// # Panics
    ///
    /// When a slice is not of the shape's length, or the state is another forward pass's.
    pub fn new(
        shape: &NormPoolShape,
        gamma: Option<&[f32]>,
        input: &'a [f32],
        state: &'a NormPoolState,
        gradient: &'a [f32],
    ) -> Self {
        assert_eq!(input.len(), shape.input_len(), "pool2d: input");
        assert_eq!(
            gradient.len(),
            shape.output_len(),
            "pool2d: output gradient"
        );
        let places = state.argmax.len();
        assert!(
            places == shape.output_len() || (places == 0 && shape.pointwise()),
            "pool2d: state"
        );
        let maxima = if gamma.is_some() && !shape.pointwise() {
            shape.output_len()
        } else {
            0
        };
        assert_eq!(state.maxima.len(), maxima, "batch norm: state");
        assert_eq!(
            state.mean.len(),
            gamma.map_or(0, <[f32]>::len),
            "batch norm: state"
        );
        let windows = shape.windows();
        let mut this = Self {
            shape: *shape,
            input,
            state,
            gradient,
            windows,
            sums: Vec::new(),
            coefficients: None,
        };
        if let Some(gamma) = gamma {
            assert_eq!(gamma.len(), shape.channels, "batch norm: gamma");
            this.sums = this.reduce();
            this.coefficients = Some(this.coefficients(gamma));
        }
        this
    }

    /// Writes the gradients of gamma and beta, `[channels]` each.
    ///
    /// # Panics
    ///
    /// When there was no normalization, or a slice is not of that length.
    pub fn write_parameters(&self, gamma: &mut [f32], beta: &mut [f32]) {
        assert!(self.coefficients.is_some(), "batch norm: there was none");
        assert_eq!(
            (gamma.len(), beta.len()),
            (self.shape.channels, self.shape.channels),
            "batch norm: gradients"
        );
        let (constant, product) = self.sums.split_at(self.shape.channels);
        beta.iter_mut()
            .zip(constant)
            .for_each(|(to, &sum)| *to = sum as f32);
        for ((to, &sum), &inverse) in gamma.iter_mut().zip(product).zip(&self.state.inverse) {
            *to = (sum * f64::from(inverse)) as f32;
        }
    }

    /// Writes the gradient of the residual, `[batch, height, width, channels]`: that before the
    /// activation.
    ///
    /// # Panics
    ///
    /// When there was a pooling, or the slice is not of the shape's length.
    pub fn write_residual(&self, to: &mut [f32]) {
        assert!(
            self.shape.pointwise(),
            "pool2d: a residual needs a window of 1"
        );
        self.write_images(to, |level, image, to| {
            let (gradient, argmax) = self.output_image(image);
            unblocked(level, self.state.scale, gradient, argmax, to);
        });
    }

    /// Writes the gradient of the input, `[batch, height, width, channels]`.
    ///
    /// # Panics
    ///
    /// When the slice is not of the shape's length.
    pub fn write(&self, to: &mut [f32]) {
        self.write_images(to, |level, image, to| self.write_image(level, image, to));
    }

    /// Runs `write(level, image, its part of to)` for each image, in parallel.
    fn write_images(&self, to: &mut [f32], write: impl Fn(SimdLevel, usize, &mut [f32]) + Sync) {
        assert_eq!(to.len(), self.shape.input_len(), "pool2d: input gradient");
        let level = SimdLevel::current();
        let length = self.shape.image_in();
        let to = Shared::new(to);
        parallel::tasks(
            parallel::threads_for(self.input.len()).min(self.shape.batch),
            |task, tasks| {
                for image in share(self.shape.batch, task, tasks) {
                    // SAFETY: each image is one task's.
                    write(level, image, unsafe { to.slice(image * length, length) });
                }
            },
        );
    }

    /// The shape.
    pub(crate) fn shape(&self) -> &NormPoolShape {
        &self.shape
    }

    /// One image of the forward pass's input.
    pub(crate) fn input_image(&self, image: usize) -> &[f32] {
        &self.input[image * self.shape.image_in()..][..self.shape.image_in()]
    }

    /// One image of the output's gradient, and its places, if there are any.
    fn output_image(&self, image: usize) -> (&[f32], Option<&[u16]>) {
        let length = self.shape.image_out();
        let range = image * length..(image + 1) * length;
        (&self.gradient[range.clone()], self.state.argmax.get(range))
    }

    /// Writes one image of the gradient.
    pub(crate) fn write_image(&self, level: SimdLevel, image: usize, to: &mut [f32]) {
        /// Floats of a stretch that stays in L1 between two loops.
        const STRETCH: usize = 2048;
        let (gradient, argmax) = self.output_image(image);
        let input = self.input_image(image);
        if !self.shape.pointwise() {
            scatter(level, self, gradient, argmax.unwrap_or_default(), to);
            self.normalize(level, input, to);
            return;
        }
        let channels = self.shape.channels;
        let length = (STRETCH / channels).max(1) * channels;
        for (index, to) in to.chunks_mut(length).enumerate() {
            let range = index * length..index * length + to.len();
            let argmax = argmax.map(|argmax| &argmax[range.clone()]);
            unblocked(
                level,
                self.state.scale,
                &gradient[range.clone()],
                argmax,
                to,
            );
            self.normalize(level, &input[range], to);
        }
    }

    /// From the gradient of the normalized values of some pixels to that of the `input`.
    fn normalize(&self, level: SimdLevel, input: &[f32], to: &mut [f32]) {
        if let Some(coefficients) = &self.coefficients {
            normalize(level, coefficients, &self.state.mean, input, to);
        }
    }

    /// By channel: the sum of the gradient, then of its product with `x - mean`.
    fn reduce(&self) -> Vec<f64> {
        let level = SimdLevel::current();
        let channels = self.shape.channels;
        let length = self.shape.image_out();
        sum_images(&self.shape, |image, sums| {
            let mut part = Scratch::zeros(2 * channels);
            let (gradient, argmax) = self.output_image(image);
            let maxima = if self.shape.pointwise() {
                self.input_image(image)
            } else {
                &self.state.maxima[image * length..(image + 1) * length]
            };
            match argmax {
                Some(argmax) => {
                    reduce_image(level, self.state, gradient, argmax, maxima, &mut part);
                }
                None => reduce_unblocked(level, self.state, gradient, maxima, &mut part),
            }
            sums.iter_mut()
                .zip(part.iter())
                .for_each(|(sum, &part)| *sum += f64::from(part));
        })
    }

    fn coefficients(&self, gamma: &[f32]) -> Coefficients {
        let inverse = &self.state.inverse;
        let scale = gamma
            .iter()
            .zip(inverse)
            .map(|(gamma, inverse)| gamma * inverse)
            .collect();
        let count = (self.shape.batch * self.shape.height * self.shape.width) as f64;
        let share = if self.state.of_batch {
            1.0 / count
        } else {
            0.0
        };
        let (constant, product) = self.sums.split_at(self.shape.channels);
        let constant = constant.iter().map(|sum| (sum * share) as f32).collect();
        let slope = product
            .iter()
            .zip(inverse)
            .map(|(sum, &i)| (sum * share * f64::from(i).powi(2)) as f32)
            .collect();
        Coefficients {
            scale,
            constant,
            slope,
        }
    }
}

multiversioned! {
    fn reduce_image(state: &NormPoolState, gradient: &[f32], argmax: &[u16], maxima: &[f32], sums: &mut [f32]) =
        reduce_image_body
}

#[inline(always)]
fn reduce_image_body(
    state: &NormPoolState,
    gradient: &[f32],
    argmax: &[u16],
    maxima: &[f32],
    sums: &mut [f32],
) {
    let channels = state.mean.len();
    let (constant, product) = sums.split_at_mut(channels);
    let pixels = gradient
        .chunks_exact(channels)
        .zip(argmax.chunks_exact(channels))
        .zip(maxima.chunks_exact(channels));
    for ((gradient, argmax), maxima) in pixels {
        let (constant, product, mean) = (
            &mut constant[..channels],
            &mut product[..channels],
            &state.mean[..channels],
        );
        for c in 0..channels {
            let passed = if argmax[c] & BLOCKED == 0 {
                gradient[c] * state.scale
            } else {
                0.0
            };
            constant[c] += passed;
            product[c] += passed * (maxima[c] - mean[c]);
        }
    }
}

multiversioned! {
    fn reduce_unblocked(state: &NormPoolState, gradient: &[f32], input: &[f32], sums: &mut [f32]) =
        reduce_unblocked_body
}

/// [`reduce_image`] where all gradients pass as they are.
#[inline(always)]
fn reduce_unblocked_body(state: &NormPoolState, gradient: &[f32], input: &[f32], sums: &mut [f32]) {
    let channels = state.mean.len();
    let (constant, product) = sums.split_at_mut(channels);
    let pixels = gradient
        .chunks_exact(channels)
        .zip(input.chunks_exact(channels));
    for (gradient, input) in pixels {
        let (constant, product, mean) = (
            &mut constant[..channels],
            &mut product[..channels],
            &state.mean[..channels],
        );
        for c in 0..channels {
            constant[c] += gradient[c];
            product[c] += gradient[c] * (input[c] - mean[c]);
        }
    }
}

multiversioned! {
    fn unblocked(scale: f32, gradient: &[f32], argmax: Option<&[u16]>, to: &mut [f32]) = unblocked_body
}

/// Without pooling: what dropout and activation let through.
#[inline(always)]
fn unblocked_body(scale: f32, gradient: &[f32], argmax: Option<&[u16]>, to: &mut [f32]) {
    let Some(argmax) = argmax else {
        to.copy_from_slice(gradient);
        return;
    };
    for ((to, &gradient), &place) in to.iter_mut().zip(gradient).zip(argmax) {
        *to = if place & BLOCKED == 0 {
            gradient * scale
        } else {
            0.0
        };
    }
}

/// What dropout and activation let through of `L` channels' gradients, and which place of the window gets it.
#[inline(always)]
fn passed<const L: usize>(
    scale: f32,
    channel: usize,
    gradient: &[f32],
    argmax: &[u16],
) -> ([f32; L], [u32; L]) {
    let gradient = lanes::<L>(gradient, channel);
    let places: [u16; L] = *argmax[channel..]
        .first_chunk()
        .expect("as many places as gradients");
    let mut passed = [0.0; L];
    for l in 0..L {
        passed[l] = if places[l] & BLOCKED == 0 {
            gradient[l] * scale
        } else {
            0.0
        };
    }
    (passed, places.map(|place| u32::from(place & !BLOCKED)))
}

multiversioned! {
    fn scatter(this: &NormPoolGradient, gradient: &[f32], argmax: &[u16], to: &mut [f32]) = scatter_body
}

/// Adds each output's gradient to the input that was its maximum.
#[inline(always)]
fn scatter_body(this: &NormPoolGradient, gradient: &[f32], argmax: &[u16], to: &mut [f32]) {
    to.fill(0.0);
    let channels = this.shape.channels;
    let pixels = gradient
        .chunks_exact(channels)
        .zip(argmax.chunks_exact(channels));
    for ((first, offsets), (gradient, argmax)) in this.windows.iter().zip(pixels) {
        let to = &mut to[first..];
        let mut channel = 0;
        while channel + 16 <= channels {
            scatter_lanes::<16>(this, offsets, channel, gradient, argmax, to);
            channel += 16;
        }
        while channel < channels {
            scatter_lanes::<1>(this, offsets, channel, gradient, argmax, to);
            channel += 1;
        }
    }
}

#[inline(always)]
fn scatter_lanes<const L: usize>(
    this: &NormPoolGradient,
    offsets: &[usize],
    channel: usize,
    gradient: &[f32],
    argmax: &[u16],
    to: &mut [f32],
) {
    let (gradient, places) = passed::<L>(this.state.scale, channel, gradient, argmax);
    for (place, &offset) in offsets.iter().enumerate() {
        let to = &mut to[offset + channel..][..L];
        for l in 0..L {
            to[l] += if places[l] == place as u32 {
                gradient[l]
            } else {
                0.0
            };
        }
    }
}

multiversioned! {
    fn normalize(coefficients: &Coefficients, mean: &[f32], input: &[f32], to: &mut [f32]) = normalize_body
}

/// From the gradient of the normalized values to that of the input.
#[inline(always)]
fn normalize_body(coefficients: &Coefficients, mean: &[f32], input: &[f32], to: &mut [f32]) {
    let channels = mean.len();
    let Coefficients {
        scale,
        constant,
        slope,
    } = coefficients;
    let (scale, constant, slope) = (
        &scale[..channels],
        &constant[..channels],
        &slope[..channels],
    );
    for (to, input) in to
        .chunks_exact_mut(channels)
        .zip(input.chunks_exact(channels))
    {
        for c in 0..channels {
            to[c] = scale[c] * (to[c] - constant[c] - (input[c] - mean[c]) * slope[c]);
        }
    }
}
