//! The gradients on the CPU.

use burn::backend::Flex;
use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use kiln_kernels::{
    Activation, Conv2dGradients, NormPoolGradient, OutputGradient, conv2d_backward,
};

use super::forward::Saved;
use super::layout::{channels_first, channels_last, from_vec, slice, transposed};

type FlexTensor = FloatTensor<Flex>;

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
            let gradient = match (self.operation.activation, &self.output) {
                (Activation::Relu, Some(output)) => OutputGradient::Relu {
                    gradient: slice(&gradient),
                    output: slice(output),
                },
                (Activation::Relu, None) | (Activation::Linear, _) => OutputGradient::Linear {
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
