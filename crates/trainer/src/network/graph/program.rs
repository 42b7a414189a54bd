//! A segment that has been checked, with what running it needs to know.

use std::sync::Arc;

use kiln_model::graph::{Dims, Input, Node, Op, Segment, UntypedError, Window};
use kiln_model::{ParamRole, SegmentLayer};

use crate::TrainError;

/// A segment that has been checked: every shape follows from the input's and fits.
#[derive(Debug, Clone)]
pub struct Program {
    pub segment: Arc<Segment>,
    /// Shapes of the nodes' outputs.
    shapes: Vec<Dims>,
    /// Where the layer keeps each parameter.
    pub places: Vec<Place>,
    /// How often each value is taken: the segment's input, then the nodes' outputs.
    pub uses: Vec<usize>,
    /// Whether batch normalizations that are trained normalize by the batch.
    pub live_batch_norm: bool,
}

/// Where a layer keeps a parameter, as an index among those of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Trained(usize),
    Statistic(usize),
    Constant(usize),
}

impl Program {
    /// Checks that a segment can be computed of samples of this shape.
    pub fn new(layer: &SegmentLayer, sample: &[usize]) -> Result<Self, UntypedError> {
        let segment = &layer.segment;
        segment.check_typed()?;
        let input = Dims::batched(sample.iter().copied());
        let parameters: Vec<Dims> = segment
            .parameters
            .iter()
            .map(|parameter| Dims::fixed(&parameter.shape))
            .collect();
        let mut values = vec![input];
        for node in &segment.nodes {
            let shape = shape(node, &values, &parameters).map_err(|reason| UntypedError {
                segment: segment.name.clone(),
                reason,
            })?;
            values.push(shape);
        }
        Ok(Self {
            places: places(&segment.roles()),
            uses: uses(segment),
            shapes: values.split_off(1),
            segment: Arc::new(segment.clone()),
            live_batch_norm: layer.live_batch_norm,
        })
    }

    /// The shape of a node's output for a batch of so many images; none beyond the address space.
    pub fn shape(&self, node: usize, batch: usize) -> Option<Vec<usize>> {
        self.shapes.get(node)?.of(batch)
    }

    /// What stands in the way of computing the segment.
    pub fn error(&self, reason: String) -> TrainError {
        TrainError::Segment(UntypedError {
            segment: self.segment.name.clone(),
            reason,
        })
    }
}

/// The shape of a node's output, or why there is none.
fn shape(node: &Node, values: &[Dims], parameters: &[Dims]) -> Result<Dims, String> {
    let of_node = |reason: &str| format!("`{}` ({}): {reason}", node.name, node.op.name());
    let inputs: Option<Vec<&Dims>> = node
        .inputs
        .iter()
        .map(|input| match *input {
            Input::Value(at) => values.get(at),
            Input::Parameter(at) => parameters.get(at),
        })
        .collect();
    let inputs = inputs.ok_or_else(|| of_node("an input comes from nowhere"))?;
    if has_empty_setting(&node.op) {
        return Err(of_node("expected sizes and steps of at least 1, found 0"));
    }
    let shape = node
        .op
        .output(&inputs)
        .map_err(|error| of_node(&error.to_string()))?;
    match shape.of(1) {
        Some(sizes) if !sizes.contains(&0) => Ok(shape),
        _ => Err(of_node(&format!("expected a value, found {shape}"))),
    }
}

/// Whether a setting that must not be 0 is.
fn has_empty_setting(op: &Op) -> bool {
    let window = |window: &Window| {
        let settings = [window.kernel, window.strides, window.dilations];
        settings.as_flattened().contains(&0)
    };
    match op {
        Op::Conv(conv) => conv.groups == 0 || window(&conv.window),
        Op::MaxPool(pool) | Op::AveragePool(pool) => window(&pool.window),
        Op::Lrn(lrn) => lrn.size == 0,
        Op::Slice(parts) => parts.iter().any(|part| part.step == 0 || part.length == 0),
        Op::BatchNormalization { .. }
        | Op::LayerNormalization { .. }
        | Op::GroupNormalization { .. }
        | Op::InstanceNormalization { .. }
        | Op::Gemm(_)
        | Op::MatMul
        | Op::Binary(_)
        | Op::Unary(_)
        | Op::GlobalAveragePool
        | Op::GlobalMaxPool
        | Op::Reduce { .. }
        | Op::Softmax { .. }
        | Op::LogSoftmax { .. }
        | Op::Concat { .. }
        | Op::Gather { .. }
        | Op::Transpose { .. }
        | Op::Reshape { .. }
        | Op::Flatten { .. }
        | Op::Squeeze { .. }
        | Op::Unsqueeze { .. }
        | Op::Expand { .. }
        | Op::Pad(_)
        | Op::Dropout { .. }
        | Op::StochasticDepth { .. }
        | Op::Other(_) => false,
    }
}

fn places(roles: &[ParamRole]) -> Vec<Place> {
    let mut counts = [0; 3];
    let mut count = |kind: usize| {
        counts[kind] += 1;
        counts[kind] - 1
    };
    roles
        .iter()
        .map(|role| match role {
            ParamRole::Weight | ParamRole::Bias => Place::Trained(count(0)),
            ParamRole::RunningMean | ParamRole::RunningVar => Place::Statistic(count(1)),
            ParamRole::Constant => Place::Constant(count(2)),
        })
        .collect()
}

fn uses(segment: &Segment) -> Vec<usize> {
    let mut uses = vec![0; segment.nodes.len() + 1];
    for input in segment.nodes.iter().flat_map(|node| &node.inputs) {
        if let Input::Value(at) = *input {
            uses[at] += 1;
        }
    }
    uses
}
