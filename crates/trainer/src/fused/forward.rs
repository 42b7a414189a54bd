//! The forward pass on the CPU.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Flex, TensorMetadata};
use kiln_kernels::{Activation, Norm, conv2d_forward, norm_pool_forward};

use super::buffers::Loan;
use super::layout::{channels_first, channels_last, contiguous, from_vec, slice, transposed};
use super::operation::{Operation, Parameters, Statistics};

type FlexTensor = FloatTensor<Flex>;

/// Results of the forward pass, and what it keeps for the backward pass.
#[derive(Debug)]
pub struct Forward {
    /// As Burn sees it.
    pub output: FlexTensor,
    /// Mean and variance of the batch by channel; empty where they were not used.
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
    /// What lies between convolution and epilogue.
    pub intermediates: Option<Loan>,
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
    let (values, dims, intermediates) = if let Some(epilogue) = &operation.epilogue {
        let mut intermediates = operation.buffers.lend();
        convolve(&mut intermediates.activations);
        let norm = gamma.as_ref().zip(beta.as_ref()).map(|(gamma, beta)| Norm {
            gamma: slice(gamma),
            beta: slice(beta),
            epsilon: epilogue.epsilon,
            statistics: epilogue.statistics.as_kernel(),
        });
        let kept = &mut *intermediates;
        let from = if operation.conv.is_some() {
            &kept.activations
        } else {
            slice(&input)
        };
        let mut output = vec![0.0; epilogue.shape.output_len()];
        let state = &mut kept.state;
        norm_pool_forward(
            &epilogue.shape,
            norm.as_ref(),
            epilogue.dropout.as_ref(),
            from,
            &mut output,
            state,
        );
        if gamma.is_some() && matches!(epilogue.statistics, Statistics::Batch) {
            moments = [state.mean.clone(), state.variance.clone()];
        }
        let [height, width] = epilogue.shape.output();
        (
            output,
            [epilogue.shape.batch, height, width, epilogue.shape.channels],
            Some(intermediates),
        )
    } else {
        let shape = operation
            .conv
            .as_ref()
            .expect("an operation has a convolution or a epilogue");
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
    let keeps_output = intermediates.is_none() && operation.activation == Activation::Relu;
    let saved = Saved {
        input,
        weight,
        gamma,
        output: keeps_output.then(|| last.clone()),
        intermediates,
        operation,
    };
    let output = if images { channels_first(last) } else { last };
    Forward {
        output,
        moments,
        saved,
    }
}
