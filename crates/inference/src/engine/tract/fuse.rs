//! Replaces max-pooling, and the batch normalization before it, by [`NormPool`].
//!
//! tract computes a batch normalization as a multiplication and an addition over all of a
//! convolution's output; of the report's CNN that took half of the time, and pooling an eighth.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::binary::{BinMiniOp, TypedBinOp};
use tract_onnx::tract_core::ops::cnn::{MaxPool, PaddingSpec};
use tract_onnx::tract_core::ops::math::{Add, Mul};
use tract_onnx::tract_core::ops::nn::DataFormat;

use super::pool::NormPool;

/// Replaces what can be.
pub fn fuse(mut model: TypedModel) -> TractResult<TypedModel> {
    for id in 0..model.nodes.len() {
        if let Some((op, input)) = find(&model, model.node(id))? {
            let mut patch = TypedModelPatch::default();
            let tapped = patch.tap_model(&model, input)?;
            let output = patch.wire_node(model.node(id).name.clone(), op, &[tapped])?;
            patch.shunt_outside(&model, id.into(), output[0])?;
            patch.obliterate(id)?;
            patch.apply(&mut model)?;
        }
    }
    Ok(model)
}

/// What may stand for a node, and its input.
fn find(model: &TypedModel, node: &TypedNode) -> TractResult<Option<(NormPool, OutletId)>> {
    let Some(MaxPool {
        pool_spec,
        with_index_outputs: None,
    }) = node.op_as::<MaxPool>()
    else {
        return Ok(None);
    };
    let fact = model.outlet_fact(node.inputs[0])?;
    let unpadded = match &pool_spec.padding {
        PaddingSpec::Valid => true,
        PaddingSpec::Explicit(before, after)
        | PaddingSpec::ExplicitOnnxPool(before, after, false) => {
            before.iter().chain(after).all(|&pad| pad == 0)
        }
        _ => false,
    };
    let undilated = pool_spec
        .dilations
        .iter()
        .flatten()
        .all(|&dilation| dilation == 1);
    let concrete = fact.datum_type == f32::datum_type()
        && fact
            .shape
            .as_concrete()
            .is_some_and(|shape| shape.len() == 4);
    let (&[rows, columns], NCHW) = (&*pool_spec.kernel_shape, pool_spec.data_format) else {
        return Ok(None);
    };
    if !(unpadded && undilated && concrete) {
        return Ok(None);
    }
    let strides = pool_spec
        .strides
        .as_ref()
        .map_or([1, 1], |strides| [strides[0], strides[1]]);
    let pool = NormPool {
        kernel: [rows, columns],
        strides,
        norm: None,
    };
    let channels = pool_spec.input_channels;
    let Some((inter, add)) = by_channel::<Add>(model, node.inputs[0], channels)? else {
        return Ok(Some((pool, node.inputs[0])));
    };
    let Some((slope, mul)) = by_channel::<Mul>(model, add, channels)? else {
        return Ok(Some((pool, node.inputs[0])));
    };
    Ok(Some((
        NormPool {
            norm: Some([slope, inter]),
            ..pool
        },
        mul,
    )))
}

const NCHW: DataFormat = DataFormat::NCHW;

