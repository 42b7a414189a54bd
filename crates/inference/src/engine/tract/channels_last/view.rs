//! Where the elements of a tensor of tract's lie in a value of the program: so that moving, cutting and thinning
//! out axes moves no data.

use super::program::ValueId;

/// What an axis of a tensor is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// The images: a value lies image by image.
    Batch,
    /// So many elements, each so many floats from the one before it.
    Inner { size: usize, stride: usize },
}

/// A tensor as a part of a value, in the memory of each image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub value: ValueId,
    /// Floats from the start of an image to the first element.
    pub offset: usize,
    pub axes: Vec<Axis>,
}

impl View {
    /// A whole value whose memory has these axes of a tensor of this shape one after another, the last one contiguous;
    /// axis `batch` are the images, if there is such an axis.
    pub fn new(value: ValueId, shape: &[usize], batch: Option<usize>, order: &[usize]) -> Self {
        let unit = |&size: &usize| Axis::Inner { size, stride: 1 };
        let mut axes: Vec<_> = shape.iter().map(unit).collect();
        if let Some(batch) = batch {
            axes[batch] = Axis::Batch;
        }
        let mut length = 1;
        for &axis in order.iter().rev() {
            let (size, stride) = (shape[axis], length);
            axes[axis] = Axis::Inner { size, stride };
            length *= size;
        }
        Self {
            value,
            offset: 0,
            axes,
        }
    }

    /// A whole value that lies as tract's tensor of this shape: row-major, the images first if there is an axis of
    /// them.
    pub fn row_major(value: ValueId, shape: &[usize], batch: Option<usize>) -> Self {
        let order: Vec<_> = (0..shape.len())
            .filter(|&axis| batch != Some(axis))
            .collect();
        Self::new(value, shape, batch, &order)
    }

    /// Size and stride of an axis that is not the images.
    pub fn axis(&self, axis: usize) -> Option<(usize, usize)> {
        match *self.axes.get(axis)? {
            Axis::Inner { size, stride } => Some((size, stride)),
            Axis::Batch => None,
        }
    }

    /// The size of an axis that is not the images, for which it is 1.
    pub fn size(&self, axis: usize) -> usize {
        self.axis(axis).map_or(1, |(size, _)| size)
    }

    /// The axis of the images.
    pub fn batch(&self) -> Option<usize> {
        self.axes.iter().position(|&axis| axis == Axis::Batch)
    }

    /// All axes but that of the images.
    pub fn inner(&self) -> Vec<usize> {
        let is_inner = |&axis: &usize| self.axes[axis] != Axis::Batch;
        (0..self.axes.len()).filter(is_inner).collect()
    }

    /// The same, those whose elements lie farthest apart first.
    pub fn by_stride(&self) -> Vec<usize> {
        let mut axes = self.inner();
        // Axes of size 1 lie anywhere.
        let key = |&axis: &usize| self.axis(axis).filter(|(size, _)| *size > 1);
        axes.sort_by_key(|axis| std::cmp::Reverse(key(axis).map_or(0, |(_, stride)| stride)));
        axes
    }

    /// The same with this one last.
    pub fn with_last(&self, last: usize) -> Vec<usize> {
        let mut axes = self.by_stride();
        axes.retain(|&axis| axis != last);
        axes.push(last);
        axes
    }

    /// The axis whose elements lie nearest together, of those with more than one: that of the channels.
    pub fn nearest(&self) -> Option<usize> {
        let mut axes = self.by_stride().into_iter().rev();
        axes.find(|&axis| self.size(axis) > 1)
    }

    /// Floats of an image's part.
    pub fn len(&self) -> usize {
        (0..self.axes.len()).map(|axis| self.size(axis)).product()
    }

