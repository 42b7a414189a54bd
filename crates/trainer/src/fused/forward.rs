//! The forward pass on the CPU.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Flex, TensorMetadata};
use kiln_kernels::{Activation, Norm, conv2d_forward, norm_pool_forward};

use super::buffers::Loan;
use super::layout::{channels_first, channels_last, contiguous, from_vec, slice, transposed};
use super::ops::Parameters;
use super::{Operation, Statistics};

type FlexTensor = FloatTensor<Flex>;

/// What the forward pass gives, and keeps for the backward pass.
#[derive(Debug)]
pub struct Forward {
    /// As Burn sees it.
    pub output: FlexTensor,
    /// Mean and variance of the batch by channel; empty where the batch was not asked.
    pub moments: [Vec<f32>; 2],
    /// What the gradients depend on.
    pub saved: Saved,
}

/// What the gradients of an operation depend on.
#[derive(Debug)]
pub struct Saved {
    pub operation: Operation,
    /// Channels last.
    pub input: FlexTensor,
    /// In the kernels' order.
    pub weight: Option<FlexTensor>,
    pub gamma: Option<FlexTensor>,
    /// The output, where nothing follows the convolution and its gradient depends on it.
    pub output: Option<FlexTensor>,
    /// What stands between convolution and tail.
    pub between: Option<Loan>,
}

/// Runs the operation on `x`, `[n, channels, height, width]` or `[n, features]`.
pub fn forward(x: FlexTensor, parameters: Parameters<Flex>, operation: Operation) -> Forward {
    let images = x.shape().num_dims() == 4;
    let input = channels_last(x);
    let weight = parameters.weight.given();
    let weight = weight.map(|weight| contiguous(if images { weight } else { transposed(weight) }));
    let bias = parameters.bias.given().map(contiguous);
    let gamma = parameters.gamma.given().map(contiguous);
    let beta = parameters.beta.given().map(contiguous);
    let convolve = |to: &mut Vec<f32>| {
        let (Some(shape), Some(weight)) = (&operation.conv, &weight) else {
            return;
        };
        to.resize(shape.output_len(), 0.0);
        conv2d_forward(
            shape,
            slice(&input),
            slice(weight),
            bias.as_ref().map(slice),
            operation.activation,
            to,
        );
    };
    let mut moments = [Vec::new(), Vec::new()];
    let (values, dims, between) = if let Some(tail) = &operation.tail {
        let mut between = operation.buffers.lend();
        convolve(&mut between.activations);
        let norm = gamma.as_ref().zip(beta.as_ref()).map(|(gamma, beta)| Norm {
            gamma: slice(gamma),
            beta: slice(beta),
            epsilon: tail.epsilon,
            statistics: tail.statistics.as_kernel(),
        });
        let between_ref = &mut *between;
        let from = if operation.conv.is_some() {
            &between_ref.activations
        } else {
            slice(&input)
        };
        let mut output = vec![0.0; tail.shape.output_len()];
        let state = &mut between_ref.state;
        norm_pool_forward(
            &tail.shape,
            norm.as_ref(),
            tail.dropout.as_ref(),
            from,
            &mut output,
            state,
        );
        if gamma.is_some() && matches!(tail.statistics, Statistics::Batch) {
            moments = [state.mean.clone(), state.variance.clone()];
        }
        let [height, width] = tail.shape.output();
        (
            output,
            [tail.shape.batch, height, width, tail.shape.channels],
            Some(between),
        )
    } else {
        let shape = operation
            .conv
            .as_ref()
            .expect("an operation has a convolution or a tail");
        let mut output = Vec::new();
        convolve(&mut output);
        let [height, width] = shape.output();
        (output, [shape.batch, height, width, shape.filters], None)
    };
    let [n, _, _, c] = dims;
    let last = if images {
        from_vec(values, dims)
    } else {
        from_vec(values, [n, c])
    };
    let keeps_output = between.is_none() && operation.activation == Activation::Relu;
    let saved = Saved {
        input,
        weight,
        gamma,
        output: keeps_output.then(|| last.clone()),
        between,
        operation,
    };
    let output = if images { channels_first(last) } else { last };
    Forward {
        output,
        moments,
        saved,
    }
}
