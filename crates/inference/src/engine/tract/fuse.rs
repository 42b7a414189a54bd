//! Max-pooling, and the batch normalization before it, in one pass over the activations:
//! [`NormPool`], which [`fuse`] puts in their place.
//!
//! tract computes a batch normalization as a multiplication and an addition over all of a
//! convolution's output; of the report's CNN that took half of the time, and pooling an eighth.
//!
//! And strided slices, which [`pick_strided`] replaces where tract cannot place them.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{
    EvalContext, EvalOp, StaticName, TractErrorContext, bail, ensure,
};
use tract_onnx::tract_core::ops::array::{Gather, StridedSlice};
use tract_onnx::tract_core::ops::binary::{BinMiniOp, TypedBinOp};
use tract_onnx::tract_core::ops::change_axes::AxisOp;
use tract_onnx::tract_core::ops::cnn::{MaxPool, PaddingSpec};
use tract_onnx::tract_core::ops::math::{Add, Mul};
use tract_onnx::tract_core::ops::nn::DataFormat;
use tract_onnx::tract_core::{args_1, as_op, op_as_typed_op, op_out_of_plan};

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

/// Picks elements by their places where a strided slice takes a reshaped value: tract 0.23 puts the slice
/// before the reshaping, and fails.
pub fn pick_strided(mut model: TypedModel) -> TractResult<TypedModel> {
    for id in 0..model.nodes.len() {
        let node = model.node(id);
        let [input, ..] = node.inputs[..] else {
            continue;
        };
        let Some(picks) = picks(&model, node)? else {
            continue;
        };
        let name = node.name.clone();
        let mut patch = TypedModelPatch::default();
        let mut wire = patch.tap_model(&model, input)?;
        for (axis, places) in picks {
            let places = patch.add_const(format!("{name}.places-{axis}"), tensor1(&places))?;
            let picked = format!("{name}.axis-{axis}");
            wire = patch.wire_node(picked, Gather::new(axis), &[wire, places])?[0];
        }
        patch.shunt_outside(&model, id.into(), wire)?;
        patch.obliterate(id)?;
        patch.apply(&mut model)?;
    }
    Ok(model)
}

/// An axis, and the places of the elements that are taken along it.
type Pick = (usize, Vec<i64>);

/// The axes of a strided slice that takes a reshaped value, with the places of the elements that it
/// takes; none for other nodes, and where they are not known.
fn picks(model: &TypedModel, node: &TypedNode) -> TractResult<Option<Vec<Pick>>> {
    let Some(slice) = node.op_as::<StridedSlice>() else {
        return Ok(None);
    };
    let shape = model.outlet_fact(node.inputs[0])?.shape.clone();
    let constant =
        |at: usize| -> TractResult<_> { Ok(model.outlet_fact(node.inputs[at])?.konst.clone()) };
    let ints = |at: Option<usize>| -> TractResult<Option<Vec<i32>>> {
        let Some(tensor) = at.map(constant).transpose()?.flatten() else {
            return Ok(None);
        };
        let tensor = tensor.cast_to::<i32>()?;
        Ok(Some(
            tensor
                .to_plain_array_view::<i32>()?
                .iter()
                .copied()
                .collect(),
        ))
    };
    let (Some(begin), Some(end), Some(steps)) = (
        constant(1)?,
        constant(2)?,
        ints(slice.optional_steps_input)?,
    ) else {
        return Ok(None);
    };
    let is_reshaped = model.node(node.inputs[0].node).op_is::<AxisOp>();
    if !is_reshaped || steps.iter().all(|&step| step == 1) || steps.iter().any(|&step| step < 1) {
        return Ok(None);
    }
    let rank = shape.rank() as i32;
    let sliced = ints(slice.optional_axes_input)?.unwrap_or_else(|| (0..rank).collect());
    let mut picks = Vec::new();
    for (at, axis) in sliced.into_iter().enumerate() {
        let axis = (if axis < 0 { axis + rank } else { axis }) as usize;
        let Some(size) = shape.get(axis) else {
            return Ok(None);
        };
        let part = slice.prepare_one_dim(at, size, &begin, &end, &steps)?;
        let (Some(begin), Some(end)) = (part.begin.as_i64(), part.end.as_i64()) else {
            return Ok(None);
        };
        picks.push((axis, (begin..end).step_by(part.stride as usize).collect()));
    }
    Ok(Some(picks))
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

/// Max-pooling of NCHW float32 without padding, of what `slope[c] * x + inter[c]` gives for each
/// channel.
///
/// The pooling comes first: `max(a x + b)` over a window is `a max(x) + b`, for a negative `a` `a
/// min(x) + b`, to the last bit, since rounding keeps the order. So the normalization runs over
/// what is left after pooling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NormPool {
    /// Height and width of the window.
    pub kernel: [usize; 2],
    /// Rows and columns from one window to the next.
    pub strides: [usize; 2],
    /// Slope and intercept of each channel, if there is a normalization: float32, one value per
    /// channel.
    pub norm: Option<[Arc<Tensor>; 2]>,
}

