//! What can be wrong with a graph under construction.

use crate::check::StructureError;

/// A graph that cannot be finished.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// An initializer's data does not fill its shape.
    #[error("initializer `{name}` of shape {shape:?} was given {found} values")]
    Length {
        /// The initializer's name.
        name: String,
        /// The shape given.
        shape: Vec<usize>,
        /// Number of values given.
        found: usize,
    },
    /// A node without a name.
    #[error("a node of type {op_type} has no name")]
    UnnamedNode {
        /// The operator.
        op_type: String,
    },
    /// Two nodes with one name.
    #[error("two nodes are called `{name}`")]
    DuplicateNode {
        /// The name.
        name: String,
    },
    /// Two attributes of a node with one name.
    #[error("node `{node}` has the attribute `{attribute}` twice")]
    DuplicateAttribute {
        /// The node's name.
        node: String,
        /// The attribute's name.
        attribute: String,
    },
    /// The graph is malformed.
    #[error(transparent)]
    Structure(#[from] StructureError),
}
