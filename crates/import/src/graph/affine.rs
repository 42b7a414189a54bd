//! Integers that may depend on the batch.

use kiln_model::graph::Size;

/// The integer `constant + batch · N`, where `N ≥ 1` is the number of images in the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Affine {
    pub constant: i64,
    pub batch: i64,
}

impl From<i64> for Affine {
    fn from(constant: i64) -> Self {
        Self { constant, batch: 0 }
    }
}

impl From<bool> for Affine {
    fn from(flag: bool) -> Self {
        i64::from(flag).into()
    }
}

impl From<Size> for Affine {
    fn from(size: Size) -> Self {
        let whole = |size| i64::try_from(size).unwrap_or(i64::MAX);
        match size {
            Size::Fixed(size) => whole(size).into(),
            Size::Batch(factor) => Self {
                constant: 0,
                batch: whole(factor),
            },
        }
    }
}

/// Operations that give none where the result is beyond 64 bits or no such integer for every batch.
impl Affine {
    /// The integer, where it does not depend on the batch.
    pub const fn known(self) -> Option<i64> {
        match self.batch {
            0 => Some(self.constant),
            _ => None,
        }
    }

    /// The integer as the size of an axis.
    pub fn size(self) -> Option<Size> {
        match (self.constant, self.batch) {
            (constant, 0) => usize::try_from(constant).ok().map(Size::Fixed),
            (0, batch) => usize::try_from(batch).ok().map(Size::Batch),
            _ => None,
        }
    }

    pub fn add(self, other: Self) -> Option<Self> {
        Some(Self {
            constant: self.constant.checked_add(other.constant)?,
            batch: self.batch.checked_add(other.batch)?,
        })
    }

    pub fn negated(self) -> Option<Self> {
        Some(Self {
            constant: self.constant.checked_neg()?,
            batch: self.batch.checked_neg()?,
        })
    }

    pub fn sub(self, other: Self) -> Option<Self> {
        self.add(other.negated()?)
    }

    pub fn mul(self, other: Self) -> Option<Self> {
        let (factor, other) = match (self.known(), other.known()) {
            (Some(factor), _) => (factor, other),
            (_, Some(factor)) => (factor, self),
            (None, None) => return None,
        };
        Some(Self {
            constant: other.constant.checked_mul(factor)?,
            batch: other.batch.checked_mul(factor)?,
        })
    }

    /// The quotient, rounded to zero where both are known.
    pub fn div(self, other: Self) -> Option<Self> {
        if let (Some(a), Some(b)) = (self.known(), other.known()) {
            return a.checked_div(b).map(Self::from);
        }
        let exact = |a: i64, b: i64| (a.checked_rem(b)? == 0).then(|| a.checked_div(b))?;
        match other {
            Self { constant, batch: 0 } => Some(Self {
                constant: exact(self.constant, constant)?,
                batch: exact(self.batch, constant)?,
            }),
            // As many times the divisor.
            Self { constant, batch } => {
                let quotient = exact(self.batch, batch)?;
                (constant.checked_mul(quotient)? == self.constant).then(|| quotient.into())
            }
        }
    }

    /// The remainder of two known integers, with the sign of the divisor.
    pub fn modulo(self, other: Self) -> Option<Self> {
        let (a, b) = (self.known()?, other.known()?);
        let rest = a.checked_rem(b)?;
        let other_sign = rest != 0 && (rest < 0) != (b < 0);
        Some(if other_sign { rest + b } else { rest }.into())
    }

    /// The sign of the integer, where it is the same for every batch.
    fn sign(self) -> Option<i64> {
        // The smallest batch is 1.
        let smallest = self.constant.checked_add(self.batch)?;
        match self.batch {
            0 => Some(self.constant.signum()),
            1.. if smallest > 0 => Some(1),
            ..0 if smallest < 0 => Some(-1),
            _ => None,
        }
    }

    /// The sign of the difference to another integer, where it is the same for every batch.
    pub fn compare(self, other: Self) -> Option<i64> {
        self.sub(other)?.sign()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn affine(constant: i64, batch: i64) -> Affine {
        Affine { constant, batch }
    }

    #[test]
    fn the_batch_stays_a_symbol() {
        let batch = affine(0, 1);
        let heads = batch.mul(12.into()).unwrap();
        assert_eq!(heads, affine(0, 12));
        assert_eq!(heads.div(4.into()), Some(affine(0, 3)));
        assert_eq!(heads.div(batch), Some(12.into()));
        assert_eq!(heads.div(5.into()), None);
        assert_eq!(batch.mul(batch), None);
        assert_eq!(batch.add(1.into()), Some(affine(1, 1)));
        assert_eq!(affine(3, 2).sub(affine(3, 1)), Some(batch));
        assert_eq!(batch.size(), Some(Size::Batch(1)));
        assert_eq!(affine(1, 1).size(), None);
        assert_eq!(affine(-1, 0).size(), None);
    }

    #[test]
    fn integers_divide_as_onnxs() {
        let div = |a: i64, b: i64| Affine::from(a).div(b.into()).map(|a| a.constant);
        assert_eq!(
            (div(7, 2), div(-7, 2), div(1, 0)),
            (Some(3), Some(-3), None)
        );
        assert_eq!(div(i64::MIN, -1), None);
        let rest = |a: i64, b: i64| Affine::from(a).modulo(b.into()).map(|a| a.constant);
        assert_eq!(
            (rest(7, 3), rest(-7, 3), rest(7, -3)),
            (Some(1), Some(2), Some(-2))
        );
        assert_eq!(rest(i64::MIN, -1), None);
    }

    #[test]
    fn comparisons_hold_for_every_batch_or_not_at_all() {
        let batch = affine(0, 1);
        assert_eq!(batch.compare((-1).into()), Some(1));
        assert_eq!(batch.compare(0.into()), Some(1));
        assert_eq!(batch.compare(1.into()), None);
        assert_eq!(batch.compare(batch), Some(0));
        assert_eq!(Affine::from(3).compare(5.into()), Some(-1));
    }
}
