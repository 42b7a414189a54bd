//! Gradients of a program: its steps in reverse.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Flex, TensorMetadata};
use kiln_kernels::{
    Conv2dGradients, NormPoolGradient, OutputGradient, activation_gradient, average_pool_backward,
    channel_gate_backward, conv2d_backward, elementwise_backward, global_average_pool_backward,
};

use super::super::layout::{channels_first, channels_last, from_vec, slice};
use super::forward::{Tape, is_activated, transpose};
use super::{Conv, Normalization, Step};

type FlexTensor = FloatTensor<Flex>;

/// Gradients of the input and of the parameters, where they are wanted.
#[derive(Debug)]
pub struct Gradients {
    pub input: Option<FlexTensor>,
    pub parameters: Vec<Option<FlexTensor>>,
}

/// Gradients under way.
struct Walk<'a> {
    tape: &'a Tape,
    /// Whether something before a value has a gradient.
    wanted: Vec<bool>,
    /// Whether a parameter has one.
    trained: &'a [bool],
    values: Vec<Option<Vec<f32>>>,
    parameters: Vec<Option<Vec<f32>>>,
}

impl Tape {
    /// Computes the gradients from that of the output, for the input if `input`, and for the
    /// parameters that are `trained`.
    pub fn backward(&self, gradient: FlexTensor, input: bool, trained: &[bool]) -> Gradients {
        let steps = &self.program.steps;
        let mut wanted = vec![input];
        for step in steps {
            let any = step.values().iter().any(|&at| wanted[at])
                || step.trained().iter().any(|&at| trained[at]);
            wanted.push(any);
        }
        let mut walk = Walk {
            tape: self,
            wanted,
            trained,
            values: vec![None; steps.len() + 1],
            parameters: vec![None; self.parameters.len()],
        };
        let gradient = channels_last(gradient);
        let mut output = Some(slice(&gradient));
        for at in (0..steps.len()).rev() {
            let own = walk.values[at + 1].take();
            let found = output.take().or(own.as_deref());
            if let Some(found) = found.filter(|_| walk.wanted[at + 1]) {
                walk.step(at, found);
            }
            if let Some(buffer) = own {
                self.pool.give(buffer);
            }
        }
        let [height, width, channels] = self.program.sizes[0];
        let to_input = walk.values[0].take().map(|values| {
            if self.vectors {
                from_vec(values, [self.batch, channels])
            } else {
                channels_first(from_vec(values, [self.batch, height, width, channels]))
            }
        });
        let parameters = walk.parameters.into_iter().zip(&self.parameters);
        Gradients {
            input: to_input,
            parameters: parameters
                .map(|(values, like)| {
                    let count = like.shape().num_elements();
                    values.map(|values| from_vec(values, [count]))
                })
                .collect(),
        }
    }
}

