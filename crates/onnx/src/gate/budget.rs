//! What a model may ask for, and how one that asks for more is refused.

use crate::hint::Hint;
use crate::tensor::TensorError;

/// What a model may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Budget {
    /// Most bytes of a value between nodes, for a batch of one image. 1 GiB by default, a multiple
    /// of what networks compute for photographs of 1,024 pixels. All values that are in memory at a time may
    /// take four times as many.
    pub bytes_per_value: u64,
    /// Most bytes of a value where the graph fixes a larger batch. 4 GiB by default.
    pub bytes_per_batch: u64,
    /// Most nodes in the file, with those of branches and functions. 100,000 by default; networks have some
    /// thousands.
    pub nodes: u64,
    /// Most nodes that calls of functions expand to. 50,000 by default, for which ONNX Runtime takes some
    /// seconds; the time grows faster than their number.
    pub called_nodes: u64,
    /// Most iterations of a loop whose count is a constant, and most elements of a pooling's window.
    /// Some 16 million by default.
    pub iterations: u64,
    /// Most levels of functions that call each other and graphs in graphs. 32 by default.
    pub depth: usize,
    /// Most axes of a tensor. 16 by default.
    pub rank: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            bytes_per_value: 1 << 30,
            bytes_per_batch: 4 << 30,
            nodes: 100_000,
            called_nodes: 50_000,
            iterations: 1 << 24,
            depth: 32,
            rank: 16,
        }
    }
}

/// A model that asks for more than its [`Budget`], or whose tensors and functions are malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are in the messages")]
pub enum GateError {
    /// Values that do not fill the shape, an impossible shape, an unknown element type.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// Bytes that do not fill the shape.
    #[error("tensor `{name}` of shape {dims:?} needs {expected} bytes, found {found}")]
    Bytes {
        name: String,
        dims: Vec<i64>,
        expected: u64,
        found: u64,
    },
    /// More axes than any network has.
    #[error("`{name}` has {found} axes, expected at most {limit}")]
    Rank {
        name: String,
        found: usize,
        limit: usize,
    },
    /// A value larger than the budget allows.
    #[error("{place} makes `{value}` of shape {shape}, {bytes} bytes, expected at most {limit}")]
    Size {
        place: String,
        value: String,
        shape: String,
        bytes: u128,
        limit: u64,
    },
    /// Values that are in memory together and larger than the budget allows.
    #[error("the values in memory at {node} take {bytes} bytes, expected at most {limit}")]
    Alive {
        node: String,
        bytes: u128,
        limit: u64,
    },
    /// A window that no engine can compute.
    #[error("{node} has {found}, expected {expected}")]
    Node {
        node: String,
        found: String,
        expected: String,
    },
    /// More iterations, or elements of a window, than the budget allows.
    #[error("{node} has {found} {what}, expected at most {limit}")]
    Iterations {
        node: String,
        what: &'static str,
        found: u128,
        limit: u64,
    },
    /// Many empty messages, which take far more memory than the file.
    #[error("the file's messages take more than {limit} bytes")]
    Messages { limit: u64 },
    /// More nodes than the budget allows.
    #[error("the file has more than {limit} nodes")]
    Nodes { limit: u64 },
    /// Functions that expand to more nodes than the budget allows.
    #[error("functions expand to {found} nodes, expected at most {limit}")]
    CalledNodes { found: u64, limit: u64 },
    /// Functions and graphs nested too deeply.
    #[error("functions and graphs are nested more than {limit} deep in {place}")]
    Depth { place: String, limit: usize },
    /// A function that ends in itself.
    #[error("function `{0}` calls itself")]
    Recursion(String),
    /// Two functions of one name.
    #[error("function `{0}` is defined twice")]
    Function(String),
    /// A function in place of one of ONNX's own operators.
    #[error("function `{0}` is in the domain of ONNX's own operators")]
    OwnDomain(String),
    /// An attribute that a runtime may read in two ways.
    #[error("{node} has the attribute `{attribute}` twice")]
    Attribute { node: String, attribute: String },
    /// An attribute of no known type.
    #[error("attribute `{attribute}` has the unknown type {found}")]
    AttributeType { attribute: String, found: i32 },
}

impl GateError {
    /// Returns what can be done about it.
    pub const fn hint(&self) -> Option<Hint> {
        match self {
            Self::Tensor(error) => error.hint(),
            Self::Bytes { .. }
            | Self::Rank { .. }
            | Self::Size { .. }
            | Self::Alive { .. }
            | Self::Node { .. }
            | Self::Iterations { .. }
            | Self::Messages { .. }
            | Self::Nodes { .. }
            | Self::CalledNodes { .. }
            | Self::Depth { .. }
            | Self::Recursion(_)
            | Self::Function(_)
            | Self::OwnDomain(_)
            | Self::Attribute { .. }
            | Self::AttributeType { .. } => Some(Hint::ExportAgain),
        }
    }
}

/// Checks the number of a value's axes.
pub fn check_rank(name: &str, found: usize, budget: &Budget) -> Result<(), GateError> {
    if found <= budget.rank {
        return Ok(());
    }
    Err(GateError::Rank {
        name: name.to_owned(),
        found,
        limit: budget.rank,
    })
}
