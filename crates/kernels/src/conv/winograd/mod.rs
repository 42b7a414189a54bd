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
//! zeros, and write only what is in the image. What a tile comes to depends on no other, so that an image comes to the
//! same in any batch and on any number of threads. The gradients are those of this very formula, by as many
//! multiplications.
//!
//! Of ordinary numbers, of which none stands out, the root of the mean of squared errors is 0.4 to 1.7 times that of the direct
//! sum: less with many channels, since sums are shorter, more with few and 5×5. A number far larger than its neighbors in a tile takes digits from them, and one that is not finite
//! makes others of its tile NaN.
//!
//! | to find | look in |
//! | --- | --- |
//! | the matrices | `minimal` |
//! | the transforms of tiles | `micro` |
//! | those of weights, and back | `weights` |
//! | the passes | `forward`, `backward` |

mod backward;
mod forward;
mod micro;
mod minimal;
mod weights;

use std::ops::Range;

use crate::micro::Kernels;
use crate::parallel::{Scratch, Shared};
use crate::products::Products;
use crate::simd_level::SimdLevel;

use self::micro::{Spread, Transforms};
use self::minimal::{Filtering, OUTPUTS};
use super::geometry::ConvGeometry;
use super::shape::Conv2dShape;

pub(super) use self::backward::WinogradGradients;
pub(super) use self::forward::Winograd;

/// What a transform costs for each number of a tile and channel or filter, in multiply-adds.
const TRANSFORM: usize = 4;
/// What transforming the weights of one pass costs for each of their numbers, beyond packing them for the direct product.
const PACKING: usize = 100;
/// The share of the direct product's cost below which it is worth while.
const WORTHWHILE: f64 = 0.9;
/// Bytes of the points of some tiles, before and after the product.
const BLOCK_BYTES: usize = 768 << 10;

/// For how many passes weights are transformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passes {
    /// For one, whose number of images decides whether it is worth while.
    One,
    /// For many. Whether it is worth while depends on no number of images, so that an image comes to the same in any
    /// batch.
    Many,
}

/// How a convolution is cut into tiles.
struct Tiling {
    level: SimdLevel,
    kernels: Kernels,
    filtering: Filtering,
    transforms: Transforms,
    /// Rows and columns of the input.
    input: [usize; 2],
    /// Rows and columns of the output.
    output: [usize; 2],
    channels: usize,
    filters: usize,
    /// Zeros above and to the left.
    padding: [usize; 2],
    /// Tiles down and across.
    tiles: [usize; 2],
}

impl Tiling {
    /// Returns how, where this takes less time than the direct product; `None` where it does not.
    fn of(shape: &Conv2dShape, passes: Passes) -> Option<Self> {
        let level = SimdLevel::current();
        let [rows, columns] = shape.kernel;
        let filtering = Filtering::of(rows).filter(|_| rows == columns)?;
        let is_plain = [shape.stride, shape.dilation] == [[1; 2]; 2] && shape.groups == 1;
        let is_of_floats = shape.products.at(level, shape.channels) == Products::Float32;
        if !is_plain || !is_of_floats {
            return None;
        }
        let (channels, filters) = (shape.channels, shape.filters);
        let tiles = shape.output().map(|size| size.div_ceil(OUTPUTS));
        let points = filtering.points();
        let of_tile = points * (channels * filters + TRANSFORM * (channels + filters));
        let direct = ConvGeometry::forward(shape).taps() * channels * filters;
        let (images, packing) = match passes {
            Passes::One => (shape.batch, PACKING * points * channels * filters),
            Passes::Many => (1, 0),
        };
        let cost = (images * tiles[0] * tiles[1] * of_tile + packing) as f64;
        if cost > WORTHWHILE * (images * direct) as f64 {
            return None;
        }
        Some(Self {
            level,
            kernels: Kernels::of(level, Products::Float32),
            filtering,
            transforms: Transforms::of(level, filtering),
            input: [shape.height, shape.width],
            output: shape.output(),
            channels,
            filters,
            padding: [shape.padding[0], shape.padding[1]],
            tiles,
        })
    }

    /// Tiles of an image.
    fn tiles(&self) -> usize {
        self.tiles[0] * self.tiles[1]
    }

    fn points(&self) -> usize {
        self.filtering.points()
    }

    /// Floats of a tile's points before and after the product.
    fn floats(&self) -> usize {
        self.points() * (self.channels + self.filters)
    }

    /// Tiles of a block whose points fit into the cache, at least some full tiles of the product.
    fn block(&self) -> usize {
        let rows = self.kernels.rows;
        let fitting = BLOCK_BYTES / (self.floats() * size_of::<f32>());
        (fitting / rows * rows).max(2 * rows)
    }

