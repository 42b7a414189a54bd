use super::axis::{Axis, AxisSizes};
use super::shape::Conv2dShape;

/// A convolution from `source` `[height, width, channels]` to `target`, forward or transposed.
pub(crate) struct Problem {
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

impl Problem {
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

    fn ends(shape: &Conv2dShape) -> ([usize; 3], [usize; 3]) {
        let [rows, columns] = shape.output();
        (
            [shape.height, shape.width, shape.channels],
            [rows, columns, shape.filters],
        )
    }

    /// Copies plain images into `buffer` in `layout`.
    pub(crate) fn pad(&self, images: &[f32], layout: Layout, buffer: &mut [f32]) {
        let [height, width, channels] = self.source;
        let images = images.chunks_exact(height * width * channels);
        for (image, buffer) in images.zip(buffer.chunks_exact_mut(layout.image)) {
            layout.rows(buffer, height, width * channels, |y, row| {
                row.copy_from_slice(&image[y * width * channels..][..width * channels]);
            });
        }
    }
}

impl Layout {
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