    /// The distance between neighbors, where the elements of these axes lie one after another, the last axis contiguous in
    /// this sense, as if they were one axis; 1 where they have a single element.
    pub fn merged(&self, axes: &[usize]) -> Option<usize> {
        let mut known: Option<(usize, usize)> = None;
        for &axis in axes.iter().rev() {
            let (size, stride) = self.axis(axis)?;
            if size == 1 {
                continue;
            }
            known = Some(match known {
                None => (stride, size * stride),
                Some((first, expected)) if stride == expected => (first, size * stride),
                Some(_) => return None,
            });
        }
        Some(known.map_or(1, |(stride, _)| stride))
    }

    /// Whether it is all of a value of so many floats, its axes in this order one after another.
    pub fn is_whole(&self, order: &[usize], length: usize) -> bool {
        self.offset == 0 && self.len() == length && self.merged(order) == Some(1)
    }

    /// With a new axis of size 1.
    pub fn with_unit(mut self, at: usize) -> Option<Self> {
        (at <= self.axes.len()).then(|| {
            self.axes.insert(at, Axis::Inner { size: 1, stride: 1 });
            self
        })
    }

    /// Without an axis of size 1.
    pub fn without(mut self, at: usize) -> Option<Self> {
        let is_unit = self.axis(at).is_some_and(|(size, _)| size == 1);
        is_unit.then(|| {
            self.axes.remove(at);
            self
        })
    }

    /// With an axis at another place.
    pub fn moved(mut self, from: usize, to: usize) -> Option<Self> {
        (from.max(to) < self.axes.len()).then(|| {
            let axis = self.axes.remove(from);
            self.axes.insert(to, axis);
            self
        })
    }

    /// A part of an axis: every `step`th of `size` elements from `start` on.
    pub fn part(mut self, axis: usize, start: usize, size: usize, step: usize) -> Option<Self> {
        let (whole, stride) = self.axis(axis)?;
        if size == 0 || step == 0 || start + (size - 1) * step >= whole {
            return None;
        }
        self.offset += start * stride;
        self.axes[axis] = Axis::Inner {
            size,
            stride: stride * step,
        };
        Some(self)
    }

