//! Reasons why a file cannot be used.

use std::path::PathBuf;

use kiln_onnx::{LoadError, NodeProto, StructureError, TensorError};

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
    /// An operator that is not one of kiln's layers, or not at this place.
    #[error("expected {expected}, found {found}")]
    Operator {
        /// The operators expected.
        expected: &'static str,
        /// The node found, or the end of the graph.
        found: String,
    },
    /// An operator with settings that none of kiln's layers has.
    #[error("{node} has {setting} {found}, expected {expected}")]
    Setting {
        /// The node.
        node: String,
        /// ONNX's name of the attribute, or what else is set.
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
    /// No layer with weights.
    #[error("expected a convolution or a batch normalization before the classifier, found none")]
    NoWeights,
}

/// A file whose weights are not those of a known network.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WeightsError {
    /// The graph cannot be read at all.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The graph cannot be read where a layer was expected.
    #[error("at {layer}: {source}")]
    At {
        /// The layer's name.
        layer: String,
        /// What is wrong.
        source: GraphError,
    },
    /// Another layer.
    #[error("at {layer}: expected {expected}, found {found}")]
    Kind {
        /// The layer's name.
        layer: String,
        /// The type expected, in a recipe's words.
        expected: &'static str,
        /// The node found, or the end of the graph.
        found: String,
    },
    /// A layer with other settings.
    #[error("at {layer}: {node} has {setting} {found}, expected {expected}")]
    Setting {
        /// The layer's name.
        layer: String,
        /// The node.
        node: String,
        /// The setting, in a recipe's words.
        setting: &'static str,
        /// What the layer has.
        expected: Box<str>,
        /// What the node has.
        found: Box<str>,
    },
    /// A weight that is infinite or not a number.
    #[error("at {layer}: {node}: tensor `{tensor}` has the value {value}, expected finite weights")]
    NotFinite {
        /// The layer's name.
        layer: String,
        /// The node that takes the tensor.
        node: String,
        /// The tensor's name.
        tensor: String,
        /// The first such value.
        value: f32,
    },
}

/// A file that cannot be compiled in as a backbone.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// The file cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A name that recipes cannot use.
    #[error(
        "`{}` cannot be a backbone's name: rename the file; expected letters, digits, `-`, `_` and `.`, starting with a \
         letter or digit, before `.onnx`",
        path.display()
    )]
    Name {
        /// The file.
        path: PathBuf,
    },
    /// A name that another backbone has.
    #[error("`{}`: there is a backbone `{name}` already: rename the file", path.display())]
    Taken {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// A network of other layers than kiln's.
    #[error(
        "`{}` cannot be a backbone: {source}. A backbone is a chain of Conv, BatchNormalization, Relu and MaxPool up to a \
         Flatten, Reshape, global pooling or Gemm; see docs/backbones.md",
        path.display()
    )]
    Graph {
        /// The file.
        path: PathBuf,
        /// The first node that does not fit, and why.
        source: Box<WeightsError>,
    },
    /// Images that kiln does not have.
    #[error("`{}` takes images of {found} channels, expected 1 or 3: train a network for gray or color images", path.display())]
    Channels {
        /// The file.
        path: PathBuf,
        /// The number of channels.
        found: usize,
    },
}

/// A node in an error: its name, or its output's where it has none, and its operator.
pub fn describe(node: &NodeProto) -> String {
    let name = if node.name.is_empty() {
        node.output.first().map_or("", String::as_str)
    } else {
        &node.name
    };
    match node.domain.as_str() {
        "" | "ai.onnx" => format!("node `{name}` ({})", node.op_type),
        domain => format!("node `{name}` ({domain}::{})", node.op_type),
    }
}
