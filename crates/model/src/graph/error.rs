//! Shapes that do not fit an operator.

use super::size::{Dims, Size};

/// Shapes that do not fit an operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are in the messages")]
pub enum RuleError {
    /// More or fewer inputs than the operator takes.
    #[error("expected {expected} inputs, found {found}")]
    Inputs {
        expected: &'static str,
        found: usize,
    },
    /// Another number of axes.
    #[error("expected a value of {expected} axes, found {found}")]
    Rank { expected: &'static str, found: Dims },
    /// An axis that the value does not have.
    #[error("expected an axis of {dims}, found axis {axis}")]
    Axis { axis: usize, dims: Dims },
    /// Sizes that should be the same.
    #[error("expected {what} {expected}, found {found}")]
    Mismatch {
        what: &'static str,
        expected: Size,
        found: Size,
    },
    /// Two shapes that cannot be broadcast to one another.
    #[error("expected shapes that broadcast, found {left} and {right}")]
    Broadcast { left: Dims, right: Dims },
    /// A window that is larger than the padded image.
    #[error("expected an image of at least {window} rows or columns, found {found}")]
    Window { window: usize, found: usize },
    /// An axis that depends on the batch where none may.
    #[error("expected an axis that does not depend on the batch, found axis {axis} of {dims}")]
    Batch { axis: usize, dims: Dims },
    /// Dimensions of another number of values.
    #[error("expected as many values as {input} has, found the shape {output}")]
    Values { input: Dims, output: Dims },
    /// A setting that the shape does not allow.
    #[error("expected {expected}, found {found}")]
    Setting {
        expected: &'static str,
        found: String,
    },
    /// A number of values beyond the address space.
    #[error("expected a value that fits into memory, found one of shape {0}")]
    TooLarge(Dims),
    /// An operator without a shape rule.
    #[error("{0}")]
    Other(String),
}
