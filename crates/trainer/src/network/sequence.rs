//! Running a sequence of layers by one fused operation.

use burn::module::Param;
use burn::nn::BatchNorm;
use burn::tensor::{Tensor, TensorData};
use kiln_kernels::Dropout;

use super::DropoutKey;
use super::activations::Activations;
use super::block::Block;
use super::plan::Sequence;
use crate::TrainError;
use crate::fused::{Buffers, Epilogue, Operation, Parameter, Parameters, Statistics, fused};

/// Runs the sequence; `blocks` are all of the network's.
pub fn run(
    sequence: &Sequence,
    blocks: &[Block],
    buffers: &Buffers,
    input: Activations,
    key: DropoutKey,
) -> Result<Activations, TrainError> {
    let output = match input {
        Activations::Image(image) => {
            Activations::Image(forward(sequence, blocks, buffers, image, key)?)
        }
        Activations::Vector(vector) => {
            Activations::Vector(forward(sequence, blocks, buffers, vector, key)?)
        }
    };
    Ok(output.activate(sequence.next))
}

fn forward<const D: usize>(
    sequence: &Sequence,
    blocks: &[Block],
    buffers: &Buffers,
    x: Tensor<D>,
    key: DropoutKey,
) -> Result<Tensor<D>, TrainError> {
    let training = x.device().is_autodiff();
    let batch = x.dims()[0];
    let norm = sequence
        .norm
        .map(|at| blocks[at].batch_norm().ok_or(TrainError::Plan(at)))
        .transpose()?;
    let dropout = sequence
        .dropout
        .map(|at| {
            let dropout = blocks[at].dropout().ok_or(TrainError::Plan(at))?;
            let active = training && dropout.training.is_enabled() && dropout.prob > 0.0;
            let drawn = active.then(|| Dropout::new(dropout.prob, key.seed_of(at), key.step));
            Ok::<_, TrainError>(drawn.transpose()?)
        })
        .transpose()?
        .flatten();
    let epilogue = |sizes| -> Result<Epilogue, TrainError> {
        let shape = kiln_kernels::NormPool { batch, ..sizes };
        Ok(Epilogue {
            shape: shape.checked()?,
            epsilon: norm.map_or(0.0, |norm| norm.epsilon as f32),
            statistics: norm.map_or(Statistics::Batch, |norm| statistics(norm, training)),
            dropout,
        })
    };
    let operation = Operation {
        conv: sequence
            .conv
            .map(|conv| kiln_kernels::Conv2d { batch, ..conv }.checked())
            .transpose()?,
        activation: sequence.activation,
        epilogue: sequence.epilogue.map(epilogue).transpose()?,
        buffers: buffers.clone(),
    };
    let (weight, bias) = match &blocks[sequence.layers.start] {
        Block::Conv2d(block) => (
            Some(block.conv.weight.val()).into(),
            block.conv.bias.as_ref().map(Param::val).into(),
        ),
        Block::Dense(block) => (
            Some(block.linear.weight.val()).into(),
            block.linear.bias.as_ref().map(Param::val).into(),
        ),
        Block::MaxPool(_)
        | Block::AvgPool(_)
        | Block::Bilinear(_)
        | Block::BatchNorm(_)
        | Block::Dropout(_)
        | Block::Stateless(_) => (Parameter::Absent, Parameter::Absent),
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

/// The mean and variance that a normalization uses.
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
