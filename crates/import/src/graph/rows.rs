//! Indices of the values of a batch, as exporters compute them for strided views.

use std::rc::Rc;

use kiln_model::graph::Dims;

/// Integers of the shape `[N, dims…]`: for image `n` and the entry `rest` of the other axes,
/// `n · stride + offsets[rest]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    /// The sizes of the axes after the batch.
    pub dims: Vec<usize>,
    /// The distance from image to image.
    pub stride: i64,
    /// The integers of the first image, row-major.
    pub offsets: Rc<[i64]>,
}

impl Rows {
    /// The shape.
    pub fn shape(&self) -> Dims {
        Dims::batched(self.dims.iter().copied())
    }
}
