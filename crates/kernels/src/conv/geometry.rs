//! Which input pixels meet which taps of the kernel at each output pixel, forward and transposed.
//!
//! A convolution is separable in this respect: rows and columns are two [`Axis`] lists, `taps[o]`
//! being the pairs (tap, input index) of output `o`. Pairs that fall on padding are not in the list,
//! so that whoever walks it computes nothing for padding. The input gradient is the same thing with
//! the lists read the other way around: an input reads the outputs that it went into, through the
//! kernel in reverse order. One [`ConvGeometry`] serves both passes for this reason.
//!
//! Where all outputs have their taps one step apart, which padding the source with zeros brings
//! about, an axis is also [`Sliding`]: then neighboring outputs are rows of one product at a fixed
//! distance, and the multiplying kernel reads them without a list for each. A transposed convolution
//! slides only with stride 1.

use crate::products::{Products, narrow};
use crate::simd_level::SimdLevel;

use super::shape::Conv2dShape;

/// One axis of a convolution or of its transpose.
pub(crate) struct Axis {
    /// For each output index: (index into the packed kernel, source index), both ascending; padding
    /// is left out.
    pub taps: Vec<Vec<(usize, usize)>>,
    /// Taps of the kernel.
    pub kernel: usize,
    /// Set where padding the source makes the taps of all outputs alike, one step apart.
    pub sliding: Option<Sliding>,
}

/// An axis as windows that slide over a padded source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sliding {
    /// Zeros before the source.
    pub before: usize,
    /// Size of the padded source: what the windows touch.
    pub padded: usize,
    /// Distance from one window to the next.
    pub step: usize,
    /// Distance from one tap to the next.
    pub dilation: usize,
}

/// The sizes along one axis of a convolution.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AxisSizes {
    pub input: usize,
    pub output: usize,
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
    pub padding: usize,
}

impl AxisSizes {
    /// The input index that output `o` reads through tap `k`, unless that is padding.
    pub(crate) fn input_at(&self, o: usize, k: usize) -> Option<usize> {
        (o * self.stride + k * self.dilation)
            .checked_sub(self.padding)
            .filter(|&i| i < self.input)
    }

    /// The outputs for which tap `k` reads the input rather than padding: first and count.
    pub(crate) fn outputs_of(&self, k: usize) -> (usize, usize) {
        let inside = |o: &usize| self.input_at(*o, k).is_some();
        let first = (0..self.output).find(inside).unwrap_or(0);
        (first, (first..self.output).take_while(inside).count())
    }
}

impl Axis {
    /// Taps of all outputs, without those on padding.
    pub(crate) fn count(&self) -> usize {
        self.taps.iter().map(Vec::len).sum()
    }

    /// The forward pass: an output reads inputs.
    pub(crate) fn forward(sizes: AxisSizes) -> Self {
        let AxisSizes {
            kernel,
            stride,
            dilation,
            output,
            padding,
            ..
        } = sizes;
        let taps = (0..output).map(|o| {
            (0..kernel)
                .filter_map(|k| Some((k, sizes.input_at(o, k)?)))
                .collect()
        });
        let padded = (output - 1) * stride + (kernel - 1) * dilation + 1;
        let sliding = Some(Sliding {
            before: padding,
            padded,
            step: stride,
            dilation,
        });
        Self {
            taps: taps.collect(),
            kernel,
            sliding,
        }
    }

    /// The input gradient: an input reads the outputs that it went into, through the kernel in
    /// reverse order.
    pub(crate) fn transposed(sizes: AxisSizes) -> Self {
        let AxisSizes {
            kernel,
            stride,
            dilation,
            output,
            input,
            padding,
        } = sizes;
        let source = |i: usize, k: usize| {
            let from = (i + padding).checked_sub(k * dilation)?;
            (from % stride == 0 && from / stride < output).then_some(from / stride)
        };
        let reversed = |k: usize| kernel - 1 - k;
        let taps = (0..input).map(|i| {
            (0..kernel)
                .filter_map(|r| Some((r, source(i, reversed(r))?)))
                .collect()
        });
        let before = ((kernel - 1) * dilation)
            .checked_sub(padding)
            .filter(|_| stride == 1);
        let padded = input + (kernel - 1) * dilation;
        let sliding = before.map(|before| Sliding {
            before,
            padded,
            step: 1,
            dilation,
        });
        Self {
            taps: taps.collect(),
            kernel,
            sliding,
        }
    }
}

/// A convolution from `source` `[height, width, channels]` to `target`, forward or transposed.
pub(crate) struct ConvGeometry {
    pub y: Axis,
    pub x: Axis,
    pub source: [usize; 3],
    pub target: [usize; 3],
    pub groups: usize,
}

/// Where the source's pixels lie, in floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// From image to image.
    pub image: usize,
    /// From row to row.
    pub row: usize,
    /// From a row's start to its first pixel: zeros.
    pub before: usize,
}

