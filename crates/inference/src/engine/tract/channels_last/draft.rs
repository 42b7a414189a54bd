//! Steps while they are put together: what follows one may still become a part of it.

use std::ops::Range;
use std::sync::Arc;

use kiln_kernels::{Activation, Conv2d, Divisor, MatMul, NormPool, PreparedConv2d, ShapeError};

use tract_onnx::prelude::*;

use super::program::{Operand, Parts, Phase, Piece, Program, Step, ValueId, for_images};
use super::strided::Strided;
use super::view::View;

/// The weights of a convolution: the graph's, as long as nothing is multiplied into them.
pub enum Weights {
    Shared(Arc<Tensor>),
    Own(Vec<f32>),
}

impl Weights {
    /// A constant of float32, row-major.
    pub fn of(tensor: &Arc<Tensor>) -> Option<Self> {
        let is_plain = tensor.datum_type() == f32::datum_type()
            && tensor
                .to_plain_array_view::<f32>()
                .ok()?
                .as_slice()
                .is_some();
        is_plain.then(|| Self::Shared(tensor.clone()))
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Shared(tensor) => tensor.len(),
            Self::Own(values) => values.len(),
        }
    }

    /// Multiplies those of each filter by its number.
    fn scaled(&mut self, by: &[f32]) {
        let mut values = self.with(<[f32]>::to_vec);
        let of_filter = values.len() / by.len();
        for (weights, by) in values.chunks_exact_mut(of_filter).zip(by) {
            for weight in weights {
                *weight *= by;
            }
        }
        *self = Self::Own(values);
    }

    fn with<R>(&self, work: impl FnOnce(&[f32]) -> R) -> R {
        match self {
            Self::Own(values) => work(values),
            Self::Shared(tensor) => {
                let view = tensor.to_plain_array_view::<f32>();
                let slice = view.as_ref().ok().and_then(|view| view.as_slice());
                work(slice.unwrap_or_default())
            }
        }
    }
}

/// A convolution or dense layer of an image: `activation(conv(of) + bias + residual)`.
pub struct Conv {
    /// Of one image. What has one row is as wide as there are pixels or rows of a matrix, so that those of several
    /// images are one row, too.
    pub sizes: Conv2d,
    pub weights: Weights,
    pub bias: Option<Vec<f32>>,
    pub of: ValueId,
    pub residual: Option<ValueId>,
    pub activation: Activation,
}

/// A step of one image.
pub enum Draft {
    Conv(Conv),
    MaxPool {
        sizes: NormPool,
        of: ValueId,
    },
    AveragePool {
        sizes: NormPool,
        divisor: Divisor,
        of: ValueId,
    },
    MatMul {
        sizes: MatMul,
        of: [ValueId; 2],
    },
    /// What is the same for any number of images.
    Ready(Step),
}

impl From<Step> for Draft {
    fn from(step: Step) -> Self {
        Self::Ready(step)
    }
}

/// A program that is being put together.
#[derive(Default)]
pub struct Builder {
    lengths: Vec<usize>,
    inputs: Vec<ValueId>,
    drafts: Vec<(Draft, ValueId)>,
}

/// How far a program had come.
#[derive(Clone, Copy)]
pub struct Mark([usize; 3]);

impl Builder {
    /// Returns how far it has come, for [`back_to`](Self::back_to).
    pub fn mark(&self) -> Mark {
        Mark([self.lengths.len(), self.inputs.len(), self.drafts.len()])
    }

    /// Takes back what was added since; what became a part of an earlier step stays.
    pub fn back_to(&mut self, Mark([lengths, inputs, drafts]): Mark) {
        self.lengths.truncate(lengths);
        self.inputs.truncate(inputs);
        self.drafts.truncate(drafts);
    }

    /// Adds a value of the caller's, of so many floats for an image.
    pub fn input(&mut self, length: usize) -> ValueId {
        let value = self.value(length);
        self.inputs.push(value);
        value
    }

    fn value(&mut self, length: usize) -> ValueId {
        self.lengths.push(length);
        ValueId(self.lengths.len() - 1)
    }

    /// Floats of an image.
    pub fn len(&self, value: ValueId) -> usize {
        self.lengths[value.0]
    }

    /// Adds a step whose value has so many floats for an image.
    pub fn push(&mut self, draft: impl Into<Draft>, length: usize) -> ValueId {
        let value = self.value(length);
        self.drafts.push((draft.into(), value));
        value
    }

    /// Returns whether the products of matrices are in it, for which alone it is worth while.
    pub fn has_products(&self) -> bool {
        let is_product = |draft: &Draft| matches!(draft, Draft::Conv(_) | Draft::MatMul { .. });
        self.drafts.iter().any(|(draft, _)| is_product(draft))
    }

