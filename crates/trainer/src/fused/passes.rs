//! The forward pass on the CPU, and its gradients.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Flex, TensorMetadata};
use kiln_kernels::{
    Activation, Conv2dGradients, Epilogue, Norm, NormPoolGradient, NormPoolSteps, OutputGradient,
    conv2d_backward, conv2d_forward, norm_pool_forward,
};

use super::layout::{channels_first, channels_last, contiguous, from_vec, slice, transposed};
use super::operation::{Loan, Operation, Parameters, Statistics};

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
            &Epilogue {
                bias: bias.as_ref().map(slice),
                residual: None,
                activation: operation.activation,
            },
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
        let steps = NormPoolSteps {
            norm,
            activation: epilogue.activation,
            dropout: epilogue.dropout,
            ..NormPoolSteps::default()
        };
        norm_pool_forward(&epilogue.shape, &steps, from, &mut output, state);
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
    let keeps_output = intermediates.is_none() && operation.activation != Activation::Linear;
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

/// Which gradients are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub input: bool,
    pub weight: bool,
    pub bias: bool,
}

/// The gradients, in Burn's shapes. Those of gamma and beta are a by-product.
#[derive(Debug, Default)]
pub struct Gradients {
    pub input: Option<FlexTensor>,
    pub weight: Option<FlexTensor>,
    pub bias: Option<FlexTensor>,
    pub gamma: Option<FlexTensor>,
    pub beta: Option<FlexTensor>,
}

impl Saved {
    /// Computes the gradients of input and parameters from the gradient of the output.
    pub fn backward(&self, gradient: FlexTensor, wanted: Wanted) -> Gradients {
        let gradient = channels_last(gradient);
        let Some(epilogue) = &self.operation.epilogue else {
            let gradient = match &self.output {
                Some(output) => OutputGradient::Activated {
                    activation: self.operation.activation,
                    gradient: slice(&gradient),
                    output: slice(output),
                },
                None => OutputGradient::Linear {
                    gradient: slice(&gradient),
                },
            };
            return self.convolution(&gradient, wanted);
        };
        let intermediates = self
            .intermediates
            .as_ref()
            .expect("an operation with an epilogue keeps intermediates");
        let from = if self.operation.conv.is_some() {
            &intermediates.activations
        } else {
            slice(&self.input)
        };
        let gamma = self.gamma.as_ref().map(slice);
        let through = NormPoolGradient::new(
            &epilogue.shape,
            gamma,
            from,
            &intermediates.state,
            slice(&gradient),
        );
        let mut gradients = if self.operation.conv.is_some() {
            let gradient = OutputGradient::NormPool {
                gradient: &through,
                activation: self.operation.activation,
            };
            self.convolution(&gradient, wanted)
        } else {
            let mut to = vec![0.0; if wanted.input { from.len() } else { 0 }];
            if wanted.input {
                through.write(&mut to);
            }
            Gradients {
                input: wanted.input.then(|| self.of_input(to)),
                ..Gradients::default()
            }
        };
        if let Some(gamma) = gamma {
            let (mut to_gamma, mut to_beta) = (vec![0.0; gamma.len()], vec![0.0; gamma.len()]);
            through.write_parameters(&mut to_gamma, &mut to_beta);
            let channels = [gamma.len()];
            (gradients.gamma, gradients.beta) = (
                Some(from_vec(to_gamma, channels)),
                Some(from_vec(to_beta, channels)),
            );
        }
        gradients
    }

    /// Computes the gradients of the convolution.
    fn convolution(&self, gradient: &OutputGradient, wanted: Wanted) -> Gradients {
        let (Some(shape), Some(weight)) = (&self.operation.conv, &self.weight) else {
            return Gradients::default();
        };
        let buffer = |wanted: bool, length: usize| wanted.then(|| vec![0.0; length]);
        let mut to_input = buffer(wanted.input, shape.input_len());
        let mut to_weight = buffer(wanted.weight, shape.weights_len());
        let mut to_bias = buffer(wanted.bias, shape.filters);
        let gradients = Conv2dGradients {
            input: to_input.as_deref_mut(),
            weights: to_weight.as_deref_mut(),
            bias: to_bias.as_deref_mut(),
        };
        conv2d_backward(
            shape,
            slice(&self.input),
            slice(weight),
            gradient,
            gradients,
        );
        let of_weight = |values: Vec<f32>| match &weight.shape()[..] {
            &[outputs, inputs] => transposed(from_vec(values, [outputs, inputs])),
            _ => from_vec(
                values,
                [
                    shape.filters,
                    shape.channels / shape.groups,
                    shape.kernel[0],
                    shape.kernel[1],
                ],
            ),
        };
        Gradients {
            input: to_input.map(|values| self.of_input(values)),
            weight: to_weight.map(of_weight),
            bias: to_bias.map(|values| from_vec(values, [shape.filters])),
            ..Gradients::default()
        }
    }

    /// Returns the input's gradient as Burn sees it.
    fn of_input(&self, values: Vec<f32>) -> FlexTensor {
        let shape = self.input.shape();
        if let &[n, h, w, c] = &shape[..] {
            channels_first(from_vec(values, [n, h, w, c]))
        } else {
            let n = shape[0];
            let features = values.len() / n;
            from_vec(values, [n, features])
        }
    }
}
