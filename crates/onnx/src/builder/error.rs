//! What can be wrong with a graph under construction.

use crate::check::StructureError;

/// A graph that cannot be finished.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// An initializer's data does not fill its shape.
    #[error(
        "initializer `{name}` of shape {shape:?} was given {found} values: give as many as the shape has"
    )]
    Length {
        /// The initializer's name.
        name: String,
        /// The shape given.
        shape: Vec<usize>,
        /// Number of values given.
        found: usize,
    },
    /// A node without a name.
    #[error("a node of type {op_type} has no name: name it after its layer")]
    UnnamedNode {
        /// The operator.
        op_type: String,
    },
    /// Two nodes with one name.
    #[error("two nodes are called `{name}`: give each node a name of its own")]
    DuplicateNode {
        /// The name.
        name: String,
    },
    /// Two attributes of a node with one name.
    #[error("node `{node}` has the attribute `{attribute}` twice: set it once")]
    DuplicateAttribute {
        /// The node's name.
        node: String,
        /// The attribute's name.
        attribute: String,
    },
    /// The values do not hang together.
    #[error(transparent)]
    Structure(#[from] StructureError),
}
