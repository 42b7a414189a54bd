//! A segment of a graph as a layer.

use serde::{Deserialize, Serialize};

use super::batch_norm::BatchNorm;
use super::def::{LayerDef, ParamDef};
use crate::graph::{Parameter, Segment, UnfoldedConv};
use crate::{InnerLayer, Shape, ShapeError};

/// A small graph with one input and one output that Burn computes and trains: a segment of a
/// backbone's file, such as a residual block.
///
/// Its parameters keep the names of the file's tensors: `layer4_1.onnx::Conv_497`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentLayer {
    /// The graph.
    pub segment: Segment,
    /// Whether its batch normalizations, where they are trained, normalize by the batch and track
    /// its statistics; if not, they normalize by the stored ones, as in inference.
    pub live_batch_norm: bool,
    /// Convolutions behind which normalizations are that the file does not have.
    pub unfolded: Vec<UnfoldedConv>,
}

impl SegmentLayer {
    /// What layers of this kind are called.
    pub(super) const TYPE: &str = "segment";

    /// Returns the shape of what comes out, whatever goes in: it was inferred when the file was read.
    pub(super) fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
        Shape::only(inputs)?;
        let dims = self.segment.sample();
        let shape = dims.as_deref().and_then(Shape::from_dims);
        shape.ok_or_else(|| ShapeError::NoSample {
            found: self
                .segment
                .shape()
                .map_or_else(|| "unknown".into(), ToString::to_string),
        })
    }

    /// Lists the normalizations of its unfolded convolutions.
    pub(crate) fn norms(&self) -> impl Iterator<Item = InnerLayer> {
        self.unfolded.iter().filter_map(|conv| {
            let norm = self.segment.nodes.get(conv.node + 1)?;
            let output = Shape::from_dims(&norm.shape.as_ref()?.sample()?)?;
            let parameters = self.segment.parameters.iter();
            let own = parameters.filter(|parameter| conv.norm.contains(&parameter.name));
            Some(InnerLayer {
                depth: 1,
                name: format!("{}.norm", conv.weight),
                type_name: BatchNorm::TYPE,
                output,
                count: own.map(Parameter::len).sum(),
            })
        })
    }

    /// Lists the parameters, trainable ones first.
    pub(super) fn params(&self) -> Vec<ParamDef> {
        self.segment.params()
    }
}
