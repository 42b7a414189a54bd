//! Sizes of a value's axes, with the batch open.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The size of one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Size {
    /// As many.
    Fixed(usize),
    /// As many times the number of images in the batch.
    Batch(usize),
}

impl Size {
    /// Returns the size where the batch has `batch` images; none where it is beyond the address
    /// space.
    pub const fn of(self, batch: usize) -> Option<usize> {
        match self {
            Self::Fixed(size) => Some(size),
            Self::Batch(factor) => factor.checked_mul(batch),
        }
    }

    /// Returns the size, or 1 for an axis without entries.
    const fn or_one(self) -> Self {
        match self {
            Self::Fixed(0) | Self::Batch(0) => Self::Fixed(1),
            size => size,
        }
    }

    /// Returns the size, where the batch has no part in it.
    pub const fn fixed(self) -> Option<usize> {
        match self {
            Self::Fixed(size) => Some(size),
            Self::Batch(_) => None,
        }
    }
}

impl fmt::Display for Size {
    /// `64`, `N`, `12·N`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "{size}"),
            Self::Batch(1) => f.write_str("N"),
            Self::Batch(factor) => write!(f, "{factor}·N"),
        }
    }
}

/// The sizes of a value's axes, outermost first; none for a scalar.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Dims(Vec<Size>);

impl Dims {
    /// The most axes that a value may have.
    pub const MAX_RANK: usize = 6;

    /// Dimensions of a batch: `[N, sizes…]`.
    pub fn batched(sizes: impl IntoIterator<Item = usize>) -> Self {
        std::iter::once(Size::Batch(1))
            .chain(sizes.into_iter().map(Size::Fixed))
            .collect()
    }

    /// Dimensions without a batch, as parameters have.
    pub fn fixed(sizes: &[usize]) -> Self {
        sizes.iter().copied().map(Size::Fixed).collect()
    }

    /// Returns the number of axes.
    pub const fn rank(&self) -> usize {
        self.0.len()
    }

    /// Returns the sizes.
    pub fn sizes(&self) -> &[Size] {
        &self.0
    }

    /// Returns the sizes where the batch has `batch` images; none where one is beyond the address
    /// space.
    pub fn of(&self, batch: usize) -> Option<Vec<usize>> {
        self.0.iter().map(|size| size.of(batch)).collect()
    }

    /// Returns the number of values; none where it is beyond the address space, or would be if
    /// axes of no entries had one.
    pub fn count(&self) -> Option<Count> {
        let filled: Vec<_> = self.0.iter().map(|size| size.or_one()).collect();
        Count::of(&filled)?;
        Count::of(&self.0)
    }

    /// Returns the sizes after the batch, where the batch is the first axis and no other depends
    /// on it: the shape of one sample.
    pub fn sample(&self) -> Option<Vec<usize>> {
        match self.0.split_first()? {
            (Size::Batch(1), rest) => rest.iter().map(|size| size.fixed()).collect(),
            _ => None,
        }
    }
}

impl FromIterator<Size> for Dims {
    fn from_iter<T: IntoIterator<Item = Size>>(sizes: T) -> Self {
        Self(sizes.into_iter().collect())
    }
}

impl From<Vec<Size>> for Dims {
    fn from(sizes: Vec<Size>) -> Self {
        Self(sizes)
    }
}

impl fmt::Display for Dims {
    /// `[N, 64, 56, 56]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (axis, size) in self.0.iter().enumerate() {
            if axis > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{size}")?;
        }
        f.write_str("]")
    }
}

/// A number of values: `factor · N^power`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// The number without the batch.
    pub factor: usize,
    /// How often the batch is a factor of it.
    pub power: u32,
}

impl Count {
    /// Returns the product of sizes; none where it is beyond the address space.
    pub fn of(sizes: &[Size]) -> Option<Self> {
        let one = Self {
            factor: 1,
            power: 0,
        };
        sizes.iter().try_fold(one, |count, size| {
            let (factor, power) = match *size {
                Size::Fixed(factor) => (factor, 0),
                Size::Batch(factor) => (factor, 1),
            };
            Some(Self {
                factor: count.factor.checked_mul(factor)?,
                power: count.power + power,
            })
        })
    }

    /// Returns the size by which another number must be multiplied to give this one; none where
    /// there is no such size.
    pub fn divided_by(self, other: Self) -> Option<Size> {
        if other.factor == 0 || !self.factor.is_multiple_of(other.factor) {
            return None;
        }
        let factor = self.factor / other.factor;
        match self.power.checked_sub(other.power)? {
            0 => Some(Size::Fixed(factor)),
            1 => Some(Size::Batch(factor)),
            _ => None,
        }
    }

    /// Returns the number as one size; none where the batch is in it twice.
    pub const fn size(self) -> Option<Size> {
        match self.power {
            0 => Some(Size::Fixed(self.factor)),
            1 => Some(Size::Batch(self.factor)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_or_multiples_of_the_batch() {
        let dims = Dims::from(vec![Size::Batch(12), Size::Fixed(197), Size::Fixed(64)]);
        assert_eq!(dims.to_string(), "[12·N, 197, 64]");
        assert_eq!(dims.of(2), Some(vec![24, 197, 64]));
        assert_eq!(dims.sample(), None);
        assert_eq!(Dims::batched([3, 8, 8]).sample(), Some(vec![3, 8, 8]));
        assert_eq!(Dims::batched([1000]).to_string(), "[N, 1000]");
        assert_eq!(Dims::default().to_string(), "[]");
        assert_eq!(Dims::from(vec![Size::Batch(usize::MAX)]).of(2), None);
    }

    #[test]
    fn counts_divide_into_sizes() {
        let count = Dims::batched([12, 64]).count().unwrap();
        let of = |sizes: &[Size]| Count::of(sizes).unwrap();
        assert_eq!(
            count.divided_by(of(&[Size::Batch(1)])),
            Some(Size::Fixed(768))
        );
        assert_eq!(
            count.divided_by(of(&[Size::Fixed(64)])),
            Some(Size::Batch(12))
        );
        assert_eq!(count.divided_by(of(&[Size::Fixed(5)])), None);
        assert_eq!(count.divided_by(of(&[Size::Fixed(0)])), None);
        assert_eq!(count.divided_by(of(&[Size::Batch(1); 2])), None);
        assert_eq!(Count::of(&[Size::Fixed(usize::MAX), Size::Fixed(2)]), None);
    }
}
