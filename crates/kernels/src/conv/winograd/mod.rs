//! Convolutions of 3×3 and 5×5 kernels by fewer multiplications: Winograd's minimal filtering.
//!
//! A tile of 2×2 outputs of a 3×3 kernel takes 36 multiplications of each channel with each filter; from sums and
//! differences of its 4×4 inputs it takes 16, and of a 5×5 kernel 36 instead of 100. Each of these *points* is a product
//! of matrices over all tiles, `[tiles, channels] · [channels, filters]`, by the kernel of all other convolutions. What
//! comes before and after is additions alone, a few for each number, and pays from some tens of channels and filters on.
//!
//! ```text
//! input  ──▶  tile 4×4, a vector of channels a pixel  ──▶  16 points [tiles, channels]
//!                                                              │  · weights, transformed once
//! output ◀──  2×2 with bias, residual, activation     ◀──  16 points [tiles, filters]
//! ```
//!
//! Some tiles at a time go through all of it, so that their points stay in the cache. Tiles that reach over the edge read
//! zeros, and write only what is in the image. What a tile comes to depends on no other: results are the same for any
//! number of images and threads. The rounding error of F(2, 3) is that of the sum itself, of F(2, 5) some times more.

mod micro;
mod minimal;

use std::ops::Range;

use crate::epilogue::Activation;
use crate::micro::{KSpan, Kernels, Tile};
use crate::parallel::{self, Scratch, Shared, share};
use crate::products::Products;
use crate::simd_level::{SimdLevel, multiversioned};

use self::micro::{InputTile, OutputTile, Transforms};
use self::minimal::Filtering;
use super::geometry::ConvGeometry;
use super::pack::{Panels, Pass};
use super::plan::Split;
use super::shape::Conv2dShape;

/// What a transform costs for each number of a tile and channel or filter, in multiply-adds.
const TRANSFORM: usize = 4;
/// The share of the direct product's cost below which it is worth while.
const WORTHWHILE: f64 = 0.9;
/// Bytes of the points of some tiles, before and after the product.
const BLOCK_BYTES: usize = 768 << 10;

/// The convolution of some image sizes with transformed weights.
pub(super) struct Winograd {
    kernels: Kernels,
    filtering: Filtering,
    transforms: Transforms,
    /// Of one point.
    panels: Panels,
    /// The panels of each point.
    packed: Scratch,
    source: Source,
    /// Rows and columns of the output.
    target: [usize; 2],
    /// Tiles down and across.
    tiles: [usize; 2],
}

/// Where tiles read.
#[derive(Clone, Copy)]
struct Source {
    height: usize,
    width: usize,
    channels: usize,
    /// Zeros above and to the left.
    padding: [usize; 2],
}

/// What follows the product.
#[derive(Clone, Copy, Default)]
pub(super) struct Finish<'a> {
    /// As long as a row of the panels, filled up like them.
    pub bias: Option<&'a [f32]>,
    /// As long as the output.
    pub residual: Option<&'a [f32]>,
    pub activation: Activation,
}

impl Winograd {
    /// Transforms the weights of a forward pass, where this way is faster than the direct product at any number of
    /// images; `None` where it is not.
    pub(super) fn forward(shape: &Conv2dShape, weights: &[f32]) -> Option<Self> {
        Self::new(shape, Pass::Forward, &ConvGeometry::forward(shape), weights)
    }

    /// The same for the input gradient, from that of the output.
    pub(super) fn input_gradient(shape: &Conv2dShape, weights: &[f32]) -> Option<Self> {
        let geometry = ConvGeometry::transposed(shape);
        Self::new(shape, Pass::InputGradient, &geometry, weights)
    }

    fn new(
        shape: &Conv2dShape,
        pass: Pass,
        geometry: &ConvGeometry,
        weights: &[f32],
    ) -> Option<Self> {
        let level = SimdLevel::current();
        let summed = geometry.source[2] / shape.groups;
        if shape.products.at(level, summed) != Products::Float32 {
            return None;
        }
        let [rows, columns] = shape.kernel;
        let filtering = Filtering::of(rows).filter(|_| rows == columns)?;
        let is_plain = [shape.stride, shape.dilation] == [[1; 2]; 2] && shape.groups == 1;
        let (y, x) = (geometry.y.sliding?, geometry.x.sliding?);
        let [height, width, channels] = geometry.source;
        let [target_height, target_width, filters] = geometry.target;
        let outputs = filtering.outputs();
        let tiles = [target_height, target_width].map(|size| size.div_ceil(outputs));
        let points = filtering.points();
        let product = points * channels * filters;
        let cost = tiles[0] * tiles[1] * (product + TRANSFORM * points * (channels + filters));
        let direct = geometry.taps() * channels * filters;
        if !is_plain || cost as f64 > WORTHWHILE * direct as f64 {
            return None;
        }
        let kernels = Kernels::of(level, Products::Float32);
        let panels = Panels::new(&kernels, channels, filters, 1);
        let packed = pack(shape, pass, level, filtering, &panels, weights);
        Some(Self {
            kernels,
            filtering,
            transforms: Transforms::of(level, filtering),
            panels,
            packed,
            source: Source {
                height,
                width,
                channels,
                padding: [y.before, x.before],
            },
            target: [target_height, target_width],
            tiles,
        })
    }

