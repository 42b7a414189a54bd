//! A program as an operation of tract's.

use std::fmt;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::{
    EvalContext, EvalOp, StaticName, TractErrorContext, ensure,
};
use tract_onnx::tract_core::{as_op, op_as_typed_op, op_out_of_plan};

use super::program::Program;

/// Row-major tensors in and out, the images first.
#[derive(Clone)]
pub struct Fused {
    pub program: Arc<Program>,
    /// Of the outputs.
    pub shapes: Vec<Vec<usize>>,
}

impl fmt::Debug for Fused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fused")
            .field("shapes", &self.shapes)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Fused {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.program, &other.program)
    }
}

impl Eq for Fused {}

impl Op for Fused {
    fn name(&self) -> StaticName {
        "Kernels".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Fused {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let views: Vec<_> = inputs
            .iter()
            .map(|input| input.to_plain_array_view::<f32>())
            .collect::<TractResult<_>>()?;
        let slices: Option<Vec<&[f32]>> = views.iter().map(|view| view.as_slice()).collect();
        let slices = slices.context("inputs that are contiguous")?;
        let mut outputs: Vec<Vec<f32>> = self
            .shapes
            .iter()
            .map(|shape| vec![0.0; shape.iter().product()])
            .collect();
        let mut written: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        self.program.run(&slices, &mut written);
        outputs
            .into_iter()
            .zip(&self.shapes)
            .map(|(values, shape)| {
                let array = tract_ndarray::ArrayD::from_shape_vec(shape.as_slice(), values)?;
                Ok(array.into_tensor().into_tvalue())
            })
            .collect()
    }
}

impl TypedOp for Fused {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        ensure!(
            inputs
                .iter()
                .all(|input| input.datum_type == f32::datum_type()),
            "float32"
        );
        Ok(self.shapes.iter().map(f32::fact).collect())
    }

    as_op!();
}
