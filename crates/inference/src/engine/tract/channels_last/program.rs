//! Steps over values with channels last, and the buffers that they share.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kiln_kernels::{
    Activation, Divisor, Elementwise, LayerNorm, MatMul, MatMulShape, NormPoolShape,
    PreparedConv2d, ShapeError, Steps, add, average_pool_forward, channel_gate_forward,
    elementwise_forward, global_average_pool_forward, layer_norm_forward, matmul, max_pool_forward,
    round_to_steps, softmax_forward,
};

use super::strided::{Binary, Strided, combine, copy};
use crate::profile::StepCost;

/// A value between steps: floats for each image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub usize);

/// An operand of a step.
#[derive(Debug, Clone)]
pub enum Operand {
    Value(ValueId),
    /// The same for every image.
    Constant(Arc<[f32]>),
}

/// A part of what [`Step::Copy`] writes.
#[derive(Debug, Clone)]
pub struct Piece {
    pub of: Operand,
    pub sizes: Vec<usize>,
    pub from: Strided,
    pub to: Strided,
}

/// One call of the kernels.
pub enum Step {
    /// A convolution or dense layer with what follows it.
    Conv {
        conv: Box<PreparedConv2d>,
        of: ValueId,
        residual: Option<ValueId>,
    },
    /// The maximum of windows.
    MaxPool { shape: NormPoolShape, of: ValueId },
    /// The mean of windows.
    AveragePool {
        shape: NormPoolShape,
        divisor: Divisor,
        of: ValueId,
    },
    /// The mean of each channel of an image, times a number.
    GlobalMean {
        pixels: usize,
        channels: usize,
        scale: f32,
        of: ValueId,
    },
    /// A function of each number.
    Elementwise { function: Elementwise, of: ValueId },
    /// The numbers that the nearest integers stand for.
    Round { steps: Steps, of: ValueId },
    /// Each number, or the nearer of these where it is not between them.
    Clamp { low: f32, high: f32, of: ValueId },
    /// `activation(a + b)`.
    Add {
        of: [ValueId; 2],
        activation: Activation,
    },
    /// An operation of two operands of which each may be repeated along some axes; the result is row-major.
    Binary {
        operation: Binary,
        sizes: Vec<usize>,
        of: [(Operand, Strided); 2],
    },
    /// Each channel of an image times a number.
    Gate {
        channels: usize,
        of: ValueId,
        gate: ValueId,
    },
    /// Layer normalization of each row.
    LayerNorm {
        gamma: Vec<f32>,
        beta: Vec<f32>,
        epsilon: f32,
        of: ValueId,
    },
    /// Softmax of each row.
    Softmax { columns: usize, of: ValueId },
    /// Products of matrices of the same image.
    MatMul {
        shape: MatMulShape,
        of: [ValueId; 2],
    },
    /// Parts of values, each to its place.
    Copy { pieces: Vec<Piece> },
}

impl Step {
    /// The values that it takes.
    pub fn takes(&self) -> Vec<ValueId> {
        let value = |operand: &Operand| match operand {
            Operand::Value(value) => Some(*value),
            Operand::Constant(_) => None,
        };
        match self {
            Self::Conv { of, residual, .. } => std::iter::once(*of).chain(*residual).collect(),
            Self::MaxPool { of, .. }
            | Self::AveragePool { of, .. }
            | Self::GlobalMean { of, .. }
            | Self::Elementwise { of, .. }
            | Self::Clamp { of, .. }
            | Self::Round { of, .. }
            | Self::LayerNorm { of, .. }
            | Self::Softmax { of, .. } => vec![*of],
            Self::Add { of, .. } | Self::MatMul { of, .. } => of.to_vec(),
            Self::Binary { of, .. } => of.iter().filter_map(|(of, _)| value(of)).collect(),
            Self::Gate { of, gate, .. } => vec![*of, *gate],
            Self::Copy { pieces } => pieces.iter().filter_map(|piece| value(&piece.of)).collect(),
        }
    }
}

/// Products of the matrices of one image, for so many images whose values have these lengths.
pub fn for_images(
    matmul: MatMul,
    images: usize,
    [a, b, c]: [usize; 3],
) -> Result<MatMulShape, ShapeError> {
    let mut matmul = MatMul {
        count: [images, matmul.count[1]],
        ..matmul
    };
    matmul.a.matrices[0] = a;
    matmul.b.matrices[0] = b;
    matmul.c.matrices[0] = c;
    matmul.checked()
}

/// Where a value lies while the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The caller's, by its number.
    Input(usize),
    /// A buffer, by its number, with all images of a batch if `whole`, else with those of a pass.
    Buffer { at: usize, whole: bool },
}

/// Steps that some images go through together, pass by pass, before the next steps begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    pub steps: Range<usize>,
    /// Images of a pass.
    pub images: usize,
}

