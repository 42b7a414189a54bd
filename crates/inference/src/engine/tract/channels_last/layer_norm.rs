//! Layer normalization, which tract writes as a dozen of nodes at first, and as four at last.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer, RmsNorm};

use super::convert::floats;
use super::draft::Builder;
use super::program::Step;
use super::view::View;

/// The nodes of a layer normalization, as tract writes it: the root mean square normalization of what is left
/// without its mean.
pub struct LayerNorm {
    /// Those between the first and the last.
    pub nodes: [usize; 2],
    pub last: usize,
    axis: usize,
    epsilon: f32,
}

impl LayerNorm {
    /// Looks for one that begins with this sum.
    pub fn at(model: &TypedModel, sum: &TypedNode) -> Option<Self> {
        let op = sum.op_as::<Reduce>()?;
        let [axis] = op.axes[..] else {
            return None;
        };
        let of = sum.inputs[0];
        let size = model
            .outlet_fact(of)
            .ok()?
            .shape
            .as_concrete()?
            .get(axis)
            .copied()?;
        let only = |node: &TypedNode| {
            let users = &node.outputs[0].successors;
            let is_output = model.outputs.iter().any(|output| output.node == node.id);
            (users.len() == 1 && !is_output).then(|| model.node(users[0].node))
        };
        let named = |node: &TypedNode, name: &str| {
            node.op_as::<TypedBinOp>()
                .is_some_and(|op| op.0.name() == name)
        };
        let mean = only(sum).filter(|node| named(node, "Mul"))?;
        let factor = mean
            .inputs
            .iter()
            .find_map(|&input| model.outlet_fact(input).ok()?.konst.clone())?;
        let factor = floats(&factor).filter(|values| values.len() == 1)?[0];
        let rest = only(mean).filter(|node| named(node, "Sub"))?;
        let norm = only(rest)?;
        let rms = norm.op_as::<RmsNorm>()?;
        let epsilon = rms.eps.cast_to_scalar::<f32>().ok()?;
        let is_mean = op.reducer == Reducer::Sum && (factor * size as f32 - 1.0).abs() < 1e-5;
        let is_norm = rms.axis == axis && rest.inputs[0] == of && rest.inputs[1].node == mean.id;
        (is_mean && is_norm).then_some(Self {
            nodes: [mean.id, rest.id],
            last: norm.id,
            axis,
            epsilon,
        })
    }

    /// Adds the normalization of a tensor, and returns its output.
    pub fn convert(&self, builder: &mut Builder, view: &View) -> Option<View> {
        let (channels, _) = view.axis(self.axis)?;
        let view = builder.whole(view, &view.with_last(self.axis));
        let draft = Step::LayerNorm {
            gamma: vec![1.0; channels],
            beta: vec![0.0; channels],
            epsilon: self.epsilon,
            of: view.value,
        };
        let value = builder.push(draft, view.len());
        Some(View { value, ..view })
    }
}
