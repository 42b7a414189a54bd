//! Models with small numbers, computed in float: weights of 8 or 16 bits are restored once, and pairs of
//! `QuantizeLinear` and `DequantizeLinear` round in one pass, without the integers. tract by itself restores large
//! weights in every run, and computes some operators between pairs in integers, slower than kiln's kernels do in
//! float.

use kiln_kernels::{Steps, round_to_steps};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{
    AxesMapping, AxisChangeConsequence, EvalContext, EvalOp, InOut, StaticName, TractErrorContext,
};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::change_axes::AxisOp;
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::quant::{DequantizeLinearF32, QuantizeLinearI8, QuantizeLinearU8};
use tract_onnx::tract_core::{as_op, op_as_typed_op, op_out_of_plan};

/// Each number, rounded to one that an integer of 8 bits stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct RoundTrip {
    pub steps: Steps,
}

impl Eq for RoundTrip {}

impl Op for RoundTrip {
    fn name(&self) -> StaticName {
        "RoundTrip".into()
    }

    op_as_typed_op!();
}

impl EvalOp for RoundTrip {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let view = inputs[0].to_plain_array_view::<f32>()?;
        let values = view.as_slice().context("an input that is contiguous")?;
        let mut output = vec![0.0; values.len()];
        round_to_steps(self.steps, values, &mut output);
        let array = tract_ndarray::ArrayD::from_shape_vec(view.shape(), output)?;
        Ok(tvec!(array.into_tensor().into_tvalue()))
    }
}

impl TypedOp for RoundTrip {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(f32::datum_type().fact(inputs[0].shape.clone())))
    }

    fn axes_mapping(
        &self,
        inputs: &[&TypedFact],
        outputs: &[&TypedFact],
    ) -> TractResult<AxesMapping> {
        AxesMapping::natural(inputs, outputs)
    }

    fn change_axes(
        &self,
        model: &TypedModel,
        node: &TypedNode,
        _: InOut,
        change: &AxisOp,
    ) -> TractResult<Option<AxisChangeConsequence>> {
        Ok(Some(AxisChangeConsequence::new(model, node, None, change)))
    }

    as_op!();
}

/// Computes what is made of constants alone by the operators that restore weights, however large.
pub fn restore_weights(mut model: TypedModel) -> TractResult<TypedModel> {
    for id in 0..model.nodes.len() {
        let node = model.node(id);
        let restores = node.op_is::<Cast>()
            || node.op_is::<TypedBinOp>()
            || node.op_is::<DequantizeLinearF32>();
        if !restores || node.outputs[0].fact.datum_type != f32::datum_type() {
            continue;
        }
        let constants: Option<TVec<TValue>> = model
            .node_input_facts(id)?
            .iter()
            .map(|fact| Some(fact.konst.clone()?.into_tvalue()))
            .collect();
        let Some(constants) = constants else { continue };
        // Not what repeats its input: a small file could ask for more memory than there is.
        let largest = constants.iter().map(|it| it.len()).max();
        let output = &node.outputs[0].fact.shape;
        let length = output.as_concrete().map(|shape| shape.iter().product());
        if length.is_none_or(|length: usize| Some(length) > largest) {
            continue;
        }
        let Some(values) = node.op.eval_out_of_plan(constants)? else {
            continue;
        };
        let name = node.name.clone();
        let mut patch = TypedModelPatch::default();
        for value in values {
            let wire = patch.add_const(format!("{name}.restored"), value.into_arc_tensor())?;
            patch.shunt_outside(&model, id.into(), wire)?;
        }
        patch.obliterate(id)?;
        patch.apply(&mut model)?;
    }
    Ok(model)
}

/// Replaces each `DequantizeLinear` of what a `QuantizeLinear` with the same scale and zero point gives.
pub fn round_trips(mut model: TypedModel) -> TractResult<TypedModel> {
    for id in 0..model.nodes.len() {
        let node = model.node(id);
        let Some(dequantize) = node.op_as::<DequantizeLinearF32>() else {
            continue;
        };
        let quantize = model.node(node.inputs[0].node);
        let Some(steps) = steps(quantize, dequantize) else {
            continue;
        };
        let (name, input) = (node.name.clone(), quantize.inputs[0]);
        if model.outlet_fact(input)?.datum_type != f32::datum_type() {
            continue;
        }
        let mut patch = TypedModelPatch::default();
        let wire = patch.tap_model(&model, input)?;
        let rounded = patch.wire_node(format!("{name}.rounded"), RoundTrip { steps }, &[wire])?;
        patch.shunt_outside(&model, id.into(), rounded[0])?;
        patch.obliterate(id)?;
        patch.apply(&mut model)?;
    }
    Ok(model)
}

/// The integers by way of which a pair rounds, if it is one.
fn steps(quantize: &TypedNode, dequantize: &DequantizeLinearF32) -> Option<Steps> {
    let op = &quantize.op_as::<ElementWiseOp>()?.0;
    let (factor, zero, ends) = if let Some(op) = op.downcast_ref::<QuantizeLinearU8>() {
        (op.scale, i32::from(op.zero_point), [0, 255])
    } else {
        let op = op.downcast_ref::<QuantizeLinearI8>()?;
        (op.scale, i32::from(op.zero_point), [-128, 127])
    };
    let DequantizeLinearF32 { scale, zero_point } = *dequantize;
    // tract multiplies by one over the scale.
    let is_pair = zero == zero_point && factor.to_bits() == scale.recip().to_bits();
    (is_pair && scale > 0.0 && scale.is_finite()).then_some(Steps { scale, zero, ends })
}