/// What a program is made of.
pub struct Parts {
    /// Each with the value that it makes.
    pub steps: Vec<(Step, ValueId)>,
    /// Floats of an image, of each value.
    pub lengths: Vec<usize>,
    /// The values that are the caller's.
    pub inputs: Vec<ValueId>,
    pub outputs: Vec<ValueId>,
    /// All steps, in order.
    pub phases: Vec<Phase>,
    /// Images of a batch, of which a pass of each phase takes a part without a rest.
    pub batch: usize,
}

/// Steps in order, with the buffers that their values take.
pub struct Program {
    parts: Parts,
    places: Vec<Place>,
    /// Floats of each buffer.
    buffers: Vec<usize>,
    /// Buffers of runs that have ended.
    idle: Mutex<Vec<Vec<Vec<f32>>>>,
    /// What each step took, while that is measured.
    times: Mutex<Option<Vec<Duration>>>,
}

impl Program {
    /// Plans the buffers of steps.
    pub fn new(parts: Parts) -> Self {
        let (places, buffers) = places(&parts);
        Self {
            parts,
            places,
            buffers,
            idle: Mutex::new(Vec::new()),
            times: Mutex::new(None),
        }
    }

    /// Multiplications with an addition each for a batch.
    pub fn multiply_adds(&self) -> u64 {
        let of_phase = |phase: &Phase| {
            let steps = &self.parts.steps[phase.steps.clone()];
            let of_pass: u64 = steps.iter().map(|(step, _)| step.multiply_adds()).sum();
            of_pass * (self.parts.batch / phase.images) as u64
        };
        self.parts.phases.iter().map(of_phase).sum()
    }

    /// Computes the outputs of a batch.
    pub fn run(&self, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) {
        let parts = &self.parts;
        let mut buffers = self.take();
        let mut times = locked(&self.times).take();
        for Phase { steps, images } in &parts.phases {
            for pass in 0..parts.batch / images {
                for (at_step, (step, to)) in (steps.start..).zip(&parts.steps[steps.clone()]) {
                    let begin = times.is_some().then(Instant::now);
                    let Place::Buffer { at, .. } = self.places[to.0] else {
                        continue;
                    };
                    // A step's value is in another buffer than those that it takes.
                    let mut output = std::mem::take(&mut buffers[at]);
                    let range = self.range(*to, pass, *images);
                    let read = |value: ValueId| {
                        let range = self.range(value, pass, *images);
                        match self.places[value.0] {
                            Place::Input(at) => &inputs[at][range],
                            Place::Buffer { at, .. } => &buffers[at][range],
                        }
                    };
                    step.run(*images, &read, &mut output[range]);
                    buffers[at] = output;
                    if let (Some(times), Some(begin)) = (&mut times, begin) {
                        times[at_step] += begin.elapsed();
                    }
                }
            }
        }
        for (value, output) in parts.outputs.iter().zip(outputs) {
            match self.places[value.0] {
                Place::Input(at) => output.copy_from_slice(inputs[at]),
                Place::Buffer { at, .. } => {
                    let length = output.len();
                    output.copy_from_slice(&buffers[at][..length]);
                }
            }
        }
        locked(&self.idle).push(buffers);
        if times.is_some() {
            *locked(&self.times) = times;
        }
    }

    /// From now on, the next run measures what each step takes.
    pub fn measure(&self) {
        *locked(&self.times) = Some(vec![Duration::ZERO; self.parts.steps.len()]);
    }

    /// Returns what the steps took in the run that was measured, and what they cost; nothing more is measured.
    pub fn measured(&self) -> Vec<StepCost> {
        let times = locked(&self.times).take().unwrap_or_default();
        let phases = self.parts.phases.iter();
        let phases = phases.flat_map(|phase| {
            let passes = (self.parts.batch / phase.images) as u64;
            phase.steps.clone().map(move |step| (step, phase, passes))
        });
        let costs = phases.zip(times).map(|((at, phase, passes), time)| {
            let (step, to) = &self.parts.steps[at];
            let values = step.takes().into_iter().chain([*to]);
            let floats: usize = values.map(|value| self.parts.lengths[value.0]).sum();
            let floats = (floats * phase.images) as u64 * passes + step.constants();
            StepCost {
                step: step.to_string(),
                seconds: time.as_secs_f64(),
                multiply_adds: step.multiply_adds() * passes,
                bytes: floats * size_of::<f32>() as u64,
            }
        });
        costs.collect()
    }

    /// Where the images of a pass are in a value's buffer.
    fn range(&self, value: ValueId, pass: usize, images: usize) -> Range<usize> {
        let length = self.parts.lengths[value.0] * images;
        match self.places[value.0] {
            Place::Buffer { whole: false, .. } => 0..length,
            Place::Input(_) | Place::Buffer { whole: true, .. } => {
                pass * length..(pass + 1) * length
            }
        }
    }

