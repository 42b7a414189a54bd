//! Which segments kiln's kernels compute as a whole: layers as a [`Program`].
//!
//! Each node becomes a step, or goes into the step before it: an activation into the convolution,
//! normalization or sum whose only user it is; a residual into the branch that ends last; a pooling
//! into the normalization.

use std::borrow::Cow;
use std::collections::HashMap;

use kiln_kernels::{Activation, Conv2d, Divisor, Elementwise, NormPool, Pool2d, Products};
use kiln_model::graph::{
    Binary, Conv, Gemm, Input, Node, Op, Pool, Reduction, Segment, Unary, Window,
};
use kiln_model::{ParamRole, SegmentLayer};

use super::program::Program as Checked;
use crate::fused::{self, BatchNorm, MOST_TRACKED, Normalization, Program, Step};

/// The program of consecutive layers for samples of this shape; none where a node has no kernel.
/// Its parameters are those of the layers, one after another, and its nodes theirs likewise.
pub fn plan(layers: &[Part<'_>], sample: &[usize]) -> Option<Program> {
    let mut joined = Segment {
        name: String::new(),
        nodes: Vec::new(),
        parameters: Vec::new(),
        output: String::new(),
        covers: Vec::new(),
    };
    let (mut roles, mut live, mut frozen) = (Vec::new(), Vec::new(), Vec::new());
    for part in layers {
        let segment = &part.layer.segment;
        append(&mut joined, segment);
        roles.extend(segment.roles());
        let may = part.layer.live_batch_norm && !part.frozen;
        live.extend(segment.nodes.iter().map(|_| may));
        frozen.extend(segment.nodes.iter().map(|_| part.frozen));
    }
    let layer = SegmentLayer {
        segment: joined,
        live_batch_norm: false,
        unfolded: Vec::new(),
    };
    let checked = Checked::new(&layer, sample).ok()?;
    let segment = &layer.segment;
    let trained = roles.iter().filter(|role| role.is_trained());
    if segment.nodes.is_empty() || trained.count() >= MOST_TRACKED {
        return None;
    }
    let mut planner = Planner {
        segment,
        uses: &checked.uses,
        live,
        frozen,
        roles,
        program: Program {
            steps: Vec::new(),
            sizes: vec![pixels(sample)?],
            vectors: false,
            parameters: segment.parameters.len(),
            products: Products::default(),
        },
        places: HashMap::from([(0, 0)]),
    };
    for (at, node) in segment.nodes.iter().enumerate() {
        // The batch is the first axis, and of one image here.
        let shape = checked.shape(at, 1)?;
        let [1, sample @ ..] = &shape[..] else {
            return None;
        };
        let place = planner.node(at, node, pixels(sample)?)?;
        planner.places.insert(at + 1, place);
        planner.program.vectors = sample.len() == 1;
    }
    let output = planner.places[&segment.nodes.len()];
    let program = planner.program;
    let known = output == program.steps.len() && output > 0 && program.check(1).is_ok();
    known.then_some(program)
}

/// A layer of a program.
#[derive(Debug, Clone)]
pub struct Part<'a> {
    pub layer: Cow<'a, SegmentLayer>,
    /// Whether its statistics do not change.
    pub frozen: bool,
}

/// Puts a segment at the end of another. A parameter that both take is there twice, as it is in the
/// layers.
fn append(first: &mut Segment, second: &Segment) {
    let (nodes, parameters) = (first.nodes.len(), first.parameters.len());
    let moved = |node: &Node| {
        let mut node = node.clone();
        for input in &mut node.inputs {
            match input {
                Input::Value(at) => *at += nodes,
                Input::Parameter(at) => *at += parameters,
            }
        }
        node
    };
    first.nodes.extend(second.nodes.iter().map(moved));
    first.parameters.extend_from_slice(&second.parameters);
}

/// Height, width and channels of a sample.
fn pixels(sample: &[usize]) -> Option<[usize; 3]> {
    match *sample {
        [channels, height, width] => Some([height, width, channels]),
        [features] => Some([1, 1, features]),
        _ => None,
    }
}

struct Planner<'a> {
    segment: &'a Segment,
    /// How often each value of the segment is taken.
    uses: &'a [usize],
    /// Whether each node may normalize by the batch.
    live: Vec<bool>,
    /// Whether each node drops nothing.
    frozen: Vec<bool>,
    roles: Vec<ParamRole>,
    program: Program,
    /// The program's value of each value of the segment.
    places: HashMap<usize, usize>,
}