impl Walk<'_> {
    /// Passes the gradient of what a step gave to what it took.
    fn step(&mut self, at: usize, gradient: &[f32]) {
        let tape = self.tape;
        match &tape.program.steps[at] {
            Step::Conv(conv) => {
                let output = tape.value(at + 1);
                let gradient_of_sum = if is_activated(conv.activation) {
                    OutputGradient::Activated {
                        activation: conv.activation,
                        gradient,
                        output,
                    }
                } else {
                    OutputGradient::Linear { gradient }
                };
                self.convolution(at, conv, &gradient_of_sum);
                if let Some(residual) = conv.residual {
                    self.give(residual, |to| {
                        activation_gradient(conv.activation, gradient, output, to);
                    });
                }
            }
            Step::NormPool(norm) => self.normalization(at, norm, gradient),
            Step::Elementwise { function, of } => self.give(*of, |to| {
                elementwise_backward(*function, tape.value(*of), gradient, to);
            }),
            Step::Add { of, activation } => {
                for &of in of {
                    self.give(of, |to| {
                        activation_gradient(*activation, gradient, tape.value(at + 1), to);
                    });
                }
            }
            Step::Gate { of, gate } => {
                let channels = tape.program.sizes[*of][2];
                let (x, factors) = (tape.value(*of), tape.value(*gate));
                let mut to_input = tape.pool.take(x.len());
                let mut to_gate = tape.pool.take(factors.len());
                channel_gate_backward(
                    tape.batch,
                    channels,
                    x,
                    factors,
                    gradient,
                    &mut to_input,
                    &mut to_gate,
                );
                self.put(*of, to_input);
                self.put(*gate, to_gate);
            }
            Step::GlobalMean { of } => {
                let [height, width, channels] = tape.program.sizes[*of];
                self.give(*of, |to| {
                    global_average_pool_backward(
                        tape.batch,
                        height * width,
                        channels,
                        gradient,
                        to,
                    );
                });
            }
            Step::AveragePool { of, sizes, divisor } => {
                let shape = kiln_kernels::NormPool {
                    batch: tape.batch,
                    ..*sizes
                };
                let shape = shape.checked().expect("checked before it ran");
                self.give(*of, |to| {
                    average_pool_backward(&shape, *divisor, gradient, to);
                });
            }
            Step::Drop { of, rate, samples } => self.give(*of, |to| {
                tape.drop_in(at, *rate, *samples, gradient, to);
            }),
            Step::Concat { of } => {
                let channels: usize = of.iter().map(|&at| tape.program.sizes[at][2]).sum();
                let mut first = 0;
                for &at in of {
                    let part = tape.program.sizes[at][2];
                    self.give(at, |to| {
                        let pixels = gradient.chunks_exact(channels);
                        for (to, from) in to.chunks_exact_mut(part).zip(pixels) {
                            to.copy_from_slice(&from[first..first + part]);
                        }
                    });
                    first += part;
                }
            }
        }
    }

    fn normalization(&mut self, at: usize, norm: &Normalization, gradient: &[f32]) {
        let tape = self.tape;
        let shape = kiln_kernels::NormPool {
            batch: tape.batch,
            ..norm.sizes
        };
        let shape = shape.checked().expect("checked before it ran");
        let state = tape.states[at]
            .as_ref()
            .expect("it was left when the step ran");
        let gamma = norm.norm.map(|norm| tape.parameter(norm.gamma));
        let through = NormPoolGradient::new(&shape, gamma, tape.value(norm.of), state, gradient);
        if let Some(norm) = norm.norm
            && (self.trained[norm.gamma] || self.trained[norm.beta])
        {
            let channels = shape_channels(&tape.program.sizes, at);
            let (mut to_gamma, mut to_beta) = (vec![0.0; channels], vec![0.0; channels]);
            through.write_parameters(&mut to_gamma, &mut to_beta);
            self.put_parameter(norm.gamma, to_gamma);
            self.put_parameter(norm.beta, to_beta);
        }
        if let Some(residual) = norm.residual {
            self.give(residual, |to| through.write_residual(to));
        }
        // A convolution takes the gradient as it is made, without a pass through memory.
        let producer = norm
            .of
            .checked_sub(1)
            .filter(|_| self.is_used_once(norm.of));
        match producer.map(|at| (at, &tape.program.steps[at])) {
            Some((at, Step::Conv(conv))) if conv.residual.is_none() => {
                let gradient = OutputGradient::NormPool {
                    gradient: &through,
                    activation: conv.activation,
                };
                if self.wanted[norm.of] {
                    self.convolution(at, conv, &gradient);
                }
            }
            _ => self.give(norm.of, |to| through.write(to)),
        }
    }

    fn convolution(&mut self, at: usize, conv: &Conv, gradient: &OutputGradient) {
        let tape = self.tape;
        let shape = tape.shape(conv);
        let of_parameter = |at: usize, len: usize| self.trained[at].then(|| vec![0.0; len]);
        let mut to_input = self.wanted[conv.of].then(|| self.buffer(conv.of));
        let mut to_weight = of_parameter(conv.weight, shape.weights_len());
        let mut to_bias = conv.bias.and_then(|at| of_parameter(at, shape.filters));
        let gradients = Conv2dGradients {
            input: to_input.as_deref_mut(),
            weights: to_weight.as_deref_mut(),
            bias: to_bias.as_deref_mut(),
        };
        conv2d_backward(
            &shape,
            tape.value(conv.of),
            tape.weight(at, conv),
            gradient,
            gradients,
        );
        if let Some(found) = to_input {
            self.put(conv.of, found);
        }
        if let Some(found) = to_weight {
            let found = if conv.turned {
                let mut turned = vec![0.0; found.len()];
                transpose(&found, shape.channels, &mut turned);
                turned
            } else {
                found
            };
            self.put_parameter(conv.weight, found);
        }
        if let (Some(at), Some(found)) = (conv.bias, to_bias) {
            self.put_parameter(at, found);
        }
    }

    /// Adds what `write` writes to the gradient of a value, if it is wanted.
    fn give(&mut self, at: usize, write: impl FnOnce(&mut [f32])) {
        if self.wanted[at] {
            let mut found = self.buffer(at);
            write(&mut found);
            self.put(at, found);
        }
    }

    /// A buffer for the gradient of a value. That of the input leaves as a tensor, and is not the
    /// pool's; what is added to it is, as all that [`put`](Self::put) gives back.
    fn buffer(&self, at: usize) -> Vec<f32> {
        let len = self.tape.value(at).len();
        if at == 0 && self.values[0].is_none() {
            vec![0.0; len]
        } else {
            self.tape.pool.take(len)
        }
    }

    /// Adds to the gradient of a value.
    fn put(&mut self, at: usize, found: Vec<f32>) {
        if !self.wanted[at] {
            return self.tape.pool.give(found);
        }
        match &mut self.values[at] {
            Some(sum) => {
                sum.iter_mut()
                    .zip(&found)
                    .for_each(|(sum, found)| *sum += found);
                self.tape.pool.give(found);
            }
            none => *none = Some(found),
        }
    }

    fn put_parameter(&mut self, at: usize, found: Vec<f32>) {
        if !self.trained[at] {
            return;
        }
        match &mut self.parameters[at] {
            Some(sum) => sum
                .iter_mut()
                .zip(&found)
                .for_each(|(sum, found)| *sum += found),
            none => *none = Some(found),
        }
    }

    /// Whether a value goes to one step only, and no further.
    fn is_used_once(&self, at: usize) -> bool {
        let uses = self.tape.program.steps.iter().flat_map(Step::values);
        uses.filter(|&of| of == at).count() == 1
    }
}

/// The channels of what a step gave.
fn shape_channels(sizes: &[[usize; 3]], step: usize) -> usize {
    sizes[step + 1][2]
}
