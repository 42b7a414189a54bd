//! Reasons why a file cannot be used.

use kiln_model::graph::RuleError;
use kiln_onnx::{StructureError, TensorError};

/// How to export the right network in a form that is read.
const SIMPLIFY: &str = "export the model again with constants folded";

/// A graph whose layers cannot be read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GraphError {
    /// A model without a graph.
    #[error("the model has no graph, so it is not an ONNX model or a truncated one")]
    NoGraph,
    /// A malformed graph.
    #[error(transparent)]
    Structure(#[from] StructureError),
    /// No input or several.
    #[error("the graph has {} inputs ({}), expected one, the image", found.len(), found.join(", "))]
    Inputs {
        /// Names of the inputs.
        found: Vec<String>,
    },
    /// An operator of another layer than the one expected.
    #[error("expected {expected}, found {found}")]
    Operator {
        /// The layer expected, in a recipe's words.
        expected: &'static str,
        /// The node found, or the end of the graph.
        found: String,
    },
    /// An operator with other settings than kiln's layers have, or than the layer expected.
    #[error("{node} has {setting} {found}, expected {expected}")]
    Setting {
        /// The node.
        node: String,
        /// ONNX's name of the attribute, a recipe's word, or what else is set.
        setting: &'static str,
        /// What a layer can have.
        expected: Box<str>,
        /// What the node has.
        found: Box<str>,
    },
    /// A value that several nodes use.
    #[error("expected a chain of layers, found a branch to {}", nodes.join(" and "))]
    Branch {
        /// The nodes that use the value.
        nodes: Vec<String>,
    },
    /// A kernel, bias or setting that is computed, fed, or left out.
    #[error("{node} needs its {what} as an initializer or a Constant, found {found}: {SIMPLIFY}")]
    NotConstant {
        /// The node.
        node: String,
        /// What the value is to the node: `weight`, `bias`.
        what: &'static str,
        /// Where the value comes from.
        found: String,
    },
    /// Quantized weights.
    #[error(
        "{node} has quantized weights ({found}): take the float32 model that this one was made from"
    )]
    Quantized {
        /// The node.
        node: String,
        /// The node that restores the floats.
        found: String,
    },
    /// A tensor that cannot be read.
    #[error("{node}: {source}")]
    Tensor {
        /// The node that takes the tensor.
        node: String,
        /// What is wrong with it.
        source: Box<TensorError>,
    },
    /// An operator, or a use of one, that kiln does not compute.
    #[error("{node} is not among the operators that kiln computes")]
    Unsupported {
        /// The node.
        node: String,
    },
    /// An operator of an opset that is not read.
    #[error("{node} is of opset {found}, expected {} to {}: export the model again", expected.start(), expected.end())]
    Opset {
        /// The node.
        node: String,
        /// The opsets that are read.
        expected: std::ops::RangeInclusive<i64>,
        /// The file's opset.
        found: i64,
    },
    /// A node that can only be read where the shape of what it takes is known.
    #[error("{node} takes a value whose shape is not known")]
    NoShape {
        /// The node.
        node: String,
    },
    /// Shapes that do not fit an operator.
    #[error("{node}: {source}")]
    Shape {
        /// The node.
        node: String,
        /// What does not fit.
        source: Box<RuleError>,
    },
    /// A constant that is resized when the model is run, as a table of positions.
    #[error("{node} resizes a constant: export the model at this image size")]
    Resized {
        /// The node.
        node: String,
    },
    /// Control flow that uses values of the graph around it.
    #[error("{node} uses `{value}` in a graph of its own, expected no control flow: {SIMPLIFY}")]
    Captures {
        /// The node.
        node: String,
        /// The value's name.
        value: String,
    },
    /// An image of another size than the graph's.
    #[error("the graph takes images of {axis} {expected}, found {found}")]
    ImageSize {
        /// Height or width.
        axis: &'static str,
        /// The graph's.
        expected: usize,
        /// The caller's.
        found: usize,
    },
    /// An output that the image has no part in.
    #[error("expected an output that depends on the image `{image}`, found `{output}`")]
    NoPath {
        /// The output's name.
        output: String,
        /// The input's name.
        image: String,
    },
    /// A value that the graph does not have.
    #[error("the graph has no value `{value}`")]
    NoValue {
        /// The name asked for.
        value: String,
    },
    /// A node or a tensor that cannot be read.
    #[error("{reason}")]
    Unread {
        /// What stands in the way, as a sentence.
        reason: String,
    },
    /// A weight that is infinite or not a number.
    #[error("{node}: tensor `{tensor}` has the value {value}, expected finite weights")]
    NotFinite {
        /// The node that takes the tensor.
        node: String,
        /// The tensor's name.
        tensor: String,
        /// The first such value.
        value: f32,
    },
}

/// A file whose weights are not those of a known network.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WeightsError {
    /// The graph cannot be read at all.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// What differs first, or cannot be read, at one of the network's layers.
    #[error("at {layer}: {source}")]
    At {
        /// The layer's name.
        layer: String,
        /// What is wrong.
        source: GraphError,
    },
}
