//! The weight gradient: `Σ_pixels input[pixel + tap] · gradient[pixel]`, in tiles of consecutive
//! weights.
//!
//! The result is laid out as the packed weights of the forward pass are, `[row][filter]` by panel,
//! where a row is (kernel row, kernel column, channel). A tile is up to 14 consecutive rows × one
//! panel of filters, in registers during the whole sum over the pixels of a group of images. At each
//! pixel, the tile's rows are consecutive floats of the input and its columns consecutive floats of
//! the gradient, so that neither is copied; pixels whose tap falls on padding are left out of the
//! walk. Without padding across, dilation and groups, a whole kernel row is contiguous, and tiles may
//! cross its columns.
//!
//! With products of bfloat16 ([`Products`]), a step takes two neighboring pixels of a row, and both
//! operands are copied: an element becomes a word of it and of the same channel or filter at the next
//! output pixel. A convolution of single pixels has no rows: all pixels of all images are one.
//!
//! A pass over many pixels per tile makes the sums long and the stores few; few images at a time
//! keep both operands in cache for all tiles.

use std::ops::Range;

use crate::micro::{Kernels, Outer, Walk};
use crate::parallel::{self, Scratch, Shared};
use crate::products::{Products, pair};
use crate::simd_level::SimdLevel;

use super::geometry::{Layout, axis_sizes};
use super::pack::{Panel, Panels, Staging, forward_panels};
use super::shape::Conv2dShape;

/// A tile of the weight gradient: consecutive rows (kernel row, kernel column, channel) of one
/// group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WeightTile {
    group: usize,
    row: usize,
    rows: usize,
    /// First element in an input image.
    a: usize,
    /// First output pixel that sees the input through the tile's taps, and how many do: (row,
    /// rows), (column, columns).
    y: (usize, usize),
    x: (usize, usize),
}

/// The tiles of all rows, in order.
pub(crate) struct WeightTiles {
    level: SimdLevel,
    products: Products,
    kernels: Kernels,
    tiles: Vec<WeightTile>,
    /// The gradient's rows and columns: those of the forward pass's packed weights.
    panels: Panels,
    /// Strides of the input: image, row (per output row), column (per output column).
    input: [usize; 3],
    /// Rows and columns of the output.
    output: [usize; 2],
    /// Rows of the input, columns, channels, and input columns from an output column to the next.
    pixels: [usize; 4],
    /// Whether each output pixel reads the input pixel in its place, and no other.
    pointwise: bool,
}