impl NormPool {
    /// Output height and width.
    fn output(&self, size: [usize; 2]) -> TractResult<[usize; 2]> {
        let [kernel, strides] = [self.kernel, self.strides];
        ensure!(
            strides.iter().all(|&stride| stride > 0) && kernel[0] > 0 && kernel[1] > 0,
            "a window of nothing"
        );
        ensure!(
            kernel[0] <= size[0] && kernel[1] <= size[1],
            "a {kernel:?} window does not fit in {size:?}"
        );
        Ok([0, 1].map(|axis| (size[axis] - kernel[axis]) / strides[axis] + 1))
    }

    /// Pools one channel of one image; `pick` chooses of two values.
    fn plane(
        &self,
        input: &[f32],
        width: usize,
        output: &mut [f32],
        columns: usize,
        pick: impl Fn(f32, f32) -> f32,
    ) {
        let ([kernel_rows, kernel_columns], [down, across]) = (self.kernel, self.strides);
        for (y, out) in output.chunks_exact_mut(columns).enumerate() {
            let rows = &input[y * down * width..][..kernel_rows * width];
            if (self.kernel, across) == ([2, 2], 2) {
                let (top, bottom) = rows.split_at(width);
                for ((out, top), bottom) in out
                    .iter_mut()
                    .zip(top.chunks_exact(2))
                    .zip(bottom.chunks_exact(2))
                {
                    *out = pick(pick(top[0], top[1]), pick(bottom[0], bottom[1]));
                }
                continue;
            }
            for (tap, row) in rows.chunks_exact(width).enumerate() {
                for x in 0..kernel_columns {
                    let taps = row[x..].iter().step_by(across);
                    if (tap, x) == (0, 0) {
                        out.iter_mut()
                            .zip(taps)
                            .for_each(|(out, &value)| *out = value);
                    } else {
                        out.iter_mut()
                            .zip(taps)
                            .for_each(|(out, &value)| *out = pick(*out, value));
                    }
                }
            }
        }
    }
}

impl Op for NormPool {
    fn name(&self) -> StaticName {
        "NormPool".into()
    }

    op_as_typed_op!();
}

impl EvalOp for NormPool {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let &[images, channels, height, width] = input.shape() else {
            bail!("expected NCHW, found {:?}", input.shape())
        };
        let [rows, columns] = self.output([height, width])?;
        let view = input.to_plain_array_view::<f32>()?;
        let Some(values) = view.as_slice() else {
            bail!("the input is not contiguous")
        };
        let mut output = vec![0.0; images * channels * rows * columns];
        let planes = values
            .chunks_exact(height * width)
            .zip(output.chunks_exact_mut(rows * columns));
        let norm = match &self.norm {
            Some([slope, inter]) => Some((
                slope.to_plain_array_view::<f32>()?,
                inter.to_plain_array_view::<f32>()?,
            )),
            None => None,
        };
        let norm = norm
            .as_ref()
            .and_then(|(slope, inter)| Some((slope.as_slice()?, inter.as_slice()?)));
        for (at, (input, output)) in planes.enumerate() {
            let norm = norm.map(|(slope, inter)| [slope[at % channels], inter[at % channels]]);
            if norm.is_some_and(|[slope, _]| slope < 0.0) {
                self.plane(
                    input,
                    width,
                    output,
                    columns,
                    |a, b| if b < a { b } else { a },
                );
            } else {
                self.plane(
                    input,
                    width,
                    output,
                    columns,
                    |a, b| if b > a { b } else { a },
                );
            }
            if let Some([slope, inter]) = norm {
                for value in output {
                    *value = slope * *value + inter;
                }
            }
        }
        let output =
            tract_ndarray::Array4::from_shape_vec([images, channels, rows, columns], output)?;
        Ok(tvec!(output.into_tensor().into_tvalue()))
    }
}

impl TypedOp for NormPool {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let shape = inputs[0]
            .shape
            .as_concrete()
            .context("a shape that is not known")?;
        let &[images, channels, height, width] = shape else {
            bail!("expected NCHW, found {shape:?}")
        };
        ensure!(
            self.norm
                .iter()
                .flatten()
                .all(|values| values.len() == channels),
            "a value for each channel"
        );
        let [rows, columns] = self.output([height, width])?;
        Ok(tvec!(f32::fact([images, channels, rows, columns])))
    }

    as_op!();
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
