//! Layer by layer through a graph.

use kiln_model::LayerKind;
use kiln_onnx::{ModelProto, NodeProto, TensorProto, check_structure};

use crate::attributes::Place;
use crate::chain::{Chain, is};
use crate::constants::Constants;
use crate::error::GraphError;
use crate::{conv, norm, pool, transpose};

/// Operators with which a classifier begins.
const HEAD: [&str; 7] = [
    "Flatten",
    "Reshape",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "ReduceMean",
    "ReduceMax",
    "Gemm",
];

/// A layer found in a graph.
#[derive(Debug)]
pub struct Found<'a> {
    /// The node that gives it its name.
    pub node: &'a NodeProto,
    /// Its type and settings.
    pub kind: LayerKind,
    /// Channels that it takes and gives, where it says so itself.
    pub channels: Option<[usize; 2]>,
    /// Its parameters, in kiln's order; the values themselves are not looked at.
    pub values: Vec<Values<'a>>,
}

/// A parameter found in a graph.
#[derive(Debug)]
pub struct Values<'a> {
    /// kiln's name: `weight`, `bias`, `running_mean`, `running_var`.
    pub parameter: &'static str,
    /// kiln's shape, of as many values as the tensor's.
    pub shape: Vec<usize>,
    /// The values.
    pub tensor: &'a TensorProto,
}

/// A place in the chain of a graph's layers.
#[derive(Debug)]
pub struct Reader<'a> {
    chain: Chain<'a>,
    constants: Constants<'a>,
    /// Channels of the image, once a layer has said so.
    channels: Option<usize>,
}

impl<'a> Reader<'a> {
    /// Starts at the graph's one input, past transposes that make NHWC images NCHW.
    pub fn new(model: &'a ModelProto) -> Result<Self, GraphError> {
        let graph = model.graph.as_ref().ok_or(GraphError::NoGraph)?;
        check_structure(graph)?;
        let constants = Constants::new(graph);
        let mut inputs = graph
            .input
            .iter()
            .map(|input| input.name.as_str())
            .filter(|name| !constants.initialized(name));
        let (Some(input), None) = (inputs.next(), inputs.next()) else {
            let found = model
                .inputs()
                .into_iter()
                .map(|input| format!("`{}`", input.name))
                .collect();
            return Err(GraphError::Inputs { found });
        };
        let mut chain = Chain::new(graph, input);
        transpose::to_nchw(&mut chain)?;
        Ok(Self {
            chain,
            constants,
            channels: None,
        })
    }

    /// The next layer; none at the end of the graph.
    pub fn next(&mut self) -> Result<Option<Found<'a>>, GraphError> {
        let Some(node) = self.chain.peek()? else {
            return Ok(None);
        };
        let found = if is(node, "Conv") || is(node, "Pad") {
            conv::take(&mut self.chain, &self.constants)?
        } else if is(node, "BatchNormalization") {
            norm::take(&mut self.chain, &self.constants)?
        } else if is(node, "MaxPool") {
            pool::take(&mut self.chain)?
        } else if let Some(Place(node)) = self.chain.take_if("Relu")? {
            Found {
                node,
                kind: LayerKind::Relu {},
                channels: None,
                values: Vec::new(),
            }
        } else {
            return Err(self
                .chain
                .unexpected("Conv, BatchNormalization, Relu or MaxPool")?);
        };
        if let Some([takes, gives]) = found.channels {
            let image = self.channels.unwrap_or(takes);
            Place(found.node).require("input channels", &image, &takes)?;
            self.channels = Some(gives);
        }
        Ok(Some(found))
    }

    /// Whether a classifier comes next, or nothing.
    pub fn at_head(&self) -> bool {
        self.chain.ends_before(&HEAD)
    }
}