/// If an outlet is that of an operation between a value and a constant for each channel, and nobody
/// else reads it: the constant, and the value.
fn by_channel<B: BinMiniOp>(
    model: &TypedModel,
    outlet: OutletId,
    channels: usize,
) -> TractResult<Option<(Arc<Tensor>, OutletId)>> {
    let node = model.node(outlet.node);
    let Some(TypedBinOp(op, None)) = node.op_as::<TypedBinOp>() else {
        return Ok(None);
    };
    if !op.is::<B>() || node.outputs[0].successors.len() != 1 || model.outputs.contains(&outlet) {
        return Ok(None);
    }
    for (constant, value) in [
        (node.inputs[0], node.inputs[1]),
        (node.inputs[1], node.inputs[0]),
    ] {
        let Some(constant) = &model.outlet_fact(constant)?.konst else {
            continue;
        };
        let value_fact = model.outlet_fact(value)?;
        let same = value_fact.datum_type == f32::datum_type()
            && value_fact.shape == model.outlet_fact(outlet)?.shape;
        if same
            && constant.datum_type() == f32::datum_type()
            && constant.shape() == [1, channels, 1, 1]
        {
            return Ok(Some((Arc::clone(constant), value)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from -1 to 1, the same on every run, many of them zero as after a rectifier.
    fn noise(shape: &[usize], seed: usize) -> Tensor {
        let length: usize = shape.iter().product();
        let values: Vec<f32> = (0..length)
            .map(|at| ((at * 7919 + seed * 104_729) % 2003) as f32 / 1001.5 - 1.0)
            .map(|value| if value > 0.7 { 0.0 } else { value })
            .collect();
        Tensor::from_shape(shape, &values).unwrap()
    }

    /// A batch normalization with slopes of both signs and zero before a max-pooling.
    fn model(
        size: [usize; 4],
        kernel: [usize; 2],
        strides: [usize; 2],
        padding: PaddingSpec,
        norm: bool,
    ) -> TypedModel {
        let channels = size[1];
        let mut model = TypedModel::default();
        let mut wire = model.add_source("x", f32::fact(size)).unwrap();
        if norm {
            let slope = model
                .add_const("slope", noise(&[1, channels, 1, 1], 3))
                .unwrap();
            let inter = model
                .add_const("inter", noise(&[1, channels, 1, 1], 5))
                .unwrap();
            wire = model
                .wire_node(
                    "mul",
                    tract_onnx::tract_core::ops::math::mul(),
                    &[slope, wire],
                )
                .unwrap()[0];
            wire = model
                .wire_node(
                    "add",
                    tract_onnx::tract_core::ops::math::add(),
                    &[inter, wire],
                )
                .unwrap()[0];
        }
        let pool_spec = tract_onnx::tract_core::ops::cnn::PoolSpec::new(
            NCHW,
            kernel.as_slice().into(),
            padding,
            None,
            Some(strides.as_slice().into()),
            channels,
            channels,
        );
        let wire = model
            .wire_node(
                "pool",
                MaxPool {
                    pool_spec,
                    with_index_outputs: None,
                },
                &[wire],
            )
            .unwrap();
        model.select_output_outlets(&wire).unwrap();
        model.into_decluttered().unwrap()
    }

    fn run(model: TypedModel, input: &Tensor) -> Tensor {
        let plan = model.into_optimized().unwrap().into_runnable().unwrap();
        plan.run(tvec!(input.clone().into_tvalue()))
            .unwrap()
            .remove(0)
            .into_tensor()
    }

    fn fused(model: &TypedModel) -> usize {
        model
            .nodes
            .iter()
            .filter(|node| node.op_is::<NormPool>())
            .count()
    }

    #[test]
    fn pooling_first_gives_the_same_bits() {
        for (size, kernel, strides) in [
            ([2, 6, 9, 7], [2, 2], [2, 2]),
            ([1, 32, 26, 26], [2, 2], [2, 2]),
            ([3, 4, 8, 11], [3, 3], [2, 2]),
            ([1, 5, 7, 7], [2, 3], [3, 1]),
            ([1, 3, 4, 4], [4, 4], [1, 1]),
        ] {
            for norm in [true, false] {
                let plain = model(size, kernel, strides, PaddingSpec::Valid, norm);
                let replaced = fuse(plain.clone()).unwrap();
                assert_eq!((fused(&plain), fused(&replaced)), (0, 1));
                let input = noise(&size, 1);
                assert_eq!(
                    run(replaced, &input),
                    run(plain, &input),
                    "{size:?} {kernel:?} {strides:?} {norm}"
                );
            }
        }
    }

    #[test]
    fn what_is_padded_or_looked_at_elsewhere_stays() {
        let padding = PaddingSpec::Explicit(tvec!(1, 1), tvec!(0, 0));
        assert_eq!(
            fused(&fuse(model([1, 2, 6, 6], [2, 2], [2, 2], padding, true)).unwrap()),
            0
        );
        let mut shared = model([1, 2, 6, 6], [2, 2], [2, 2], PaddingSpec::Valid, true);
        let normalized = shared
            .nodes
            .iter()
            .find(|node| node.op_is::<TypedBinOp>() && node.name == "add")
            .unwrap()
            .id;
        shared.outputs.push(normalized.into());
        let replaced = fuse(shared).unwrap();
        let pool = replaced
            .nodes
            .iter()
            .find_map(|node| node.op_as::<NormPool>())
            .unwrap();
        assert_eq!(pool.norm, None, "the pooling alone is replaced");
    }
}