    /// With other sizes in place of `count` axes from `at` on, whose elements are to lie one after another. None where
    /// they do not, or the images are among them.
    pub fn reshaped(&self, at: usize, count: usize, sizes: &[usize]) -> Option<Self> {
        let replaced: Vec<_> = (at..at + count).collect();
        let mut stride = self.merged(&replaced)?;
        let length: usize = replaced.iter().map(|&axis| self.size(axis)).product();
        if length != sizes.iter().product::<usize>() {
            return None;
        }
        let mut axes = Vec::new();
        for &size in sizes.iter().rev() {
            axes.push(Axis::Inner { size, stride });
            stride *= size;
        }
        axes.reverse();
        let mut view = self.clone();
        view.axes.splice(at..at + count, axes);
        Some(view)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VALUE: ValueId = ValueId(0);

    fn channels_last() -> View {
        View::new(VALUE, &[8, 6, 4, 5], Some(0), &[2, 3, 1])
    }

    /// The elements of an image of the tensor in row-major order of its axes, as indices into memory.
    fn elements(view: &View) -> Vec<usize> {
        let axes = view.axes.iter().filter_map(|axis| match *axis {
            Axis::Inner { size, stride } => Some((size, stride)),
            Axis::Batch => None,
        });
        axes.fold(vec![view.offset], |starts, (size, stride)| {
            let along = |start: usize| (0..size).map(move |index| start + index * stride);
            starts.into_iter().flat_map(along).collect()
        })
    }

    #[test]
    fn patches_of_channels_last_are_tokens_without_moving_data() {
        let patches = channels_last();
        // [N, C, H, W] to [N, C, H * W] to [N, H * W, C].
        let tokens = patches.reshaped(2, 2, &[20]).unwrap().moved(1, 2).unwrap();
        assert_eq!(tokens, View::row_major(VALUE, &[8, 20, 6], Some(0)));
        assert!(tokens.is_whole(&[1, 2], 120));
        assert!(!tokens.is_whole(&[2, 1], 120));
        assert_eq!(patches.by_stride(), [2, 3, 1]);
    }

    #[test]
    fn channels_and_pixels_are_not_flattened_where_they_lie() {
        let flat = |view: &View| view.reshaped(1, 3, &[120]);
        assert_eq!(flat(&channels_last()), None);
        let row_major = View::row_major(VALUE, &[8, 6, 4, 5], Some(0));
        assert_eq!(
            flat(&row_major),
            Some(View::row_major(VALUE, &[8, 120], Some(0)))
        );
        // One pixel is another matter; the images never are.
        let pixel = View::new(VALUE, &[8, 6, 1, 1], Some(0), &[2, 3, 1]);
        assert_eq!(
            pixel.reshaped(1, 3, &[6]),
            Some(View::row_major(VALUE, &[8, 6], Some(0)))
        );
        assert_eq!(pixel.reshaped(0, 4, &[48]), None);
        assert_eq!(pixel.clone().without(1), None);
        assert_eq!(pixel.without(3).unwrap().axes.len(), 3);
    }

    #[test]
    fn heads_of_tokens_are_parts_of_them() {
        let tokens = View::row_major(VALUE, &[2, 7, 24], Some(0));
        let split = tokens.reshaped(2, 1, &[3, 2, 4]).unwrap();
        let keys = split.part(2, 1, 1, 1).unwrap();
        assert_eq!((keys.offset, keys.len()), (8, 56));
        assert_eq!(keys.axis(1), Some((7, 24)));
        assert!(!keys.is_whole(&[1, 2, 3, 4], 168));
        assert_eq!(
            keys.clone().part(1, 0, 4, 2).unwrap().axis(1),
            Some((4, 48))
        );
        assert_eq!(keys.part(1, 1, 4, 2), None, "the eighth of seven");
    }

    fn views() -> impl Strategy<Value = View> {
        let sizes = proptest::collection::vec(1_usize..4, 1..5);
        sizes
            .prop_flat_map(|sizes| {
                let order: Vec<usize> = (1..=sizes.len()).collect();
                (Just(sizes), Just(order).prop_shuffle())
            })
            .prop_map(|(sizes, order)| {
                View::new(VALUE, &[&[2], &sizes[..]].concat(), Some(0), &order)
            })
    }

    /// A view, and the first and the number of some of its axes.
    fn views_and_axes() -> impl Strategy<Value = (View, usize, usize)> {
        let with_first = |view: View| {
            let first = 1..view.axes.len();
            (Just(view), first)
        };
        views()
            .prop_flat_map(with_first)
            .prop_flat_map(|(view, first)| {
                let count = 1..=view.axes.len() - first;
                (Just(view), Just(first), count)
            })
    }

    proptest! {
        #[test]
        fn reshaping_keeps_the_elements_in_their_order((view, at, count) in views_and_axes()) {
            let sizes: Vec<usize> = (at..at + count).map(|axis| view.size(axis)).collect();
            let product: usize = sizes.iter().product();
            for to in [vec![product], vec![1, product], vec![product, 1, 1], sizes.iter().rev().copied().collect()] {
                if let Some(reshaped) = view.reshaped(at, count, &to) {
                    prop_assert_eq!(elements(&reshaped), elements(&view));
                    let split = reshaped.reshaped(at, to.len(), &sizes).unwrap();
                    prop_assert_eq!(elements(&split), elements(&view));
                } else {
                    prop_assert!(!view.is_whole(&view.inner(), view.len()));
                }
            }
        }

        #[test]
        fn a_whole_view_has_its_elements_one_after_another(view in views()) {
            let in_order: Vec<usize> = (0..view.len()).collect();
            prop_assert_eq!(view.is_whole(&view.inner(), view.len()), elements(&view) == in_order);
        }
    }
}