impl WeightTiles {
    pub(crate) fn new(shape: &Conv2dShape, level: SimdLevel) -> Self {
        let products = shape.products.at(level, 2);
        let kernels = &Kernels::of(level, products);
        let [height, width] = [0, 1].map(|axis| axis_sizes(shape, axis));
        let channels = shape.channels / shape.groups;
        let [kernel_rows, kernel_columns] = shape.kernel;
        let row_length = shape.width * shape.channels;
        // Without padding, dilation or groups, a kernel row meets consecutive floats of the input.
        let whole = (0, width.output);
        let joined = shape.dilation[1] == 1
            && shape.groups == 1
            && (0..kernel_columns).all(|k| width.outputs_of(k) == whole);
        let (across, length) = if joined {
            (1, kernel_columns * channels)
        } else {
            (kernel_columns, channels)
        };
        let mut tiles = Vec::new();
        for group in 0..shape.groups {
            for ky in 0..kernel_rows {
                let y = height.outputs_of(ky);
                for kx in 0..across {
                    let x = width.outputs_of(kx);
                    let first = height.input_at(y.0, ky).zip(width.input_at(x.0, kx));
                    let start = first.map_or(0, |(y, x)| {
                        y * row_length + x * shape.channels + group * channels
                    });
                    for (offset, rows) in kernels.tiles(length) {
                        let row = (ky * kernel_columns + kx) * channels + offset;
                        tiles.push(WeightTile {
                            group,
                            row,
                            rows,
                            a: start + offset,
                            y,
                            x,
                        });
                    }
                }
            }
        }
        let input = [
            shape.height * row_length,
            shape.stride[0] * row_length,
            shape.stride[1] * shape.channels,
        ];
        Self {
            level,
            products,
            kernels: *kernels,
            tiles,
            panels: forward_panels(shape, kernels),
            input,
            output: shape.output(),
            pixels: [shape.height, shape.width, shape.channels, shape.stride[1]],
            pointwise: shape.kernel == [1, 1]
                && shape.stride == [1, 1]
                && shape.output() == [shape.height, shape.width]
                && shape.padding == [0; 4],
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.tiles.len()
    }

    /// Floats that must be readable after the last of a gradient.
    pub(crate) fn beyond(&self) -> usize {
        self.panels.full
    }

    /// Floats of the sums of all tiles, in the order of the forward pass's packed weights.
    pub(crate) fn len(&self) -> usize {
        self.panels.len()
    }

    /// Writes the gradient of `images` images to the tiles `range` of `sums`, or adds it.
    ///
    /// `input` and `gradient` start with those images. After the last of the gradient, a full
    /// panel more must be readable: a pixel's last vector may reach beyond it.
    ///
    /// # Safety
    ///
    /// No other thread may touch the range's rows at the same time.
    pub(crate) unsafe fn run(
        &self,
        range: Range<usize>,
        input: &[f32],
        gradient: LaidOut,
        images: usize,
        sums: Shared<f32>,
        accumulate: bool,
    ) {
        let panels = &self.panels;
        let [image, row, column] = self.input;
        assert!(input.len() >= images * image, "input");
        assert!(
            gradient.values.len() >= images * gradient.layout.image + panels.full,
            "gradient"
        );
        assert!(sums.len() >= panels.len(), "weight gradient");
        let words = (self.products == Products::Bf16).then(|| self.words(input, gradient, images));
        let (input, gradient) = match &words {
            Some((input, values, layout)) => {
                let (values, layout) = (&values[..], *layout);
                (&input[..], LaidOut { values, layout })
            }
            None => (input, gradient),
        };
        let step = self.products.in_word();
        for index in 0..panels.per_group {
            let mut packed = None;
            for tile in &self.tiles[range.clone()] {
                let panel = panels.panel(tile.group * panels.per_group + index);
                let columns = self.columns(gradient, images, panel, &mut packed);
                let flat = self.pointwise && words.is_some();
                let width = if flat {
                    images * tile.y.1 * tile.x.1
                } else {
                    tile.x.1
                };
                // SAFETY: the slices are as long as asserted; the caller promises that nobody else
                // writes there.
                unsafe {
                    let outer = Outer {
                        a: input.as_ptr().add(tile.a),
                        b: columns
                            .start
                            .add(tile.y.0 * columns.row + tile.x.0 * columns.pixel),
                        images: Walk {
                            count: if flat { 1 } else { images },
                            a: image,
                            b: columns.image,
                        },
                        height: Walk {
                            count: if flat { 1 } else { tile.y.1 },
                            a: row,
                            b: columns.row,
                        },
                        width: Walk {
                            count: width.div_ceil(step),
                            a: column * step,
                            b: columns.pixel * step,
                        },
                        c: sums.pointer(panel.start + tile.row * panel.padded),
                        c_stride: panel.padded,
                        accumulate,
                    };
                    self.kernels.outer(tile.rows, panel.columns, &outer);
                }
            }
        }
    }

    /// Makes words of `images` images and their gradient, in plain layouts: each element with that of the next output
    /// pixel of the row, the last ones with zero. A full panel more of the gradient can be read.
    fn words(&self, input: &[f32], gradient: LaidOut, images: usize) -> (Scratch, Scratch, Layout) {
        let [height, width, channels, stride] = self.pixels;
        let [rows, columns] = self.output;
        let filters = self.panels.columns * self.panels.groups;
        let row = columns * filters;
        let layout = Layout {
            image: rows * row,
            row,
            before: 0,
        };
        // Words of all pixels, made of rows of this many; where images have no rows, they follow one another.
        let (input_row, gradient_row) = if self.pointwise {
            (images * height * width, images * rows * columns)
        } else {
            (width, columns)
        };
        let mut of_input = Scratch::any(images * height * width * channels);
        let next = (stride * channels).min(input_row * channels);
        let from = input.chunks_exact(input_row * channels);
        for (to, from) in of_input.chunks_exact_mut(input_row * channels).zip(from) {
            pair(self.level, from, &from[next..], to);
        }
        let mut plain = Scratch::any(images * layout.image);
        let LaidOut {
            values,
            layout: laid,
        } = gradient;
        let mut to = plain.chunks_exact_mut(row);
        for image in values.chunks(laid.image).take(images) {
            for (from, to) in image.chunks(laid.row).zip(to.by_ref().take(rows)) {
                to.copy_from_slice(&from[laid.before..][..row]);
            }
        }
        let mut of_gradient = Scratch::any(images * layout.image + self.panels.full);
        let (words, beyond) = of_gradient.split_at_mut(images * layout.image);
        beyond.fill(0.0);
        let from = plain.chunks_exact(gradient_row * filters);
        for (to, from) in words.chunks_exact_mut(gradient_row * filters).zip(from) {
            pair(self.level, from, &from[filters..], to);
        }
        (of_input, of_gradient, layout)
    }

    /// Where a panel's columns of the gradient lie: in a copy in one piece, unless they already are
    /// in one.
    ///
    /// They are read once for each tile of rows. In place, they would be short pieces at a distance
    /// that is often a power of two, of which a cache holds few.
    fn columns(
        &self,
        LaidOut { values, layout }: LaidOut,
        images: usize,
        panel: Panel,
        packed: &mut Option<(usize, Scratch)>,
    ) -> Columns {
        let panels = &self.panels;
        let filters = panels.columns * panels.groups;
        let from = layout.before + panel.group * panels.columns + panel.column;
        if filters <= panels.full {
            return Columns {
                start: values[from..].as_ptr(),
                image: layout.image,
                row: layout.row,
                pixel: filters,
            };
        }
        let [rows, width] = self.output;
        let (pixel, row) = (panel.padded, width * panel.padded);
        if packed
            .as_ref()
            .is_none_or(|(group, _)| *group != panel.group)
        {
            let mut copy = Scratch::any(images * rows * row);
            let mut to = copy.chunks_exact_mut(pixel);
            for start in (0..images)
                .flat_map(|n| (0..rows).map(move |y| from + n * layout.image + y * layout.row))
            {
                for (x, to) in (0..width).zip(&mut to) {
                    to.copy_from_slice(&values[start + x * filters..][..pixel]);
                }
            }
            *packed = Some((panel.group, copy));
        }
        let start = packed
            .as_ref()
            .map_or(values.as_ptr(), |(_, copy)| copy.as_ptr());
        Columns {
            start,
            image: rows * row,
            row,
            pixel,
        }
    }

    /// Adds up some copies of the sums in their order, and writes them as `[filters, channels /
    /// groups, kernel rows, kernel columns]`.
    pub(crate) fn unpack(&self, shape: &Conv2dShape, sums: &[f32], to: &mut [f32]) {
        let panels = &self.panels;
        let (rows, taps) = (panels.rows, shape.taps());
        let (channels, step) = (rows / taps, Staging::channels(taps));
        let to = Shared::new(to);
        parallel::tasks(
            parallel::threads_for(sums.len()).min(panels.count()),
            |task, tasks| {
                let mut staging = Staging::new(panels.full, step * taps);
                for panel in
                    parallel::share(panels.count(), task, tasks).map(|index| panels.panel(index))
                {
                    let filter = panel.group * panels.columns + panel.column;
                    // SAFETY: each panel's filters are one task's.
                    let to = unsafe { to.slice(filter * rows, panel.columns * rows) };
                    for first in (0..channels).step_by(step) {
                        let count = step.min(channels - first);
                        for (channel, tap) in
                            (0..count).flat_map(|channel| (0..taps).map(move |tap| (channel, tap)))
                        {
                            let at =
                                panel.start + (tap * channels + first + channel) * panel.padded;
                            let mut copies = sums
                                .chunks_exact(self.len())
                                .map(|copy| &copy[at..at + panel.columns]);
                            staging.set_column(
                                channel * taps + tap,
                                copies.next().unwrap_or_default(),
                            );
                            copies.for_each(|copy| staging.add_column(channel * taps + tap, copy));
                        }
                        for (to, from) in to.chunks_exact_mut(rows).zip(staging.rows()) {
                            to[first * taps..][..count * taps]
                                .copy_from_slice(&from[..count * taps]);
                        }
                    }
                }
            },
        );
    }
}

/// Images that are not one plain piece.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaidOut<'a> {
    pub values: &'a [f32],
    pub layout: Layout,
}

/// Where some columns of a gradient lie, in floats.
#[derive(Debug, Clone, Copy)]
struct Columns {
    start: *const f32,
    image: usize,
    row: usize,
    pixel: usize,
}
