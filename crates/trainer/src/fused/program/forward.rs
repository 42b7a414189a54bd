//! Running a program, and what it leaves for the gradients.

use std::sync::Arc;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Flex, TensorMetadata};
use kiln_kernels::{
    Activation, Conv2d, Conv2dShape, Dropout, Epilogue, Norm as KernelNorm, NormPoolState,
    NormPoolSteps, Products, Statistics, add, average_pool_forward, channel_gate_forward,
    conv2d_forward, dropout, elementwise_forward, global_average_pool_forward, norm_pool_forward,
};

use super::super::key::DropoutKey;
use super::super::layout::{channels_first, channels_last, contiguous, from_vec, slice};
use super::{Conv, Normalization, Pool, Program, Step};

type FlexTensor = FloatTensor<Flex>;

/// Mean and variance of a batch by channel, and the node that normalized by them.
#[derive(Debug, Clone)]
pub struct Moments {
    pub node: usize,
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
}

/// What the gradients depend on. Its buffers go back when it is dropped.
#[derive(Debug)]
pub struct Tape {
    pub program: Arc<Program>,
    pub batch: usize,
    /// Whether the input was vectors.
    pub vectors: bool,
    pub training: Option<DropoutKey>,
    pub input: FlexTensor,
    pub parameters: Vec<FlexTensor>,
    /// What the steps gave, but the last one.
    pub values: Vec<Vec<f32>>,
    pub output: Option<FlexTensor>,
    /// Of the steps that normalize or pool.
    pub states: Vec<Option<NormPoolState>>,
    /// Of the convolutions whose weights had to be turned.
    pub turned: Vec<Option<Vec<f32>>>,
    pub pool: Pool,
}

impl Tape {
    /// A value's numbers, channels last.
    pub fn value(&self, at: usize) -> &[f32] {
        match at.checked_sub(1) {
            None => slice(&self.input),
            Some(at) => match self.values.get(at) {
                Some(values) => values,
                None => slice(self.output.as_ref().expect("no step takes the output")),
            },
        }
    }

    /// Drops what a step drops of values, or of their gradients: the mask is the same.
    pub fn drop_in(&self, step: usize, rate: f32, samples: bool, from: &[f32], to: &mut [f32]) {
        let Some(key) = self.training else {
            return to.copy_from_slice(from);
        };
        let mask = Dropout::new(f64::from(rate), key.seed_of(step), key.step);
        let mask = mask.expect("checked before it runs");
        if !samples {
            return dropout(&mask, from, to);
        }
        let mut factors = vec![0.0; self.batch];
        dropout(&mask, &vec![1.0; self.batch], &mut factors);
        let len = from.len() / self.batch.max(1);
        let samples = to.chunks_exact_mut(len).zip(from.chunks_exact(len));
        for ((to, from), factor) in samples.zip(factors) {
            to.iter_mut()
                .zip(from)
                .for_each(|(to, from)| *to = from * factor);
        }
    }

    pub fn parameter(&self, at: usize) -> &[f32] {
        slice(&self.parameters[at])
    }

    /// A convolution's sizes with this batch.
    pub fn shape(&self, conv: &Conv) -> Conv2dShape {
        let products = match self.training {
            Some(_) => self.program.products,
            None => Products::Float32,
        };
        let sizes = Conv2d {
            batch: self.batch,
            products,
            ..conv.sizes
        };
        sizes.checked().expect("checked before it runs")
    }

    /// A convolution's weights in the kernels' order.
    pub fn weight(&self, step: usize, conv: &Conv) -> &[f32] {
        match &self.turned[step] {
            Some(turned) => turned,
            None => self.parameter(conv.weight),
        }
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        let values = self.values.drain(..);
        let turned = self.turned.drain(..).flatten();
        values
            .chain(turned)
            .filter(|buffer| buffer.capacity() > 0)
            .for_each(|buffer| self.pool.give(buffer));
        let states = self.states.drain(..).flatten();
        states.for_each(|state| self.pool.give_state(state));
    }
}

/// Runs a program on `[n, channels, height, width]` or `[n, features]`. In `training`, batch
/// normalizations that may go by the batch do so, and their moments are given back. The tape is of use only if
/// it is to `keep` the values: otherwise they go back where no step takes them any more.
pub fn run(
    program: &Arc<Program>,
    x: FlexTensor,
    parameters: Vec<FlexTensor>,
    training: Option<DropoutKey>,
    keep: bool,
    pool: Pool,
) -> (FlexTensor, Vec<Moments>, Tape) {
    let shape = x.shape();
    let mut tape = Tape {
        batch: shape[0],
        vectors: shape.num_dims() == 2,
        training,
        input: channels_last(x),
        parameters: parameters.into_iter().map(contiguous).collect(),
        values: Vec::new(),
        output: None,
        states: Vec::new(),
        turned: Vec::new(),
        program: program.clone(),
        pool,
    };
    let mut moments = Vec::new();
    let last_uses = if keep {
        Vec::new()
    } else {
        program.last_uses()
    };
    let last = program.steps.len().saturating_sub(1);
    for (at, step) in program.steps.iter().enumerate() {
        let len = tape.batch * program.len(at + 1);
        // The output leaves as a tensor.
        let mut output = if at == last {
            vec![0.0; len]
        } else {
            tape.pool.take(len)
        };
        let state = compute(&mut tape, at, step, &mut output, &mut moments);
        tape.states.push(state);
        if at == last {
            let [h, w, c] = program.sizes[at + 1];
            tape.output = Some(if program.vectors {
                from_vec(output, [tape.batch, c])
            } else {
                from_vec(output, [tape.batch, h, w, c])
            });
        } else {
            tape.values.push(output);
        }
        for &value in last_uses.get(at).into_iter().flatten() {
            let buffer = std::mem::take(&mut tape.values[value - 1]);
            tape.pool.give(buffer);
        }
    }
    let output = tape.output.clone().unwrap_or_else(|| tape.input.clone());
    let output = if program.vectors {
        output
    } else {
        channels_first(output)
    };
    (output, moments, tape)
}

