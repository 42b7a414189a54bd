//! Batch normalization and max-pooling in one pass over the activations.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{
    EvalContext, EvalOp, StaticName, TractErrorContext, bail, ensure,
};
use tract_onnx::tract_core::{args_1, as_op, op_as_typed_op, op_out_of_plan};

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
