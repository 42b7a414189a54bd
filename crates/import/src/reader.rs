//! Layer by layer through a graph.

use kiln_onnx::{ModelProto, check_structure};

use crate::attributes::Place;
use crate::chain::Chain;
use crate::constants::Constants;
use crate::error::GraphError;
use crate::ops::{self, Found};

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

/// A place in the chain of a graph's layers.
#[derive(Debug)]
pub struct Reader<'a> {
    chain: Chain<'a>,
    constants: Constants<'a>,
    /// Number of channels of the image, once a layer with parameters was read.
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
        to_nchw(&mut chain)?;
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
        let found = ops::take(node, &mut self.chain, &self.constants)?;
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

/// Skips transposes that together keep the axes or turn NHWC into NCHW: exporters from Keras and
/// TensorFlow take NHWC images.
fn to_nchw(chain: &mut Chain<'_>) -> Result<(), GraphError> {
    // Axis `i` is axis `axes[i]` of the input.
    let mut axes = vec![0, 1, 2, 3];
    let mut last = None;
    while let Some(place) = chain.take_if("Transpose")? {
        // ONNX: without `perm` the axes are reversed.
        let perm = place.ints("perm").unwrap_or(&[3, 2, 1, 0]);
        let moved = perm
            .iter()
            .map(|&axis| axes.get(usize::try_from(axis).ok()?).copied());
        let moved: Option<Vec<i64>> = moved.collect();
        axes = moved.unwrap_or_else(|| perm.to_vec());
        last = Some(place);
    }
    match last {
        Some(place) if axes != [0, 1, 2, 3] => {
            place.require("perm", &[0, 3, 1, 2][..], axes.as_slice())
        }
        _ => Ok(()),
    }
}
