//! What a file must keep to before an engine sees it.
//!
//! A model file is data of somebody else's, and engines believe it: they reserve the memory that a shape
//! asks for, expand functions that call each other, follow graphs into graphs. What can be found out
//! from the file alone is found out here, with small integers and names, without a copy of weights.

mod calls;
mod memory;
pub mod parts;
mod sizes;
mod tensors;

use std::collections::HashSet;

use crate::file::DecodeError;
use crate::hint::Hint;
use crate::proto::{
    AttributeProto, AttributeType, DimensionValue, ModelProto, NodeProto, TypeValue, ValueInfoProto,
};
use crate::tensor::TensorError;
use memory::Refused;
use parts::{Part, each_part};

pub use sizes::check_sizes;

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
            | Self::Attribute { .. }
            | Self::AttributeType { .. } => Some(Hint::ExportAgain),
        }
    }
}

/// Checks the bytes of a file before they are decoded.
pub fn check_bytes(file: &[u8]) -> Result<(), DecodeError> {
    memory::check(file).map_err(|refused| match refused {
        Refused::Malformed => DecodeError::Malformed("a field is cut short".to_owned()),
        Refused::Large => DecodeError::from(Box::new(GateError::Messages {
            limit: memory::MAX_BYTES,
        })),
    })
}

/// Checks that a model keeps to a budget: every tensor has the values that its shape asks for, functions
/// call each other neither in a circle nor without measure, and no value is larger than allowed, as far
/// as the file says. A batch of open size counts as one image.
pub fn check_limits(model: &ModelProto, budget: &Budget) -> Result<(), GateError> {
    let mut nodes: u64 = 0;
    each_part(model, |part| match part {
        Part::Node(node) => {
            nodes += 1;
            if nodes > budget.nodes {
                return Err(GateError::Nodes {
                    limit: budget.nodes,
                });
            }
            check_attribute_names(node)
        }
        Part::Attribute(attribute) => check_attribute_type(attribute),
        Part::Tensor(tensor) => tensors::check(tensor, budget),
        Part::Sparse(sparse) => tensors::check_sparse(sparse, budget),
        Part::Value(value) => check_declared(value, budget),
    })?;
    calls::check(model, budget)?;
    check_sizes(model, None, budget)
}

/// An engine takes the first of two attributes of one name, another the second.
fn check_attribute_names(node: &NodeProto) -> Result<(), GateError> {
    let mut names = HashSet::with_capacity(node.attribute.len());
    let mut attributes = node.attribute.iter();
    match attributes.find(|attribute| !names.insert(attribute.name.as_str())) {
        None => Ok(()),
        Some(twice) => Err(GateError::Attribute {
            node: node.describe(),
            attribute: twice.name.clone(),
        }),
    }
}

/// A parser that knows the values of the enumeration would keep what an earlier field said.
fn check_attribute_type(attribute: &AttributeProto) -> Result<(), GateError> {
    match AttributeType::try_from(attribute.r#type) {
        Ok(_) => Ok(()),
        Err(_) => Err(GateError::AttributeType {
            attribute: attribute.name.clone(),
            found: attribute.r#type,
        }),
    }
}

/// The shape that a file declares of a value: open axes, and negative ones that some exporters write for
/// them, count as one.
fn check_declared(value: &ValueInfoProto, budget: &Budget) -> Result<(), GateError> {
    let Some(TypeValue::TensorType(tensor)) =
        value.r#type.as_ref().and_then(|it| it.value.as_ref())
    else {
        return Ok(());
    };
    let dims = tensor.shape.iter().flat_map(|shape| &shape.dim);
    let dims: Vec<Option<u64>> = dims
        .map(|dim| match &dim.value {
            Some(DimensionValue::DimValue(size)) => u64::try_from(*size).ok(),
            Some(DimensionValue::DimParam(_)) | None => None,
        })
        .collect();
    check_rank(&value.name, dims.len(), budget)?;
    let bits = sizes::element_bits(tensor.elem_type);
    let bytes = sizes::bytes(&dims, bits);
    if bytes > u128::from(budget.bytes_per_batch) {
        return Err(GateError::Size {
            place: "the graph".to_owned(),
            value: value.name.clone(),
            shape: sizes::describe(&dims),
            bytes,
            limit: budget.bytes_per_batch,
        });
    }
    Ok(())
}

fn check_rank(name: &str, found: usize, budget: &Budget) -> Result<(), GateError> {
    if found <= budget.rank {
        return Ok(());
    }
    Err(GateError::Rank {
        name: name.to_owned(),
        found,
        limit: budget.rank,
    })
}
