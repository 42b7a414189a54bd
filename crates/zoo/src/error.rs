//! What can be wrong with a file of weights.

use kiln_onnx::BuildError;

use crate::tensors::ElementType;

/// A file that is no file of weights, or none that is read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file ends too early.
    #[error("expected more bytes after byte {at}, found the end of the file")]
    Truncated {
        /// Offset of what is incomplete.
        at: usize,
    },
    /// An operation that files of weights do without.
    #[error("expected an operation of a file of weights, found opcode 0x{opcode:02x} at byte {at}")]
    Opcode {
        /// Offset of the operation.
        at: usize,
        /// Its code.
        opcode: u8,
    },
    /// A function or class that files of weights do without; a pickle may name any.
    #[error("expected a function or class of a file of weights, found `{name}` at byte {at}")]
    Global {
        /// Offset of the operation that names it.
        at: usize,
        /// Module and name, without control characters.
        name: String,
    },
    /// A value of another kind than the operation needs.
    #[error("expected {expected} for the operation at byte {at}, found {found}")]
    Operand {
        /// Offset of the operation.
        at: usize,
        /// Kind of value that it needs.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// More than any file of weights has.
    #[error("expected at most {limit} {what}, found more")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// Most that is read.
        limit: usize,
    },
    /// The file around the pickle is not as `PyTorch` writes it.
    #[error("expected {expected}, found {found}")]
    Format {
        /// What belongs there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A tensor that is not within the file's values, or a value that is no tensor.
    #[error("`{name}`: expected {expected}, found {found}")]
    Tensor {
        /// The tensor's name, without control characters.
        name: String,
        /// What belongs there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
}

/// Weights that are not those of the network.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The weights cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file has no tensor of this name.
    #[error("expected the tensor `{0}`, found none of this name")]
    Missing(String),
    /// The file has a tensor that the network does not have.
    #[error("expected only tensors of the network, found `{0}` too")]
    Extra(String),
    /// A tensor has another shape than the network's.
    #[error("expected shape {expected:?} for tensor `{name}`, found {found:?}")]
    Shape {
        /// The tensor's name.
        name: String,
        /// Shape in the network, in the file's order of axes.
        expected: Vec<usize>,
        /// Shape in the file.
        found: Vec<usize>,
    },
    /// A tensor has no floats.
    #[error("expected floats in tensor `{name}`, found {found}")]
    Type {
        /// The tensor's name.
        name: String,
        /// Its type.
        found: ElementType,
    },
    /// A tensor has a value that is infinite or not a number.
    #[error("expected finite values in tensor `{0}`, found others")]
    NotFinite(String),
    /// Another number of labels than there are classes.
    #[error("expected {expected} labels, found {found}")]
    Labels {
        /// Number of classes; 0 for a network without classifier.
        expected: usize,
        /// Number of labels given.
        found: usize,
    },
    /// The graph is malformed: a mistake in this crate.
    #[error(transparent)]
    Graph(#[from] BuildError),
}
