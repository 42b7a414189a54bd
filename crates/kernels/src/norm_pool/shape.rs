//! The sizes of a pooling, checked once, and where its windows lie.
//!
//! A window is a first element and a list of offsets from there, in scan order (row, column). Windows
//! of equal extent share the list: inside an image that is one list for all of them, and a few more
//! for those that reach over an edge. The passes then walk a window of any size, stride and padding
//! by one loop without conditions.

use std::ops::{Deref, Range};

use crate::error::{ShapeError, elements};
use crate::parallel::{self, Shared, share};

/// A pooling window and its steps, each down and across.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pool2d {
    /// Rows and columns of the window.
    pub window: [usize; 2],
    /// Steps from window to window.
    pub stride: [usize; 2],
    /// Rows above, columns to the left, rows below and columns to the right that windows reach over
    /// the edge. What is there is no part of a window: a maximum is of what lies in the image, and
    /// so is a mean.
    pub padding: [usize; 4],
}

impl Pool2d {
    /// Square windows side by side.
    pub fn square(size: usize) -> Self {
        Self {
            window: [size; 2],
            stride: [size; 2],
            padding: [0; 4],
        }
    }
}

/// The sizes of a pooling, alone or fused with batch normalization and dropout. Without pooling,
/// take `Pool2d::square(1)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NormPool {
    /// Images.
    pub batch: usize,
    /// Input rows.
    pub height: usize,
    /// Input columns.
    pub width: usize,
    /// Channels.
    pub channels: usize,
    /// The window.
    pub pool: Pool2d,
}

/// A [`NormPool`] whose sizes fit together: the only kind that the kernels take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NormPoolShape {
    sizes: NormPool,
    output: [usize; 2],
}

const OPERATION: &str = "pool2d";

/// The most elements in a window: a place in it has 15 bits.
const MOST_ELEMENTS: usize = 1 << 15;

impl NormPool {
    /// Checks that the sizes fit together.
    pub fn checked(self) -> Result<NormPoolShape, ShapeError> {
        let Pool2d {
            window,
            stride,
            padding,
        } = self.pool;
        let named = [
            ("batch", self.batch),
            ("height", self.height),
            ("width", self.width),
            ("channels", self.channels),
            ("window rows", window[0]),
            ("window columns", window[1]),
            ("stride down", stride[0]),
            ("stride across", stride[1]),
        ];
        if let Some(&(name, _)) = named.iter().find(|(_, size)| *size == 0) {
            return Err(ShapeError::Zero {
                operation: OPERATION,
                name,
            });
        }
        let mut output = [0; 2];
        for (axis, (name, size)) in [("rows", self.height), ("columns", self.width)]
            .into_iter()
            .enumerate()
        {
            let (window, before, after) = (window[axis], padding[axis], padding[axis + 2]);
            if before.max(after) >= window {
                let padding = before.max(after);
                return Err(ShapeError::PoolPadding {
                    operation: OPERATION,
                    axis: name,
                    window,
                    padding,
                });
            }
            let size = size.saturating_add(before).saturating_add(after);
            if window > size {
                return Err(ShapeError::Window {
                    operation: OPERATION,
                    axis: name,
                    window,
                    size,
                });
            }
            output[axis] = (size - window) / stride[axis] + 1;
        }
        elements(
            OPERATION,
            &[self.batch, self.height, self.width, self.channels],
        )?;
        let elements = window[0] * window[1];
        if elements > MOST_ELEMENTS {
            return Err(ShapeError::WindowElements {
                operation: OPERATION,
                elements,
                most: MOST_ELEMENTS,
            });
        }
        Ok(NormPoolShape {
            sizes: self,
            output,
        })
    }
}

impl NormPoolShape {
    /// Rows and columns of the output.
    pub fn output(&self) -> [usize; 2] {
        self.output
    }

    /// Elements of the input, `[batch, height, width, channels]`.
    pub fn input_len(&self) -> usize {
        self.batch * self.image_in()
    }

    /// Elements of the output, `[batch, output rows, output columns, channels]`.
    pub fn output_len(&self) -> usize {
        self.batch * self.image_out()
    }

    /// Whether each output is of one input, its own: there is no pooling.
    pub(crate) fn pointwise(&self) -> bool {
        self.pool == Pool2d::square(1)
    }