    /// Panels of the weights.
    pub(super) fn panels(&self) -> &Panels {
        &self.panels
    }

    /// Computes `batch` images.
    pub(super) fn compute(&self, batch: usize, input: &[f32], finish: Finish, output: &mut [f32]) {
        let tiles = batch * self.tiles();
        let split = Split::new(
            tiles * self.floats(),
            self.packed.len(),
            tiles,
            self.panels.count(),
        );
        let output = Shared::new(output);
        split.run(|task| {
            let panels = task.part_of(self.panels.count());
            // SAFETY: tasks have different tiles or panels.
            unsafe { self.run(input, task.images, panels, finish, (output, 0)) }
        });
    }

    /// Tiles of an image.
    pub(super) fn tiles(&self) -> usize {
        self.tiles[0] * self.tiles[1]
    }

    /// Most tiles at a time.
    pub(super) fn block(&self) -> usize {
        let rows = self.kernels.rows;
        let fitting = BLOCK_BYTES / (self.floats() * size_of::<f32>());
        (fitting / rows * rows).max(2 * rows)
    }

    /// Floats of a tile's points before and after the product.
    fn floats(&self) -> usize {
        self.filtering.points() * (self.source.channels + self.panels.padded)
    }

    /// Computes `panels` of `tiles`, counted from the first image of `input`; its outputs are those of an image of
    /// `output`.
    ///
    /// # Safety
    ///
    /// No other thread may touch those tiles' outputs of those panels at the same time.
    pub(super) unsafe fn run(
        &self,
        input: &[f32],
        tiles: Range<usize>,
        panels: Range<usize>,
        finish: Finish,
        output: (Shared<f32>, usize),
    ) {
        // As even as possible.
        let blocks = tiles.len().div_ceil(self.block()).max(1);
        let layout = Points::new(self, tiles.len().div_ceil(blocks));
        let points = self.filtering.points();
        let mut before = Scratch::any(points * layout.before[1]);
        let mut after = Scratch::any(points * layout.after[1]);
        let zeros = Scratch::zeros(self.source.channels);
        for at in 0..blocks {
            let part = share(tiles.len(), at, blocks);
            let part = tiles.start + part.start..tiles.start + part.end;
            self.transform_input(input, part.clone(), &layout, &zeros, &mut before);
            self.multiply(part.len(), panels.clone(), &layout, &before, &mut after);
            // SAFETY: as the caller promises.
            unsafe {
                self.transform_output(part, panels.clone(), &layout, &after, finish, output);
            }
        }
    }

    /// The image of a tile, and its first row and column in the output.
    fn place(&self, tile: usize) -> (usize, [usize; 2]) {
        let [down, across] = self.tiles;
        let (image, at) = (tile / (down * across), tile % (down * across));
        let outputs = self.filtering.outputs();
        (image, [at / across * outputs, at % across * outputs])
    }

    fn transform_input(
        &self,
        input: &[f32],
        tiles: Range<usize>,
        layout: &Points,
        zeros: &[f32],
        before: &mut [f32],
    ) {
        let Source {
            height,
            width,
            channels,
            padding,
        } = self.source;
        let size = self.filtering.tile();
        let length = height * width * channels;
        assert!(
            before.len() >= self.filtering.points() * layout.before[1] && zeros.len() >= channels
        );
        let mut pixels = vec![zeros.as_ptr(); size * size];
        for (row, tile) in tiles.enumerate() {
            let (image, [top, left]) = self.place(tile);
            let image = &input[image * length..][..length];
            for (at, pixel) in pixels.iter_mut().enumerate() {
                let y = (top + at / size)
                    .checked_sub(padding[0])
                    .filter(|&y| y < height);
                let x = (left + at % size)
                    .checked_sub(padding[1])
                    .filter(|&x| x < width);
                *pixel = match (y, x) {
                    (Some(y), Some(x)) => image[(y * width + x) * channels..][..channels].as_ptr(),
                    _ => zeros.as_ptr(),
                };
            }
            let tile = InputTile {
                pixels: &pixels,
                channels,
                to: before[row * layout.before[0]..].as_mut_ptr(),
                stride: layout.before[1],
            };
            // SAFETY: pixels have their channels, as the slices above do; the points of as many tiles as the layout
            // has rows are in `before`.
            unsafe { self.transforms.input(&tile) }
        }
    }