    /// The same tensor as a whole value whose memory has these axes one after another, copied if it is not one yet.
    pub fn whole(&mut self, view: &View, order: &[usize]) -> View {
        if view.is_whole(order, self.len(view.value)) {
            return view.clone();
        }
        let sizes: Vec<_> = order.iter().map(|&axis| view.size(axis)).collect();
        let piece = Piece {
            of: Operand::Value(view.value),
            from: strided(view, order),
            to: Strided::row_major(&sizes),
            sizes,
        };
        let pieces = vec![piece];
        let value = self.push(Step::Copy { pieces }, view.len());
        let shape: Vec<_> = (0..view.axes.len()).map(|axis| view.size(axis)).collect();
        View::new(value, &shape, view.batch(), order)
    }

    /// The step that makes a value.
    fn maker(&self, value: ValueId) -> Option<usize> {
        // Mostly one of the last.
        self.drafts.iter().rposition(|(_, to)| *to == value)
    }

    fn maker_mut(&mut self, value: ValueId) -> Option<&mut Draft> {
        let at = self.maker(value)?;
        self.drafts.get_mut(at).map(|(draft, _)| draft)
    }

    /// Makes an addition for each channel, the last axis in memory, part of the step that makes the value, if it
    /// can be.
    pub fn shift(&mut self, value: ValueId, by: &[f32]) -> bool {
        match self.maker_mut(value) {
            Some(Draft::Conv(conv)) if conv.is_open() && conv.sizes.filters == by.len() => {
                let bias = conv.bias.get_or_insert_with(|| vec![0.0; by.len()]);
                bias.iter_mut().zip(by).for_each(|(bias, by)| *bias += by);
                true
            }
            Some(Draft::Ready(Step::LayerNorm { beta, .. })) if beta.len() == by.len() => {
                beta.iter_mut().zip(by).for_each(|(beta, by)| *beta += by);
                true
            }
            _ => false,
        }
    }

    /// The same of a multiplication for each channel.
    pub fn scale(&mut self, value: ValueId, by: &[f32]) -> bool {
        match self.maker_mut(value) {
            Some(Draft::Conv(conv)) if conv.is_open() && conv.sizes.filters == by.len() => {
                conv.weights.scaled(by);
                let bias = conv.bias.iter_mut().flatten();
                bias.zip(by).for_each(|(bias, by)| *bias *= by);
                true
            }
            Some(Draft::Ready(Step::LayerNorm { gamma, beta, .. })) if beta.len() == by.len() => {
                gamma
                    .iter_mut()
                    .zip(by)
                    .for_each(|(gamma, by)| *gamma *= by);
                beta.iter_mut().zip(by).for_each(|(beta, by)| *beta *= by);
                true
            }
            Some(Draft::Ready(Step::GlobalMean { scale, .. }))
                if by.iter().all(|other| other.to_bits() == by[0].to_bits()) =>
            {
                *scale *= by[0];
                true
            }
            _ => false,
        }
    }

    /// Makes the maximum with 0, or the minimum with 6 after it, part of the step that makes the value, if it can be.
    pub fn activate(&mut self, value: ValueId, activation: Activation) -> bool {
        let before = match activation {
            Activation::Relu6 => Activation::Relu,
            Activation::Relu | Activation::Linear => Activation::Linear,
        };
        match self.maker_mut(value) {
            Some(
                Draft::Conv(Conv { activation: it, .. })
                | Draft::Ready(Step::Add { activation: it, .. }),
            ) if *it == before => {
                *it = activation;
                true
            }
            _ => false,
        }
    }

    /// Makes an upper bound part of the step that makes the value, if it can be.
    pub fn bound(&mut self, value: ValueId, by: f32) -> bool {
        match self.maker_mut(value) {
            Some(Draft::Ready(Step::Clamp { high, .. })) => {
                *high = high.min(by);
                true
            }
            _ => false,
        }
    }

    /// Makes the addition of another whole value part of the convolution that makes the value, if it is one and the
    /// other is there before.
    pub fn add_residual(&mut self, value: ValueId, other: ValueId) -> bool {
        let (Some(at), before) = (self.maker(value), self.maker(other)) else {
            return false;
        };
        match &mut self.drafts[at].0 {
            Draft::Conv(conv) if conv.is_open() && before.is_none_or(|before| before < at) => {
                conv.residual = Some(other);
                true
            }
            _ => false,
        }
    }

    /// Prepares the program for batches of so many images.
    pub fn finish(self, outputs: Vec<ValueId>, batch: usize) -> Result<Program, ShapeError> {
        let costs: Vec<_> = self
            .drafts
            .iter()
            .map(|(draft, to)| self.cost(draft, *to))
            .collect();
        let phases = phases(&costs, batch);
        let mut steps = Vec::with_capacity(self.drafts.len());
        for (at, (draft, to)) in self.drafts.into_iter().enumerate() {
            let phase = phases.iter().find(|phase| phase.steps.contains(&at));
            let images = phase.map_or(batch, |phase| phase.images);
            steps.push((draft.prepare(images, to, &self.lengths)?, to));
        }
        Ok(Program::new(Parts {
            steps,
            lengths: self.lengths,
            inputs: self.inputs,
            outputs,
            phases,
            batch,
        }))
    }

