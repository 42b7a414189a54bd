//! The size of one axis, as kiln's code handles it.

use std::fmt;

use crate::proto::{Dimension, DimensionValue, TensorShapeProto};

/// The size of one axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    /// A fixed size.
    Fixed(usize),
    /// A size known only when the model is run; equal symbols are equal sizes.
    Symbol(String),
    /// Nothing is said about the size.
    Unknown,
}

impl Dim {
    /// The symbol of the batch axis.
    pub const BATCH: &str = "batch";

    /// The symbolic batch axis followed by fixed ones: `[batch, shape...]`.
    pub fn batched(shape: impl IntoIterator<Item = usize>) -> Vec<Self> {
        std::iter::once(Self::Symbol(Self::BATCH.to_owned()))
            .chain(shape.into_iter().map(Self::Fixed))
            .collect()
    }

    /// The size, where it is fixed.
    pub const fn fixed(&self) -> Option<usize> {
        match self {
            Self::Fixed(size) => Some(*size),
            Self::Symbol(_) | Self::Unknown => None,
        }
    }

    pub(crate) fn to_shape(dims: &[Self]) -> TensorShapeProto {
        let dimension = |dim: &Self| Dimension {
            value: match dim {
                Self::Fixed(size) => Some(DimensionValue::DimValue(*size as i64)),
                Self::Symbol(name) => Some(DimensionValue::DimParam(name.clone())),
                Self::Unknown => None,
            },
            denotation: String::new(),
        };
        TensorShapeProto {
            dim: dims.iter().map(dimension).collect(),
        }
    }

    pub(crate) fn from_shape(shape: &TensorShapeProto) -> Vec<Self> {
        let dim = |dimension: &Dimension| match &dimension.value {
            // Some exporters write -1 for a dynamic axis.
            Some(DimensionValue::DimValue(size)) => {
                usize::try_from(*size).map_or(Self::Unknown, Self::Fixed)
            }
            Some(DimensionValue::DimParam(name)) if !name.is_empty() => Self::Symbol(name.clone()),
            Some(DimensionValue::DimParam(_)) | None => Self::Unknown,
        };
        shape.dim.iter().map(dim).collect()
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => size.fmt(f),
            Self::Symbol(name) => f.write_str(name),
            Self::Unknown => f.write_str("?"),
        }
    }
}