/// Computes one step.
fn compute(
    tape: &mut Tape,
    at: usize,
    step: &Step,
    output: &mut [f32],
    moments: &mut Vec<Moments>,
) -> Option<NormPoolState> {
    let batch = tape.batch;
    let mut turned = None;
    if let Step::Conv(conv) = step
        && conv.turned
    {
        let mut weight = tape.pool.take(conv.sizes.channels * conv.sizes.filters);
        transpose(tape.parameter(conv.weight), conv.sizes.filters, &mut weight);
        turned = Some(weight);
    }
    tape.turned.push(turned);
    match step {
        Step::Conv(conv) => {
            let shape = tape.shape(conv);
            let epilogue = Epilogue {
                bias: conv.bias.map(|at| tape.parameter(at)),
                residual: conv.residual.map(|at| tape.value(at)),
                activation: conv.activation,
            };
            let weight = tape.weight(tape.turned.len() - 1, conv);
            conv2d_forward(&shape, tape.value(conv.of), weight, &epilogue, output);
            None
        }
        Step::NormPool(norm) => Some(normalize(tape, norm, output, moments)),
        Step::Elementwise { function, of } => {
            elementwise_forward(*function, tape.value(*of), output);
            None
        }
        Step::Add {
            of: [a, b],
            activation,
        } => {
            add(*activation, tape.value(*a), tape.value(*b), output);
            None
        }
        Step::Gate { of, gate } => {
            let channels = tape.program.sizes[*of][2];
            channel_gate_forward(batch, channels, tape.value(*of), tape.value(*gate), output);
            None
        }
        Step::GlobalMean { of } => {
            let [height, width, channels] = tape.program.sizes[*of];
            global_average_pool_forward(batch, height * width, channels, tape.value(*of), output);
            None
        }
        Step::AveragePool { of, sizes, divisor } => {
            let shape = kiln_kernels::NormPool { batch, ..*sizes };
            let shape = shape.checked().expect("checked before it runs");
            average_pool_forward(&shape, *divisor, tape.value(*of), output);
            None
        }
        Step::Concat { of } => {
            let channels: usize = of.iter().map(|&at| tape.program.sizes[at][2]).sum();
            let mut first = 0;
            for &at in of {
                let part = tape.program.sizes[at][2];
                let pixels = output.chunks_exact_mut(channels);
                for (to, from) in pixels.zip(tape.value(at).chunks_exact(part)) {
                    to[first..first + part].copy_from_slice(from);
                }
                first += part;
            }
            None
        }
        Step::Drop { of, rate, samples } => {
            tape.drop_in(at, *rate, *samples, tape.value(*of), output);
            None
        }
    }
}

fn normalize(
    tape: &Tape,
    norm: &Normalization,
    output: &mut [f32],
    moments: &mut Vec<Moments>,
) -> NormPoolState {
    let shape = kiln_kernels::NormPool {
        batch: tape.batch,
        ..norm.sizes
    };
    let shape = shape.checked().expect("checked before it runs");
    let live = tape.training.is_some();
    let steps = NormPoolSteps {
        norm: norm.norm.map(|norm| KernelNorm {
            gamma: tape.parameter(norm.gamma),
            beta: tape.parameter(norm.beta),
            epsilon: norm.epsilon,
            statistics: if live && norm.live {
                Statistics::Batch
            } else {
                Statistics::Running {
                    mean: tape.parameter(norm.mean),
                    variance: tape.parameter(norm.variance),
                }
            },
        }),
        residual: norm.residual.map(|at| tape.value(at)),
        activation: norm.activation,
        dropout: None,
    };
    let mut state = tape.pool.take_state(output.len());
    norm_pool_forward(&shape, &steps, tape.value(norm.of), output, &mut state);
    if let Some(norm) = norm.norm.filter(|norm| live && norm.live) {
        moments.push(Moments {
            node: norm.node,
            mean: state.mean.clone(),
            variance: state.variance.clone(),
        });
    }
    state
}

/// Writes a matrix with so many columns the other way around.
pub(super) fn transpose(from: &[f32], columns: usize, to: &mut [f32]) {
    let rows = from.len() / columns.max(1);
    for (column, to) in to.chunks_exact_mut(rows.max(1)).enumerate() {
        for (to, row) in to.iter_mut().zip(from.chunks_exact(columns)) {
            *to = row[column];
        }
    }
}

/// Whether a step's gradient goes by its output.
pub(super) fn is_activated(activation: Activation) -> bool {
    activation != Activation::Linear
}