    /// The floats of a step's weights, and those that it reads and writes for an image.
    fn cost(&self, draft: &Draft, to: ValueId) -> [usize; 2] {
        match draft {
            Draft::Conv(conv) => [conv.weights.len(), self.len(conv.of) + self.len(to)],
            _ => [0, 2 * self.len(to)],
        }
    }
}

/// Cuts steps where their weights become larger than what lies between them: an image after the other goes through the
/// first ones, whose values then stay in the cache, and the whole batch through the others, whose weights are then read
/// once. `costs` are the floats of each step's weights and of an image's values.
fn phases(costs: &[[usize; 2]], batch: usize) -> Vec<Phase> {
    let mut after: usize = costs.iter().map(|[_, values]| values * batch).sum();
    let mut before = 0;
    let (mut best, mut cut) = (after, 0);
    for (at, [weights, values]) in costs.iter().enumerate() {
        before += weights * batch;
        after -= values * batch;
        if before + after < best {
            (best, cut) = (before + after, at + 1);
        }
    }
    let phase = |steps: Range<usize>, images| Phase { steps, images };
    let phases = [phase(0..cut, 1), phase(cut..costs.len(), batch)];
    phases
        .into_iter()
        .filter(|phase| !phase.steps.is_empty())
        .collect()
}

impl Conv {
    /// Whether it is a product of a matrix with the weights, whose rows are the columns of an image of one row.
    fn is_row(&self) -> bool {
        let sizes = &self.sizes;
        (sizes.height, sizes.kernel, sizes.stride, sizes.padding) == (1, [1; 2], [1; 2], [0; 4])
    }

    /// Whether nothing follows the sum yet but the bias.
    fn is_open(&self) -> bool {
        self.residual.is_none() && self.activation == Activation::Linear
    }
}

impl Draft {
    /// The step for so many images.
    fn prepare(self, images: usize, to: ValueId, lengths: &[usize]) -> Result<Step, ShapeError> {
        let pool = |sizes: NormPool| {
            let batch = images;
            NormPool { batch, ..sizes }.checked()
        };
        Ok(match self {
            Self::Conv(conv) => {
                let sizes = if conv.is_row() {
                    let width = conv.sizes.width * images;
                    let parts = parts(width);
                    Conv2d {
                        batch: parts,
                        width: width / parts,
                        ..conv.sizes
                    }
                } else {
                    Conv2d {
                        batch: images,
                        ..conv.sizes
                    }
                };
                let shape = sizes.checked()?;
                let bias = conv.bias.as_deref();
                let prepared = conv
                    .weights
                    .with(|weights| PreparedConv2d::new(&shape, weights, bias, conv.activation));
                Step::Conv {
                    conv: Box::new(prepared),
                    of: conv.of,
                    residual: conv.residual,
                }
            }
            Self::MaxPool { sizes, of } => Step::MaxPool {
                shape: pool(sizes)?,
                of,
            },
            Self::AveragePool { sizes, divisor, of } => Step::AveragePool {
                shape: pool(sizes)?,
                divisor,
                of,
            },
            Self::MatMul { sizes, of } => Step::MatMul {
                shape: for_images(
                    sizes,
                    images,
                    [of[0], of[1], to].map(|value| lengths[value.0]),
                )?,
                of,
            },
            Self::Ready(step) => step,
        })
    }
}

/// In how many equal parts a row is cut, each as an image, which threads can share: none so short that much of a tile stays
/// empty.
const fn parts(width: usize) -> usize {
    let mut parts = MOST_PARTS;
    while parts > 1 && (!width.is_multiple_of(parts) || width / parts < LEAST_WIDTH) {
        parts /= 2;
    }
    parts
}

const MOST_PARTS: usize = 16;
/// Two tiles of the kernels.
const LEAST_WIDTH: usize = 28;