/// The sizes along axis 0 (rows) or 1 (columns).
pub(crate) fn axis_sizes(shape: &Conv2dShape, axis: usize) -> AxisSizes {
    AxisSizes {
        input: [shape.height, shape.width][axis],
        output: shape.output()[axis],
        kernel: shape.kernel[axis],
        stride: shape.stride[axis],
        dilation: shape.dilation[axis],
        padding: shape.padding[axis],
    }
}

impl ConvGeometry {
    /// Input to output.
    pub(crate) fn forward(shape: &Conv2dShape) -> Self {
        let [y, x] = [0, 1].map(|axis| Axis::forward(axis_sizes(shape, axis)));
        let (source, target) = Self::ends(shape);
        Self {
            y,
            x,
            source,
            target,
            groups: shape.groups,
        }
    }

    /// Gradient of the output to gradient of the input.
    pub(crate) fn transposed(shape: &Conv2dShape) -> Self {
        let [y, x] = [0, 1].map(|axis| Axis::transposed(axis_sizes(shape, axis)));
        let (target, source) = Self::ends(shape);
        Self {
            y,
            x,
            source,
            target,
            groups: shape.groups,
        }
    }

    /// Taps of all outputs of an image, without those on padding.
    pub(crate) fn taps(&self) -> usize {
        self.y.count() * self.x.count()
    }

    fn ends(shape: &Conv2dShape) -> ([usize; 3], [usize; 3]) {
        let [rows, columns] = shape.output();
        (
            [shape.height, shape.width, shape.channels],
            [rows, columns, shape.filters],
        )
    }

    /// Copies plain images into `buffer` in `layout`; both that and this geometry count in words of `products`.
    pub(crate) fn pad(
        &self,
        level: SimdLevel,
        products: Products,
        images: &[f32],
        layout: Layout,
        buffer: &mut [f32],
    ) {
        let [height, width, channels] = self.source;
        let floats = width * channels * products.in_word();
        let images = images.chunks_exact(height * floats);
        for (image, buffer) in images.zip(buffer.chunks_exact_mut(layout.image)) {
            layout.rows(buffer, height, width * channels, |y, row| {
                let from = &image[y * floats..][..floats];
                match products {
                    Products::Float32 => row.copy_from_slice(from),
                    Products::Bf16 => narrow(level, from, row),
                }
            });
        }
    }
}

impl Layout {
    /// That of outputs, and their gradients, one after another without zeros.
    pub(crate) fn plain(shape: &Conv2dShape) -> Self {
        let [rows, columns] = shape.output();
        let row = columns * shape.filters;
        Self {
            image: rows * row,
            row,
            before: 0,
        }
    }

    /// This layout of words as one of floats.
    pub(crate) fn in_floats(&self, products: Products) -> Self {
        let floats = products.in_word();
        Self {
            image: self.image * floats,
            row: self.row * floats,
            before: self.before * floats,
        }
    }

    /// Calls `fill(y, row)` for each of an image's rows of `length` floats, and writes zeros around
    /// it.
    pub(crate) fn rows(
        &self,
        image: &mut [f32],
        height: usize,
        length: usize,
        mut fill: impl FnMut(usize, &mut [f32]),
    ) {
        for (y, row) in image.chunks_mut(self.row).take(height).enumerate() {
            let (before, rest) = row.split_at_mut(self.before);
            let (row, after) = rest.split_at_mut(length);
            before.fill(0.0);
            after.fill(0.0);
            fill(y, row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transpose_reads_back_what_the_forward_pass_read() {
        for (input, kernel, stride, dilation, padding) in [
            (7, 3, 1, 1, 1),
            (9, 3, 2, 1, 0),
            (8, 2, 3, 2, 2),
            (1, 1, 1, 1, 3),
        ] {
            let output = (input + 2 * padding - (kernel - 1) * dilation - 1) / stride + 1;
            let sizes = AxisSizes {
                input,
                output,
                kernel,
                stride,
                dilation,
                padding,
            };
            let pairs = |axis: Axis, forward: bool| {
                let mut pairs: Vec<(usize, usize, usize)> = Vec::new();
                for (target, taps) in axis.taps.iter().enumerate() {
                    assert!(taps.is_sorted());
                    for &(k, source) in taps {
                        pairs.push(if forward {
                            (target, source, k)
                        } else {
                            (source, target, kernel - 1 - k)
                        });
                    }
                }
                pairs.sort_unstable();
                pairs
            };
            assert_eq!(
                pairs(Axis::forward(sizes), true),
                pairs(Axis::transposed(sizes), false)
            );
        }
    }

    #[test]
    fn padding_wider_than_the_input_leaves_outputs_without_taps() {
        let sizes = AxisSizes {
            input: 1,
            output: 7,
            kernel: 1,
            stride: 1,
            dilation: 1,
            padding: 3,
        };
        let axis = Axis::forward(sizes);
        assert_eq!(
            axis.taps.iter().map(Vec::len).collect::<Vec<_>>(),
            [0, 0, 0, 1, 0, 0, 0]
        );
        assert_eq!(sizes.outputs_of(0), (3, 1));
    }
}
