//! Why sizes are refused, before any kernel runs.

/// Sizes that no kernel takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// A size that must be at least 1 is 0.
    #[error("{operation}: {name} must be at least 1, found 0")]
    Zero {
        /// Operation, such as `conv2d`.
        operation: &'static str,
        /// Name of the size.
        name: &'static str,
    },
    /// The groups do not divide the channels or the filters.
    #[error("conv2d: {groups} groups must divide {channels} channels and {filters} filters")]
    Groups {
        /// Groups asked for.
        groups: usize,
        /// Input channels.
        channels: usize,
        /// Output channels.
        filters: usize,
    },
    /// The window is larger than what it slides over.
    #[error("{operation}: a window of {window} {axis} must fit into {size} with padding")]
    Window {
        /// Operation, such as `conv2d`.
        operation: &'static str,
        /// `"rows"` or `"columns"`.
        axis: &'static str,
        /// The window with its dilation.
        window: usize,
        /// The input with its padding.
        size: usize,
    },
    /// A pooling window could lie in the padding alone.
    #[error("{operation}: a padding of {padding} {axis} must be less than the window of {window}")]
    PoolPadding {
        /// Operation, such as `conv2d`.
        operation: &'static str,
        /// `"rows"` or `"columns"`.
        axis: &'static str,
        /// The window.
        window: usize,
        /// The padding on one side.
        padding: usize,
    },
    /// More elements than memory can address.
    #[error("{operation}: a tensor of this shape has more elements than memory can address")]
    TooLarge {
        /// Operation, such as `conv2d`.
        operation: &'static str,
    },
    /// More elements in a pooling window than fit into the 15 bits of a place in it.
    #[error("{operation}: a window of {elements} elements is larger than {most}")]
    WindowElements {
        /// Operation, such as `conv2d`.
        operation: &'static str,
        /// Elements in the window.
        elements: usize,
        /// The most that are supported.
        most: usize,
    },
    /// Matrices of a result that overlap, so that an element would be written twice.
    #[error("{operation}: elements of the result overlap")]
    Overlap {
        /// Operation, such as `matmul`.
        operation: &'static str,
    },
    /// Columns that do not lie one after another, in an operand in which they have to.
    #[error(
        "{operation}: the columns of the left operand and of the result must lie one after another"
    )]
    Columns {
        /// Operation, such as `matmul`.
        operation: &'static str,
    },
    /// A dropout rate outside [0, 1).
    #[error("dropout: the rate must be at least 0 and less than 1, found {found}")]
    Rate {
        /// The rate, as text.
        found: String,
    },
}

/// The product of sizes, if a slice of that many `f32` can exist.
pub(crate) fn elements(operation: &'static str, sizes: &[usize]) -> Result<usize, ShapeError> {
    sizes
        .iter()
        .try_fold(1_usize, |product, &size| product.checked_mul(size))
        // A slice holds at most isize::MAX bytes; the factor leaves room for padding a buffer.
        .filter(|&count| count <= isize::MAX as usize / 64)
        .ok_or(ShapeError::TooLarge { operation })
}