    /// The products of each point.
    fn multiply(
        &self,
        tiles: usize,
        range: Range<usize>,
        layout: &Points,
        before: &[f32],
        after: &mut [f32],
    ) {
        let Self {
            kernels, panels, ..
        } = self;
        let points = self.filtering.points();
        let spans = [KSpan {
            a: 0,
            b: 0,
            length: panels.rows,
        }];
        assert!(
            before.len() >= points * layout.before[1]
                && after.len() >= points * layout.after[1]
                && tiles <= layout.rows
        );
        for point in 0..points {
            let packed = &self.packed[point * panels.len()..][..panels.len()];
            for panel in range.clone().map(|index| panels.panel(index)) {
                for (row, rows) in kernels.tiles(tiles) {
                    let (a, c) = (
                        point * layout.before[1] + row * layout.before[0],
                        point * layout.after[1] + row * layout.after[0] + panel.column,
                    );
                    let tile = Tile {
                        a: before[a..].as_ptr(),
                        a_stride: layout.before[0],
                        spans: &spans,
                        b: packed[panel.start..].as_ptr(),
                        bias: std::ptr::null(),
                        residual: std::ptr::null(),
                        activation: Activation::Linear,
                        c: after[c..].as_mut_ptr(),
                        c_stride: layout.after[0],
                        columns: panel.columns,
                    };
                    // SAFETY: rows and panels are inside the buffers, as asserted, and `after` is this task's.
                    unsafe { kernels.inner(rows, &tile) }
                }
            }
        }
    }

    /// # Safety
    ///
    /// No other thread may touch those tiles' outputs of those panels at the same time.
    unsafe fn transform_output(
        &self,
        tiles: Range<usize>,
        range: Range<usize>,
        layout: &Points,
        after: &[f32],
        finish: Finish,
        (output, first_image): (Shared<f32>, usize),
    ) {
        let panels = &self.panels;
        if range.is_empty() {
            return;
        }
        let (first, last) = (panels.panel(range.start), panels.panel(range.end - 1));
        let (column, end) = (first.column, last.column + last.columns);
        let [height, width] = self.target;
        let filters = panels.columns;
        let outputs = self.filtering.outputs();
        for (row, tile) in tiles.enumerate() {
            let (image, [top, left]) = self.place(tile);
            let image = first_image + image;
            let to = ((image * height + top) * width + left) * filters + column;
            let tile = OutputTile {
                from: after[row * layout.after[0] + column..].as_ptr(),
                stride: layout.after[1],
                bias: finish
                    .bias
                    .map_or(std::ptr::null(), |bias| bias[column..].as_ptr()),
                residual: finish
                    .residual
                    .map_or(std::ptr::null(), |residual| residual[to..].as_ptr()),
                activation: finish.activation,
                to: output.pointer(to),
                row_stride: width * filters,
                pixel_stride: filters,
                outputs: [outputs.min(height - top), outputs.min(width - left)],
                columns: end - column,
            };
            // SAFETY: the outputs are inside the image, and nobody else's, as the caller promises; the points of the
            // tile are in `after`, each row with whole vectors.
            unsafe { self.transforms.output(&tile) }
        }
    }
}

/// Where the points of some tiles lie, in floats: from tile to tile, and from point to point.
struct Points {
    rows: usize,
    before: [usize; 2],
    after: [usize; 2],
}

impl Points {
    fn new(winograd: &Winograd, rows: usize) -> Self {
        // Rows some KiB apart would share a few sets of an L1 cache.
        let skewed = |floats: usize| floats + if floats.is_multiple_of(256) { 16 } else { 0 };
        let of = |floats: usize| {
            let row = skewed(floats);
            [row, skewed(rows * row)]
        };
        Self {
            rows,
            before: of(winograd.source.channels),
            after: of(winograd.panels.padded),
        }
    }
}

/// Filters, or for the input gradient channels, that are transformed at a time.
const LANES: usize = 8;