/// Where the elements of a view lie along these axes.
pub fn strided(view: &View, axes: &[usize]) -> Strided {
    Strided {
        offset: view.offset,
        strides: axes
            .iter()
            .map(|&axis| view.axis(axis).map_or(0, |(_, stride)| stride))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv(of: ValueId, pixels: usize, channels: [usize; 2]) -> Conv {
        Conv {
            sizes: Conv2d::new([1, 1, pixels, channels[0]], channels[1], [1, 1]),
            weights: Weights::Own(vec![1.0; channels[0] * channels[1]]),
            bias: None,
            of,
            residual: None,
            activation: Activation::Linear,
        }
    }

    #[test]
    fn what_follows_a_convolution_becomes_a_part_of_it() {
        let mut builder = Builder::default();
        let input = builder.input(6);
        let value = builder.push(Draft::Conv(conv(input, 3, [2, 2])), 6);
        assert!(builder.shift(value, &[1.0, 2.0]) && builder.scale(value, &[10.0, -1.0]));
        assert!(!builder.shift(value, &[1.0]), "another number of channels");
        assert!(builder.add_residual(value, input) && !builder.add_residual(value, input));
        assert!(
            !builder.scale(value, &[1.0, 1.0]),
            "the residual came after the weights"
        );
        assert!(!builder.activate(value, Activation::Relu6));
        assert!(builder.activate(value, Activation::Relu));
        assert!(builder.activate(value, Activation::Relu6));
        let program = builder.finish(vec![value], 2).unwrap();
        let mut output = [0.0; 12];
        let input = [0.0, 0.1, 0.0, -9.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0];
        program.run(&[&input], &mut [&mut output]);
        // 10 * (a + b + 1) + a, and -(a + b + 2) + b.
        assert_eq!(
            output[..],
            [6.0, 0.0, 0.0, 0.0, 6.0, 0.0, 6.0, 0.0, 6.0, 0.0, 0.0, 0.0]
        );
    }

    #[test]
    fn rows_are_cut_for_threads_as_long_as_tiles_stay_full() {
        assert_eq!(
            [12544, 196, 49, 28, 1000, 1].map(parts),
            [16, 4, 1, 1, 8, 1]
        );
    }

    #[test]
    fn a_value_that_is_there_later_is_no_residual() {
        let mut builder = Builder::default();
        let input = builder.input(6);
        let first = builder.push(Draft::Conv(conv(input, 3, [2, 2])), 6);
        let second = builder.push(Draft::Conv(conv(first, 3, [2, 2])), 6);
        assert!(!builder.add_residual(first, second));
        assert!(builder.add_residual(second, first));
    }

    #[test]
    fn large_values_go_one_by_one_and_large_weights_together() {
        let costs = [[10, 1000], [100, 500], [1000, 100], [5000, 10]];
        let expected = [(0..2, 1), (2..4, 8)].map(|(steps, images)| Phase { steps, images });
        assert_eq!(phases(&costs, 8), expected);
        assert_eq!(phases(&costs[..1], 8).len(), 1);
        assert_eq!(phases(&costs[3..], 8)[0].images, 8);
    }

    /// Values that pass from a phase to the next are kept for all images, whatever buffers the passes use again.
    #[test]
    fn phases_give_what_single_images_give() {
        let build = |batch: usize| {
            let mut builder = Builder::default();
            let input = builder.input(600);
            let mut values = vec![input];
            for (at, channels) in [[2, 2], [2, 2], [2, 2], [2, 2]].into_iter().enumerate() {
                let mut draft = conv(values[at], 300, channels);
                let weights = (0..4).map(|w| ((w + at) % 5) as f32 - 1.5);
                draft.weights = Weights::Own(weights.collect());
                draft.activation = Activation::Relu;
                values.push(builder.push(Draft::Conv(draft), 600));
            }
            // The first values are taken again behind the cut, where weights are large.
            let flat = View::row_major(values[4], &[1, 600], Some(0));
            let dense = Conv {
                sizes: Conv2d::new([1, 1, 1, 600], 3, [1, 1]),
                weights: Weights::Own((0..1800).map(|at| (at % 7) as f32 / 7.0 - 0.4).collect()),
                ..conv(flat.value, 1, [600, 3])
            };
            let scores = builder.push(Draft::Conv(dense), 3);
            let sums = [values[1], values[3]];
            let activation = Activation::Linear;
            let sum = builder.push(
                Step::Add {
                    of: sums,
                    activation,
                },
                600,
            );
            builder.finish(vec![scores, sum], batch).unwrap()
        };
        let input: Vec<f32> = (0..2400).map(|at| (at % 13) as f32 / 6.0 - 1.0).collect();
        let run = |program: &Program, input: &[f32]| {
            let images = input.len() / 600;
            let (mut scores, mut sum) = (vec![0.0; 3 * images], vec![0.0; 600 * images]);
            program.run(&[input], &mut [&mut scores, &mut sum]);
            (scores, sum)
        };
        let together = build(4);
        let single = build(1);
        for _ in 0..2 {
            let (scores, sum) = run(&together, &input);
            for image in 0..4 {
                let (expected, expected_sum) = run(&single, &input[image * 600..][..600]);
                for (found, expected) in scores[image * 3..][..3].iter().zip(&expected) {
                    assert!((found - expected).abs() < 1e-3 * expected.abs().max(1.0));
                }
                assert_eq!(sum[image * 600..][..600], expected_sum);
            }
        }
    }
}