    /// Elements of an input image.
    pub(crate) fn image_in(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Elements of an output image.
    pub(crate) fn image_out(&self) -> usize {
        self.output[0] * self.output[1] * self.channels
    }

    /// Where the windows of an image lie.
    pub(crate) fn windows(&self) -> Windows {
        Windows::new(self)
    }
}

impl Deref for NormPoolShape {
    type Target = NormPool;

    fn deref(&self) -> &NormPool {
        &self.sizes
    }
}

/// Every window of an image, in scan order. Of one that reaches over an edge, only what lies in the
/// image is part.
#[derive(Debug, Clone)]
pub(crate) struct Windows {
    /// For each extent that windows have: the distances of its elements from the first one, in scan
    /// order.
    offsets: Vec<Vec<usize>>,
    /// First element in the image, and which of the offsets.
    windows: Vec<(usize, usize)>,
}

impl Windows {
    pub fn new(shape: &NormPoolShape) -> Self {
        let [rows, columns] = [spans(shape, 0, shape.height), spans(shape, 1, shape.width)];
        let mut extents: Vec<[usize; 2]> = Vec::new();
        let mut windows = Vec::with_capacity(rows.len() * columns.len());
        for [top, height] in rows {
            for &[left, width] in &columns {
                let extent = [height, width];
                let at = extents
                    .iter()
                    .position(|known| *known == extent)
                    .unwrap_or_else(|| {
                        extents.push(extent);
                        extents.len() - 1
                    });
                windows.push(((top * shape.width + left) * shape.channels, at));
            }
        }
        let offset = |y: usize, x: usize| (y * shape.width + x) * shape.channels;
        let of_extent = |[height, width]: [usize; 2]| {
            (0..height)
                .flat_map(|y| (0..width).map(move |x| offset(y, x)))
                .collect()
        };
        Self {
            offsets: extents.into_iter().map(of_extent).collect(),
            windows,
        }
    }

    /// Each window's first element in the image, and the distances of all its elements from there.
    #[inline(always)]
    pub fn iter(&self) -> impl Iterator<Item = (usize, &[usize])> {
        self.range(0..self.windows.len())
    }

    /// The same for the windows of a range.
    #[inline(always)]
    pub fn range(&self, range: Range<usize>) -> impl Iterator<Item = (usize, &[usize])> {
        self.windows[range]
            .iter()
            .map(|&(first, offsets)| (first, &self.offsets[offsets][..]))
    }
}

/// Runs `work(input from its first pixel on, distances of its pixels from there, its pixel of output)` for each window,
/// in parallel.
pub(crate) fn by_window(
    shape: &NormPoolShape,
    input: &[f32],
    output: &mut [f32],
    work: impl Fn(&[f32], &[usize], &mut [f32]) + Sync,
) {
    let (windows, channels, length) = (shape.windows(), shape.channels, shape.image_in());
    let [rows, columns] = shape.output();
    let in_image = rows * columns;
    let output = Shared::new(output);
    let all = shape.batch * in_image;
    let threads = parallel::threads_for_light(input.len()).min(all);
    parallel::tasks(threads, |task, tasks| {
        let mine = share(all, task, tasks);
        let mut at = mine.start;
        while at < mine.end {
            let (image, from) = (at / in_image, at % in_image);
            let until = (from + mine.end - at).min(in_image);
            let input = &input[image * length..][..length];
            // SAFETY: each window is one task's.
            let output = unsafe { output.slice(at * channels, (until - from) * channels) };
            let pixels = output.chunks_exact_mut(channels);
            for ((first, offsets), to) in windows.range(from..until).zip(pixels) {
                work(&input[first..], offsets, to);
            }
            at += until - from;
        }
    });
}

/// First position and length of each window along an axis.
fn spans(shape: &NormPoolShape, axis: usize, size: usize) -> Vec<[usize; 2]> {
    let (window, stride, before) = (
        shape.pool.window[axis],
        shape.pool.stride[axis],
        shape.pool.padding[axis],
    );
    let span = |at: usize| {
        let start = (at * stride).saturating_sub(before);
        [start, (at * stride + window - before).min(size) - start]
    };
    (0..shape.output()[axis]).map(span).collect()
}