impl Planner<'_> {
    /// Adds a node whose output has this size; gives the program's value that it is.
    fn node(&mut self, at: usize, node: &Node, size: [usize; 3]) -> Option<usize> {
        match &node.op {
            Op::Conv(settings) => self.conv(settings, node, size),
            Op::Gemm(settings) => self.dense(*settings, node, size),
            Op::BatchNormalization { epsilon, .. } => self.batch_norm(at, *epsilon, node, size),
            Op::Unary(unary) => self.unary(unary, node, size),
            Op::Binary(Binary::Add) => self.add(node, size),
            Op::Binary(Binary::Mul) => self.product(node, size),
            Op::MaxPool(pool) => self.max_pool(pool, node, size),
            Op::AveragePool(pool) => {
                let of = self.value(node, 0)?;
                let sizes = self.pooled(pool, of, size)?;
                let divisor = if pool.count_include_pad {
                    Divisor::Window
                } else {
                    Divisor::Inside
                };
                // Padding that `ceil_mode` adds never counts.
                let counted = divisor == Divisor::Inside || !pool.ceil_mode;
                counted.then(|| self.push(Step::AveragePool { of, sizes, divisor }, size))
            }
            Op::GlobalAveragePool => {
                let of = self.value(node, 0)?;
                Some(self.push(Step::GlobalMean { of }, size))
            }
            Op::Reduce {
                reduction: Reduction::Mean,
                axes,
                ..
            } if axes[..] == [2, 3] => {
                let of = self.value(node, 0)?;
                Some(self.push(Step::GlobalMean { of }, size))
            }
            Op::Flatten { .. } | Op::Reshape { .. } | Op::Squeeze { .. } | Op::Unsqueeze { .. } => {
                // Of one pixel, images are vectors.
                let of = self.value(node, 0)?;
                let same = self.program.sizes[of] == size && size[..2] == [1, 1];
                same.then(|| self.same(node, of, size))
            }
            Op::Concat { axis: 1 } => {
                let of: Option<Vec<usize>> = (0..node.inputs.len())
                    .map(|at| self.value(node, at))
                    .collect();
                Some(self.push(Step::Concat { of: of? }, size))
            }
            Op::Dropout { rate } => self.drop(at, *rate, false, node, size),
            Op::StochasticDepth { rate } => self.drop(at, *rate, true, node, size),
            _ => None,
        }
    }

    /// The value that a node passes on unchanged: a copy where others take it too, since what follows
    /// may become a part of the step that gave it.
    fn same(&mut self, node: &Node, of: usize, size: [usize; 3]) -> usize {
        match node.inputs.first() {
            Some(Input::Value(at)) if self.uses.get(*at) == Some(&1) => of,
            _ => self.push(Step::Concat { of: vec![of] }, size),
        }
    }

    fn drop(
        &mut self,
        at: usize,
        rate: f32,
        samples: bool,
        node: &Node,
        size: [usize; 3],
    ) -> Option<usize> {
        let of = self.value(node, 0)?;
        if self.frozen[at] {
            return Some(self.same(node, of, size));
        }
        Some(self.push(Step::Drop { of, rate, samples }, size))
    }

    fn push(&mut self, step: Step, size: [usize; 3]) -> usize {
        self.program.steps.push(step);
        self.program.sizes.push(size);
        self.program.steps.len()
    }

    /// The program's value that a node takes in a place.
    fn value(&self, node: &Node, place: usize) -> Option<usize> {
        match node.inputs.get(place)? {
            Input::Value(at) => self.places.get(at).copied(),
            Input::Parameter(_) => None,
        }
    }

    /// The step that gave what a node takes in a place, if nothing else takes it.
    fn only_producer(&self, node: &Node, place: usize) -> Option<usize> {
        let Input::Value(at) = *node.inputs.get(place)? else {
            return None;
        };
        let alone = at > 0 && self.uses.get(at) == Some(&1);
        self.value(node, place).filter(|_| alone)?.checked_sub(1)
    }

    fn conv(&mut self, settings: &Conv, node: &Node, size: [usize; 3]) -> Option<usize> {
        let of = self.value(node, 0)?;
        let [height, width, channels] = self.program.sizes[of];
        let window = &settings.window;
        let sizes = Conv2d {
            stride: window.strides,
            padding: sides(window),
            dilation: window.dilations,
            groups: settings.groups,
            ..Conv2d::new([1, height, width, channels], size[2], window.kernel)
        };
        let step = fused::Conv {
            of,
            sizes,
            weight: parameter(node, 1)?,
            turned: false,
            bias: bias(node)?.given,
            residual: None,
            activation: Activation::Linear,
        };
        Some(self.push(Step::Conv(step), size))
    }

    fn dense(&mut self, settings: Gemm, node: &Node, size: [usize; 3]) -> Option<usize> {
        let bias = bias(node)?.given;
        let plain = |factor: f32| (factor - 1.0).abs() <= 0.0;
        let of_filters = |at: usize| self.segment.parameters[at].len() == size[2];
        let known = !settings.trans_a
            && plain(settings.alpha)
            && (bias.is_none() || plain(settings.beta))
            && bias.is_none_or(of_filters);
        let of = self.value(node, 0)?;
        let step = fused::Conv {
            of,
            sizes: Conv2d::dense(1, self.program.sizes[of][2], size[2]),
            weight: parameter(node, 1)?,
            turned: !settings.trans_b,
            bias,
            residual: None,
            activation: Activation::Linear,
        };
        known.then(|| self.push(Step::Conv(step), size))
    }

    fn batch_norm(
        &mut self,
        at: usize,
        epsilon: f32,
        node: &Node,
        size: [usize; 3],
    ) -> Option<usize> {
        let [mean, variance] = [parameter(node, 3)?, parameter(node, 4)?];
        let live = self.live[at]
            && self.roles.get(mean) == Some(&ParamRole::RunningMean)
            && self.roles.get(variance) == Some(&ParamRole::RunningVar);
        let norm = BatchNorm {
            gamma: parameter(node, 1)?,
            beta: parameter(node, 2)?,
            mean,
            variance,
            epsilon,
            live,
            node: at,
        };
        let step = Normalization {
            norm: Some(norm),
            ..pointwise(self.value(node, 0)?, size)
        };
        Some(self.push(Step::NormPool(step), size))
    }

    fn unary(&mut self, unary: &Unary, node: &Node, size: [usize; 3]) -> Option<usize> {
        if let Some(activation) = activation(unary) {
            if let Some(at) = self.only_producer(node, 0) {
                let free = match &mut self.program.steps[at] {
                    Step::Conv(fused::Conv { activation, .. }) | Step::Add { activation, .. } => {
                        Some(activation)
                    }
                    Step::NormPool(norm) if !is_pooled(norm) => Some(&mut norm.activation),
                    _ => None,
                };
                if let Some(free) = free.filter(|free| **free == Activation::Linear) {
                    *free = activation;
                    return Some(at + 1);
                }
            }
            let step = Normalization {
                activation,
                ..pointwise(self.value(node, 0)?, size)
            };
            return Some(self.push(Step::NormPool(step), size));
        }
        let function = match *unary {
            Unary::Sigmoid => Elementwise::Sigmoid,
            Unary::Swish { alpha } if is(alpha, 1.0) => Elementwise::Silu,
            Unary::HardSigmoid { alpha, beta } if is(alpha, 1.0 / 6.0) && is(beta, 0.5) => {
                Elementwise::HardSigmoid
            }
            Unary::HardSwish => Elementwise::HardSwish,
            Unary::Gelu { tanh: false } => Elementwise::Gelu,
            Unary::Gelu { tanh: true } => Elementwise::GeluTanh,
            _ => return None,
        };
        let of = self.value(node, 0)?;
        Some(self.push(Step::Elementwise { function, of }, size))
    }

    fn add(&mut self, node: &Node, size: [usize; 3]) -> Option<usize> {
        let of = [self.value(node, 0)?, self.value(node, 1)?];
        if of.iter().any(|&of| self.program.sizes[of] != size) {
            return None;
        }
        for (place, other) in [(0, of[1]), (1, of[0])] {
            // What is added must be there when the step runs.
            let Some(at) = self.only_producer(node, place).filter(|&at| other <= at) else {
                continue;
            };
            let residual = match &mut self.program.steps[at] {
                Step::Conv(conv) if conv.activation == Activation::Linear => &mut conv.residual,
                Step::NormPool(norm)
                    if norm.activation == Activation::Linear && !is_pooled(norm) =>
                {
                    &mut norm.residual
                }
                _ => continue,
            };
            if residual.is_none() {
                *residual = Some(other);
                return Some(at + 1);
            }
        }
        Some(self.push(
            Step::Add {
                of,
                activation: Activation::Linear,
            },
            size,
        ))
    }

    /// A gate by channels, or a number times its own sigmoid.
    fn product(&mut self, node: &Node, size: [usize; 3]) -> Option<usize> {
        let of = [self.value(node, 0)?, self.value(node, 1)?];
        for (place, other) in [(0, of[1]), (1, of[0])] {
            if let Some(at) = self.only_producer(node, place)
                && let Step::Elementwise { function, of } = &mut self.program.steps[at]
                && *of == other
            {
                let product = match function {
                    Elementwise::Sigmoid => Elementwise::Silu,
                    Elementwise::HardSigmoid => Elementwise::HardSwish,
                    Elementwise::Silu
                    | Elementwise::HardSwish
                    | Elementwise::Gelu
                    | Elementwise::GeluTanh => {
                        return None;
                    }
                };
                *function = product;
                return Some(at + 1);
            }
        }
        let [height, width, channels] = size;
        let sizes = of.map(|of| self.program.sizes[of]);
        let gate = [1, 1, channels];
        let [of, gate] = match sizes {
            [left, right] if left == [height, width, channels] && right == gate => of,
            [left, right] if left == gate && right == [height, width, channels] => [of[1], of[0]],
            _ => return None,
        };
        Some(self.push(Step::Gate { of, gate }, size))
    }

    fn max_pool(&mut self, pool: &Pool, node: &Node, size: [usize; 3]) -> Option<usize> {
        let of = self.value(node, 0)?;
        let sizes = self.pooled(pool, of, size)?;
        if let Some(at) = self.only_producer(node, 0)
            && let Step::NormPool(norm) = &mut self.program.steps[at]
            && !is_pooled(norm)
            && norm.residual.is_none()
        {
            norm.sizes = sizes;
            self.program.sizes[at + 1] = size;
            return Some(at + 1);
        }
        let step = Normalization {
            sizes,
            ..pointwise(of, size)
        };
        Some(self.push(Step::NormPool(step), size))
    }

    /// The sizes of a pooling that gives this size.
    fn pooled(&self, pool: &Pool, of: usize, size: [usize; 3]) -> Option<NormPool> {
        let window = &pool.window;
        let [height, width, channels] = self.program.sizes[of];
        let mut padding = sides(window);
        for axis in 0..2 {
            // As far as the last window reaches.
            let reach = (size[axis] - 1) * window.strides[axis] + window.kernel[axis];
            let after = reach.saturating_sub(padding[axis] + [height, width][axis]);
            padding[axis + 2] = padding[axis + 2].max(after);
        }
        let pool = Pool2d {
            window: window.kernel,
            stride: window.strides,
            padding,
        };
        let sizes = NormPool {
            batch: 1,
            height,
            width,
            channels,
            pool,
        };
        let fits = sizes
            .checked()
            .ok()
            .is_some_and(|sizes| sizes.output() == size[..2]);
        (window.dilations == [1; 2] && fits).then_some(sizes)
    }
}

