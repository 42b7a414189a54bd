//! Running a sequence of layers by one fused operation.

use burn::module::Param;
use burn::nn::BatchNorm;
use burn::tensor::{Tensor, TensorData};
use kiln_kernels::{Dropout, ShapeError};

use super::Draws;
use super::block::Block;
use super::flow::Flow;
use super::plan::Sequence;
use crate::fused::{Buffers, Operation, Parameter, Parameters, Statistics, Tail, fused};

/// Runs the sequence; `blocks` are all of the network's.
pub fn run(
    sequence: &Sequence,
    blocks: &[Block],
    buffers: &Buffers,
    flow: Flow,
    draws: Draws,
) -> Result<Flow, ShapeError> {
    let flow = match flow {
        Flow::Image(image) => Flow::Image(forward(sequence, blocks, buffers, image, draws)?),
        Flow::Vector(vector) => Flow::Vector(forward(sequence, blocks, buffers, vector, draws)?),
    };
    Ok(flow.activate(sequence.then))
}

fn forward<const D: usize>(
    sequence: &Sequence,
    blocks: &[Block],
    buffers: &Buffers,
    x: Tensor<D>,
    draws: Draws,
) -> Result<Tensor<D>, ShapeError> {
    let training = x.device().is_autodiff();
    let batch = x.dims()[0];
    let norm = sequence.norm.map(|at| match &blocks[at] {
        Block::BatchNorm(norm) => norm,
        _ => unreachable!("a block is built from its layer"),
    });
    let tail = |tail| -> Result<Tail, ShapeError> {
        let shape = kiln_kernels::NormPool { batch, ..tail };
        let dropout = sequence.dropout.map(|at| match &blocks[at] {
            Block::Dropout(dropout)
                if training && dropout.training.is_enabled() && dropout.prob > 0.0 =>
            {
                Dropout::new(dropout.prob, draws.seed_of(at), draws.step).map(Some)
            }
            _ => Ok(None),
        });
        Ok(Tail {
            shape: shape.checked()?,
            epsilon: norm.map_or(0.0, |norm| norm.epsilon as f32),
            statistics: norm.map_or(Statistics::Batch, |norm| statistics(norm, training)),
            dropout: dropout.transpose()?.flatten(),
        })
    };
    let operation = Operation {
        conv: sequence
            .conv
            .map(|conv| kiln_kernels::Conv2d { batch, ..conv }.checked())
            .transpose()?,
        activation: sequence.activation,
        tail: sequence.tail.map(tail).transpose()?,
        buffers: buffers.clone(),
    };
    let (weight, bias) = match &blocks[sequence.layers.start] {
        Block::Conv2d(conv) => (
            Some(conv.weight.val()).into(),
            conv.bias.as_ref().map(Param::val).into(),
        ),
        Block::Dense(dense) => (
            Some(dense.weight.val()).into(),
            dense.bias.as_ref().map(Param::val).into(),
        ),
        _ => (Parameter::Absent, Parameter::Absent),
    };
    let gamma = norm.map(|norm| norm.gamma.val()).into();
    let beta = norm.map(|norm| norm.beta.val()).into();
    let (output, moments) = fused(
        x,
        Parameters {
            weight,
            bias,
            gamma,
            beta,
        },
        operation,
    );
    if let Some(norm) = norm.filter(|norm| training && norm.training.is_enabled()) {
        update(norm, moments);
    }
    Ok(output)
}

/// What a normalisation subtracts and divides by.
fn statistics(norm: &BatchNorm, training: bool) -> Statistics {
    if training && norm.training.is_enabled() {
        return Statistics::Batch;
    }
    let values = |tensor: Tensor<1>| {
        tensor
            .try_into_vec_as::<f32>()
            .expect("statistics are f32")
            .into()
    };
    Statistics::Running {
        mean: values(norm.running_mean.value_sync()),
        variance: values(norm.running_var.value_sync()),
    }
}

/// Moves the running statistics towards the batch's, as [`BatchNorm`] itself does.
fn update(norm: &BatchNorm, moments: [Vec<f32>; 2]) {
    for (running, batch) in [&norm.running_mean, &norm.running_var]
        .into_iter()
        .zip(moments)
    {
        let value = running.value_sync();
        let batch = Tensor::<1>::from_data(TensorData::from(&batch[..]), &value.device());
        running.update((value * (1.0 - norm.momentum) + batch * norm.momentum).detach());
    }
}