    /// The image of a tile, and the tile's first row and column in the output.
    fn place(&self, tile: usize) -> (usize, [usize; 2]) {
        let (image, at) = (tile / self.tiles(), tile % self.tiles());
        let across = self.tiles[1];
        (image, [at / across * OUTPUTS, at % across * OUTPUTS])
    }

    /// Calls `each(number in the tile, first float of the pixel in the images)` for each pixel of a tile's inputs that is in
    /// the image.
    #[inline(always)]
    fn inputs(&self, tile: usize, mut each: impl FnMut(usize, usize)) {
        let (image, corner) = self.place(tile);
        let size = self.filtering.tile();
        let [height, width] = self.input;
        let inside = |axis: usize, k: usize| (corner[axis] + k).checked_sub(self.padding[axis]);
        for row in 0..size {
            let Some(y) = inside(0, row).filter(|&y| y < height) else {
                continue;
            };
            for column in 0..size {
                if let Some(x) = inside(1, column).filter(|&x| x < width) {
                    let pixel = (image * height + y) * width + x;
                    each(row * size + column, pixel * self.channels);
                }
            }
        }
    }

    /// The same for a tile's outputs.
    #[inline(always)]
    fn outputs(&self, tile: usize, mut each: impl FnMut(usize, usize)) {
        let (image, [top, left]) = self.place(tile);
        let [height, width] = self.output;
        for row in 0..OUTPUTS.min(height - top) {
            for column in 0..OUTPUTS.min(width - left) {
                let pixel = (image * height + top + row) * width + left + column;
                each(row * OUTPUTS + column, pixel * self.filters);
            }
        }
    }

    /// Writes the points of `tiles`' inputs. `zeros` are as many as there are channels.
    fn spread_inputs(
        &self,
        input: &[f32],
        tiles: Range<usize>,
        points: &mut Points,
        zeros: &[f32],
    ) {
        let mut pixels = vec![zeros.as_ptr(); self.points()];
        for (row, tile) in tiles.enumerate() {
            pixels.fill(zeros.as_ptr());
            self.inputs(tile, |at, start| {
                pixels[at] = input[start..][..self.channels].as_ptr();
            });
            let tile = points.spread(row, &pixels, &zeros[..self.channels]);
            // SAFETY: each pixel has its channels, as the slices above do; the transform is for the current level.
            unsafe { (self.transforms.input)(&tile) }
        }
    }

    /// Writes the points of `tiles`' gradients of outputs. `zeros` are as many as there are filters.
    fn spread_gradient(
        &self,
        gradient: &[f32],
        tiles: Range<usize>,
        points: &mut Points,
        zeros: &[f32],
    ) {
        let mut pixels = [zeros.as_ptr(); OUTPUTS * OUTPUTS];
        for (row, tile) in tiles.enumerate() {
            pixels.fill(zeros.as_ptr());
            self.outputs(tile, |at, start| {
                pixels[at] = gradient[start..][..self.filters].as_ptr();
            });
            let tile = points.spread(row, &pixels, &zeros[..self.filters]);
            // SAFETY: as above.
            unsafe { (self.transforms.output_gradient)(&tile) }
        }
    }
}

/// A number of each tile and channel for each point: `[points][tiles][channels]`, in rows of whole vectors.
struct Points {
    values: Scratch,
    /// Tiles.
    rows: usize,
    /// Floats from tile to tile.
    row: usize,
    /// Floats from point to point.
    stride: usize,
}

impl Points {
    /// Some numbers of `channels` channels for so many tiles.
    fn any(tiling: &Tiling, rows: usize, channels: usize) -> Self {
        // Rows some KiB apart would share a few sets of an L1 cache.
        let skewed = |floats: usize| floats + if floats.is_multiple_of(256) { 16 } else { 0 };
        let row = skewed(channels.next_multiple_of(tiling.kernels.lanes));
        let stride = skewed(rows * row);
        Self {
            values: Scratch::any(tiling.points() * stride),
            rows,
            row,
            stride,
        }
    }

    /// A tile of pixels whose points go to row `row`; pixels outside the image are those `zeros`, one for each channel.
    fn spread<'a>(&'a mut self, row: usize, pixels: &'a [*const f32], zeros: &[f32]) -> Spread<'a> {
        assert!(zeros.len() <= self.row && row < self.rows, "points");
        Spread {
            pixels,
            channels: zeros.len(),
            to: self.values[row * self.row..].as_mut_ptr(),
            stride: self.stride,
        }
    }

    /// Its first number of a point and tile.
    fn at(&self, point: usize, tile: usize) -> usize {
        point * self.stride + tile * self.row
    }
}

/// A pointer for each pixel of a tile, null outside the image.
fn pointers(
    to: Shared<f32>,
    pixels: &mut [*mut f32],
    visit: impl FnOnce(&mut dyn FnMut(usize, usize)),
) {
    pixels.fill(std::ptr::null_mut());
    visit(&mut |at, start| pixels[at] = to.pointer(start));
}