/// The parameter that a node takes in a place.
fn parameter(node: &Node, place: usize) -> Option<usize> {
    match *node.inputs.get(place)? {
        Input::Parameter(at) => Some(at),
        Input::Value(_) => None,
    }
}

/// The bias of a convolution or product, which may lack one.
struct Bias {
    given: Option<usize>,
}

/// None where the bias is no parameter.
fn bias(node: &Node) -> Option<Bias> {
    let given = parameter(node, 2);
    (given.is_some() == (node.inputs.len() > 2)).then_some(Bias { given })
}

/// A step on each number of a value, which does nothing yet.
fn pointwise(of: usize, [height, width, channels]: [usize; 3]) -> Normalization {
    let pool = Pool2d::square(1);
    Normalization {
        of,
        sizes: NormPool {
            batch: 1,
            height,
            width,
            channels,
            pool,
        },
        norm: None,
        residual: None,
        activation: Activation::Linear,
    }
}

fn is_pooled(norm: &Normalization) -> bool {
    norm.sizes.pool != Pool2d::square(1)
}

/// The pads as the kernels take them: top, left, bottom, right.
fn sides(window: &Window) -> [usize; 4] {
    let [[top, bottom], [left, right]] = window.pads;
    [top, left, bottom, right]
}

/// The activation that a step can apply to its result.
fn activation(unary: &Unary) -> Option<Activation> {
    match *unary {
        Unary::Relu => Some(Activation::Relu),
        Unary::Clip {
            min: Some(min),
            max: Some(max),
        } if is(min, 0.0) && is(max, 6.0) => Some(Activation::Relu6),
        Unary::Clip {
            min: Some(min),
            max: None,
        } if is(min, 0.0) => Some(Activation::Relu),
        _ => None,
    }
}

fn is(number: f32, expected: f32) -> bool {
    (number - expected).abs() <= f32::EPSILON
}