/// The transformed weights, in panels of each point.
fn pack(
    shape: &Conv2dShape,
    pass: Pass,
    level: SimdLevel,
    filtering: Filtering,
    panels: &Panels,
    weights: &[f32],
) -> Scratch {
    let taps = shape.taps();
    let points = filtering.points();
    let mut packed = Scratch::any(points * panels.len());
    let shared = Shared::new(&mut packed);
    let threads = parallel::threads_for(points * panels.len());
    parallel::tasks(panels.count().min(threads), |task, tasks| {
        let mut lanes = vec![[0.0; LANES]; taps];
        let mut transformed = vec![[0.0; LANES]; points];
        for panel in share(panels.count(), task, tasks).map(|index| panels.panel(index)) {
            for row in 0..panels.rows {
                for first in (0..panel.padded).step_by(LANES) {
                    for lane in 0..LANES {
                        let column = first + lane;
                        let kernel = (column < panel.columns).then(|| {
                            let column = panel.column + column;
                            let at = match pass {
                                Pass::Forward => column * panels.rows + row,
                                Pass::InputGradient => row * panels.columns + column,
                            };
                            &weights[at * taps..][..taps]
                        });
                        for (tap, lanes) in lanes.iter_mut().enumerate() {
                            let tap = match pass {
                                Pass::Forward => tap,
                                Pass::InputGradient => taps - 1 - tap,
                            };
                            lanes[lane] = kernel.map_or(0.0, |kernel| f64::from(kernel[tap]));
                        }
                    }
                    transform_kernel(level, filtering.kernel_matrix(), &lanes, &mut transformed);
                    for (point, lanes) in transformed.iter().enumerate() {
                        let start = point * panels.len() + panel.start + row * panel.padded + first;
                        // SAFETY: panels do not overlap, and each is one task's.
                        let to = unsafe { shared.slice(start, LANES) };
                        for (to, &value) in to.iter_mut().zip(lanes) {
                            *to = value as f32;
                        }
                    }
                }
            }
        }
    });
    packed
}

multiversioned! {
    /// `G g Gᵀ` for some kernels `g`.
    fn transform_kernel(matrix: &[&[f64]], kernel: &[[f64; LANES]], to: &mut [[f64; LANES]]) = transform_kernel_body
}

#[inline(always)]
fn transform_kernel_body(matrix: &[&[f64]], kernel: &[[f64; LANES]], to: &mut [[f64; LANES]]) {
    let (tile, taps) = (matrix.len(), matrix[0].len());
    for (row, factors) in matrix.iter().enumerate() {
        for column in 0..tile {
            let mut sum = [0.0; LANES];
            for (factor, kernel) in factors.iter().zip(kernel.chunks_exact(taps)) {
                for (other, kernel) in matrix[column].iter().zip(kernel) {
                    let factor = factor * other;
                    for (sum, kernel) in sum.iter_mut().zip(kernel) {
                        *sum += factor * kernel;
                    }
                }
            }
            to[row * tile + column] = sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::shape::Conv2d;
    use super::*;

    #[test]
    fn it_is_taken_where_it_saves_multiplications() {
        let filtering = |sizes: Conv2d| {
            let shape = sizes.checked().unwrap();
            let weights = vec![0.0; shape.weights_len()];
            [
                Winograd::forward(&shape, &weights),
                Winograd::input_gradient(&shape, &weights),
            ]
            .map(|winograd| winograd.map(|winograd| winograd.filtering))
        };
        let sizes = Conv2d::new([1, 14, 14, 64], 64, [3; 2]).padded(1);
        assert_eq!(filtering(sizes), [Some(Filtering::Size2x3); 2]);
        let large = Conv2d {
            kernel: [5; 2],
            ..sizes
        };
        assert_eq!(filtering(large), [Some(Filtering::Size2x5); 2]);
        let none = [
            Conv2d {
                stride: [2; 2],
                ..sizes
            },
            Conv2d {
                dilation: [1, 2],
                ..sizes
            },
            Conv2d { groups: 2, ..sizes },
            Conv2d {
                kernel: [3, 5],
                ..sizes
            },
            Conv2d {
                kernel: [1; 2],
                ..sizes
            },
            Conv2d {
                channels: 3,
                filters: 4,
                ..sizes
            },
            // What is left of the window without padding are 4 taps.
            Conv2d {
                height: 2,
                width: 2,
                ..sizes
            },
        ];
        for sizes in none {
            assert_eq!(filtering(sizes), [None; 2], "{sizes:?}");
        }
    }
}