    /// Takes the buffers of a run that has ended, or new ones.
    fn take(&self) -> Vec<Vec<f32>> {
        let idle = locked(&self.idle).pop();
        let new = || self.buffers.iter().map(|&length| vec![0.0; length]);
        idle.unwrap_or_else(|| new().collect())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives each value a buffer that no other value needs at the same time, and returns the floats of each buffer.
fn places(parts: &Parts) -> (Vec<Place>, Vec<usize>) {
    let phase_of = |step: usize| {
        let holds = |phase: &Phase| phase.steps.contains(&step);
        parts.phases.iter().position(holds).unwrap_or(0)
    };
    let mut made = vec![None; parts.lengths.len()];
    let mut last_use = vec![0; parts.lengths.len()];
    let mut whole = vec![false; parts.lengths.len()];
    for (at, (step, to)) in parts.steps.iter().enumerate() {
        (made[to.0], last_use[to.0]) = (Some(at), at);
        for value in step.takes() {
            last_use[value.0] = at;
            whole[value.0] |= made[value.0].is_some_and(|made| phase_of(made) != phase_of(at));
        }
    }
    for output in &parts.outputs {
        (last_use[output.0], whole[output.0]) = (parts.steps.len(), true);
    }
    let mut places = vec![Place::Input(usize::MAX); parts.lengths.len()];
    for (at, value) in parts.inputs.iter().enumerate() {
        places[value.0] = Place::Input(at);
    }
    let (mut buffers, mut free): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
    // The buffers that steps of the present phase write.
    let mut touched = Vec::new();
    for (at, (step, to)) in parts.steps.iter().enumerate() {
        let phase = &parts.phases[phase_of(at)];
        if phase.steps.start == at {
            touched.clear();
        }
        let images = if whole[to.0] {
            parts.batch
        } else {
            phase.images
        };
        let needed = parts.lengths[to.0] * images;
        // What a pass leaves for later phases, the next pass must not write over: not by an earlier step either.
        let may = |buffer: &usize| {
            !whole[to.0] || phase.images == parts.batch || !touched.contains(buffer)
        };
        // The smallest that suffices, or else the largest, which then grows.
        let best = free
            .iter()
            .copied()
            .filter(may)
            .min_by_key(|&buffer| (buffers[buffer] < needed, buffers[buffer].abs_diff(needed)));
        let buffer = best.unwrap_or(buffers.len());
        if buffer == buffers.len() {
            buffers.push(0);
        }
        free.retain(|&other| other != buffer);
        touched.push(buffer);
        buffers[buffer] = buffers[buffer].max(needed);
        places[to.0] = Place::Buffer {
            at: buffer,
            whole: whole[to.0],
        };
        let mut done = step.takes();
        done.push(*to);
        done.sort_unstable();
        done.dedup();
        // What the passes of a phase take from before it, the next pass takes too.
        let is_done = |value: &ValueId| last_use[value.0] == at && !whole[value.0];
        free.extend(done.iter().filter(|it| is_done(it)).filter_map(|value| {
            match places[value.0] {
                Place::Buffer { at, .. } => Some(at),
                Place::Input(_) => None,
            }
        }));
        if phase.steps.end == at + 1 {
            let is_over = |value: usize| {
                whole[value]
                    && made[value].is_some_and(|made| made <= at)
                    && last_use[value] <= at
                    && phase_of(last_use[value]) == phase_of(at)
            };
            free.extend(
                (0..places.len())
                    .filter(|&value| is_over(value))
                    .filter_map(|value| match places[value] {
                        Place::Buffer { at, .. } => Some(at),
                        Place::Input(_) => None,
                    }),
            );
        }
    }
    (places, buffers)
}

impl Step {
    /// Multiplications with an addition each for a pass; of other steps none, which hardly count beside.
    fn multiply_adds(&self) -> u64 {
        match self {
            Self::Conv { conv, .. } => conv.shape().multiply_adds() as u64,
            Self::MatMul { shape, .. } => {
                let sizes = [
                    shape.count[0],
                    shape.count[1],
                    shape.rows,
                    shape.depth,
                    shape.columns,
                ];
                sizes.iter().map(|&size| size as u64).product()
            }
            _ => 0,
        }
    }

    /// Floats that are the same for every image.
    fn constants(&self) -> u64 {
        match self {
            Self::Conv { conv, .. } => conv.shape().weights_len() as u64,
            Self::LayerNorm { gamma, beta, .. } => (gamma.len() + beta.len()) as u64,
            _ => 0,
        }
    }

    /// Computes the step for `images` images; `read` gives their part of a value.
    fn run<'a>(&'a self, images: usize, read: &dyn Fn(ValueId) -> &'a [f32], output: &mut [f32]) {
        match self {
            Self::Conv { conv, of, residual } => {
                conv.forward(read(*of), residual.map(read), output);
            }
            Self::MaxPool { shape, of } => max_pool_forward(shape, read(*of), output),
            Self::AveragePool { shape, divisor, of } => {
                average_pool_forward(shape, *divisor, read(*of), output);
            }
            Self::GlobalMean {
                pixels,
                channels,
                scale,
                of,
            } => {
                global_average_pool_forward(images, *pixels, *channels, read(*of), output);
                for value in output {
                    *value *= scale;
                }
            }
            Self::Elementwise { function, of } => elementwise_forward(*function, read(*of), output),
            Self::Round { steps, of } => round_to_steps(*steps, read(*of), output),
            Self::Clamp { low, high, of } => {
                for (to, &value) in output.iter_mut().zip(read(*of)) {
                    // NaN stays NaN.
                    let value = if value < *low { *low } else { value };
                    *to = if value > *high { *high } else { value };
                }
            }
            Self::Add { of, activation } => add(*activation, read(of[0]), read(of[1]), output),
            Self::Binary {
                operation,
                sizes,
                of,
            } => {
                let length: usize = sizes.iter().product();
                for (image, output) in output.chunks_exact_mut(length).enumerate() {
                    let [a, b] = of
                        .each_ref()
                        .map(|(operand, strided)| (part(operand, image, images, read), strided));
                    combine(*operation, sizes, a, b, output);
                }
            }
            Self::Gate { channels, of, gate } => {
                channel_gate_forward(images, *channels, read(*of), read(*gate), output);
            }
            Self::LayerNorm {
                gamma,
                beta,
                epsilon,
                of,
            } => {
                let epsilon = *epsilon;
                let norm = LayerNorm {
                    gamma,
                    beta,
                    epsilon,
                };
                layer_norm_forward(&norm, read(*of), output);
            }
            Self::Softmax { columns, of } => softmax_forward(*columns, read(*of), output),
            Self::MatMul { shape, of } => matmul(shape, read(of[0]), read(of[1]), output),
            Self::Copy { pieces } => {
                let length = output.len() / images;
                for (image, output) in output.chunks_exact_mut(length).enumerate() {
                    for piece in pieces {
                        let from = part(&piece.of, image, images, read);
                        copy(&piece.sizes, (from, &piece.from), output, &piece.to);
                    }
                }
            }
        }
    }
}

/// What it computes, and its sizes.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Conv { conv, residual, .. } => {
                let shape = conv.shape();
                let ([rows, columns], [down, across]) = (shape.kernel, shape.stride);
                let plus = if residual.is_some() { ", added" } else { "" };
                if [shape.height, shape.width, rows, columns] == [1; 4] {
                    return write!(f, "dense, {} to {}{plus}", shape.channels, shape.filters);
                }
                if shape.groups == shape.channels && [rows, columns] == [1, 1] {
                    return write!(f, "scale and shift, {} channels{plus}", shape.channels);
                }
                let kind = match shape.groups {
                    1 => "conv",
                    groups if groups == shape.channels => "depthwise conv",
                    _ => "grouped conv",
                };
                write!(f, "{kind} {rows}x{columns}")?;
                if [down, across] != [1, 1] {
                    write!(f, "/{}", down.max(across))?;
                }
                return write!(
                    f,
                    ", {} to {}, {}x{}{plus}",
                    shape.channels, shape.filters, shape.height, shape.width
                );
            }
            Self::MatMul { shape, .. } => {
                let (count, rows, depth, columns) =
                    (shape.count[1], shape.rows, shape.depth, shape.columns);
                return write!(f, "matmul, {count} of {rows}x{depth} by {depth}x{columns}");
            }
            Self::MaxPool { .. } => "max pool",
            Self::AveragePool { .. } => "average pool",
            Self::GlobalMean { .. } => "global average pool",
            Self::Elementwise { function, .. } => return write!(f, "{function:?}"),
            Self::Round { .. } => "quantize",
            Self::Clamp { .. } => "clip",
            Self::Add { .. } => "add",
            Self::Binary { operation, .. } => return write!(f, "{operation:?}"),
            Self::Gate { .. } => "multiply by channel",
            Self::LayerNorm { .. } => "layer norm",
            Self::Softmax { .. } => "softmax",
            Self::Copy { .. } => "copy",
        };
        f.write_str(name)
    }
}

/// An image's part of an operand.
fn part<'a>(
    operand: &'a Operand,
    image: usize,
    images: usize,
    read: &dyn Fn(ValueId) -> &'a [f32],
) -> &'a [f32] {
    match operand {
        Operand::Constant(values) => values,
        Operand::Value(value) => {
            let values = read(*value);
            let length = values.len() / images;
            &values[image * length..][..length]
        }
    }
}
