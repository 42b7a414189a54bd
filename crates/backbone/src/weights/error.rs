//! Why a file's weights cannot be used.

use kiln_onnx::{NodeProto, StructureError, TensorError};

/// What to do about a file that holds another network.
const GIVE: &str = "give an ONNX file of plain VGG16 in float32, such as `kiln fetch vgg16` brings";

/// What to do about a file that holds the right network in a form that is not read.
const SIMPLIFY: &str = "export the model again with constants folded, or give the file that `kiln fetch vgg16` brings";

/// A model that is not VGG16, or whose weights cannot be read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BackboneError {
    /// A model without a graph.
    #[error("the model has no graph, so it is no ONNX model or a truncated one: {GIVE}")]
    NoGraph,
    /// A graph that does not hang together.
    #[error(transparent)]
    Structure(#[from] StructureError),
    /// No input or several.
    #[error("the graph has {} inputs ({}), expected one, the image: {GIVE}", found.len(), found.join(", "))]
    Inputs {
        /// Names of the inputs.
        found: Vec<String>,
    },
    /// Another operator than VGG16 has at this place.
    #[error("the model is not VGG16: at {layer} expected {expected}, found {found}: {GIVE}")]
    Operator {
        /// Keras's name of the layer.
        layer: String,
        /// The operator expected.
        expected: &'static str,
        /// The node found, or the end of the graph.
        found: String,
    },
    /// One more convolution in a block, as in VGG19.
    #[error(
        "the model is not VGG16: block {block} has one more convolution, {node}, where a MaxPool was expected: {GIVE}"
    )]
    ExtraConv {
        /// The block, counted from 1.
        block: usize,
        /// The convolution.
        node: String,
    },
    /// An operator with other settings than VGG16's.
    #[error("the model is not VGG16: {node} has {setting} {found}, expected {expected}: {GIVE}")]
    Setting {
        /// The node and its place.
        node: String,
        /// ONNX's name of the attribute, or what else is set.
        setting: &'static str,
        /// What VGG16 has.
        expected: Box<str>,
        /// What the node has.
        found: Box<str>,
    },
    /// A value that several nodes use: the network branches.
    #[error("the model is not VGG16: at {layer} the network branches to {}: {GIVE}", nodes.join(" and "))]
    Branch {
        /// Keras's name of the layer.
        layer: String,
        /// The nodes that use the value.
        nodes: Vec<String>,
    },
    /// A kernel, bias or setting that is computed, fed, or left out.
    #[error("{node} needs its {what} as an initializer or a Constant, found {found}: {SIMPLIFY}")]
    NotConstant {
        /// The node and its place.
        node: String,
        /// What the value is to the node: `weight`, `bias`.
        what: &'static str,
        /// Where the value comes from.
        found: String,
    },
    /// Quantised weights.
    #[error("{node} has quantised weights ({found}): give the float32 model that this one was made from")]
    Quantized {
        /// The node and its place.
        node: String,
        /// The node that restores the floats.
        found: String,
    },
    /// A tensor that cannot be read as floats.
    #[error("{node}: {source}")]
    Tensor {
        /// The node that takes the tensor.
        node: String,
        /// What is wrong with it.
        source: Box<TensorError>,
    },
    /// A weight that is infinite or not a number.
    #[error("{node}: tensor `{tensor}` has the value {value}, expected finite weights: {GIVE}")]
    NotFinite {
        /// The node that takes the tensor.
        node: String,
        /// The tensor's name.
        tensor: String,
        /// The first such value.
        value: f32,
    },
}

/// A node in an error: its name, or its output's where it has none, and its operator.
pub fn describe(node: &NodeProto) -> String {
    let name = if node.name.is_empty() { node.output.first().map_or("", String::as_str) } else { &node.name };
    match node.domain.as_str() {
        "" | "ai.onnx" => format!("node `{name}` ({})", node.op_type),
        domain => format!("node `{name}` ({domain}::{})", node.op_type),
    }
}
