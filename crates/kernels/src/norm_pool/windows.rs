//! Where the windows of a pooling lie.

use super::shape::NormPoolShape;

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
        self.windows
            .iter()
            .map(|&(first, offsets)| (first, &self.offsets[offsets][..]))
    }
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
