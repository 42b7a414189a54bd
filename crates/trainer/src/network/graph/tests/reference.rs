//! Operators in f64, written down as their definitions: what the module's numbers are compared with.

use kiln_model::graph::{
    Binary, Conv, Dims, Gemm, Input, Lrn, Op, PadMode, Padded, Pool, Reduction, Segment, Size,
    Unary,
};

/// Numbers in a shape, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
}

impl Array {
    /// The numbers that a function gives for each index.
    fn from_fn(shape: &[usize], number: impl FnMut(&[usize]) -> f64) -> Self {
        let data = indices(shape)
            .iter()
            .map(Vec::as_slice)
            .map(number)
            .collect();
        let shape = shape.to_vec();
        Self { shape, data }
    }

    /// The number at an index, which may have more axes, and any entry of an axis of size 1.
    pub fn at(&self, index: &[usize]) -> f64 {
        let index = &index[index.len() - self.shape.len()..];
        let flat = index
            .iter()
            .zip(&self.shape)
            .fold(0, |flat, (&at, &size)| flat * size + at % size);
        self.data[flat]
    }
}

/// All indices of a shape, row-major.
fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    shape.iter().fold(vec![Vec::new()], |indices, &size| {
        let longer = |index: &Vec<usize>| {
            (0..size)
                .map(|at| [index.as_slice(), &[at]].concat())
                .collect::<Vec<_>>()
        };
        indices.iter().flat_map(longer).collect()
    })
}

/// The index with another entry of one axis.
fn with(index: &[usize], axis: usize, at: usize) -> Vec<usize> {
    let mut index = index.to_vec();
    index[axis] = at;
    index
}

/// The output of a segment. Batch normalizations normalize by the batch if `live`.
pub fn evaluate(segment: &Segment, input: Array, parameters: &[Array], live: bool) -> Array {
    let batch = input.shape[0];
    let mut values = vec![input];
    for node in &segment.nodes {
        let inputs: Vec<&Array> = node
            .inputs
            .iter()
            .map(|input| match *input {
                Input::Value(at) => &values[at],
                Input::Parameter(at) => &parameters[at],
            })
            .collect();
        let output = apply(&node.op, &inputs, batch, live);
        values.push(output);
    }
    values.pop().unwrap()
}

fn apply(op: &Op, inputs: &[&Array], batch: usize, live: bool) -> Array {
    let x = inputs[0];
    let dims: Vec<Dims> = inputs
        .iter()
        .map(|input| Dims::fixed(&input.shape))
        .collect();
    let fixed = |sizes: &[Size]| {
        sizes
            .iter()
            .map(|size| Size::Fixed(size.of(batch).unwrap()))
            .collect()
    };
    let op = &match op {
        Op::Reshape { dims } => Op::Reshape { dims: fixed(dims) },
        Op::Expand { dims } => Op::Expand { dims: fixed(dims) },
        op => op.clone(),
    };
    let shape = op
        .output(&dims.iter().collect::<Vec<_>>())
        .unwrap()
        .of(batch)
        .unwrap();
    let rearranged = || Array {
        shape: shape.clone(),
        data: x.data.clone(),
    };
    match op {
        Op::Conv(settings) => conv(settings, inputs, &shape),
        Op::BatchNormalization { epsilon, .. } => {
            let [scale, bias] = [inputs[1], inputs[2]];
            let axes: Vec<usize> = (0..x.shape.len()).filter(|&axis| axis != 1).collect();
            let moments = moments(x, &axes);
            Array::from_fn(&shape, |index| {
                let channel = index[1];
                let (mean, variance) = if live {
                    (moments.0.at(index), moments.1.at(index))
                } else {
                    (inputs[3].data[channel], inputs[4].data[channel])
                };
                (x.at(index) - mean) / (variance + f64::from(*epsilon)).sqrt() * scale.data[channel]
                    + bias.data[channel]
            })
        }
        Op::LayerNormalization { axis, epsilon } => {
            let axes: Vec<usize> = (*axis..x.shape.len()).collect();
            let moments = moments(x, &axes);
            Array::from_fn(&shape, |index| {
                let spread = (moments.1.at(index) + f64::from(*epsilon)).sqrt();
                let bias = inputs.get(2).map_or(0.0, |bias| bias.at(index));
                (x.at(index) - moments.0.at(index)) / spread * inputs[1].at(index) + bias
            })
        }
        Op::GroupNormalization { groups, epsilon } => grouped(inputs, *groups, *epsilon),
        Op::InstanceNormalization { epsilon } => grouped(inputs, x.shape[1], *epsilon),
        Op::Lrn(settings) => local_response(*settings, x),
        Op::Gemm(settings) => gemm(*settings, inputs, &shape),
        Op::MatMul => Array::from_fn(&shape, |index| {
            let last = index.len() - 1;
            let term =
                |k: usize| x.at(&with(index, last, k)) * inputs[1].at(&with(index, last - 1, k));
            (0..x.shape[x.shape.len() - 1]).map(term).sum()
        }),
        Op::Binary(binary) => Array::from_fn(&shape, |index| {
            self::binary(*binary, x.at(index), inputs[1].at(index))
        }),
        Op::Unary(op) => Array::from_fn(&shape, |index| unary(*op, x.at(index))),
        Op::MaxPool(pool) => Array::from_fn(&shape, |index| {
            window(pool, x, index)
                .0
                .into_iter()
                .fold(f64::NEG_INFINITY, f64::max)
        }),
        Op::AveragePool(pool) => Array::from_fn(&shape, |index| {
            let (numbers, padding) = window(pool, x, index);
            let count = numbers.len() + if pool.count_include_pad { padding } else { 0 };
            numbers.iter().sum::<f64>() / count as f64
        }),
        Op::GlobalAveragePool => globally(Reduction::Mean, x, shape),
        Op::GlobalMaxPool => globally(Reduction::Max, x, shape),
        Op::Reduce {
            reduction, axes, ..
        } => Array {
            shape,
            ..reduce(*reduction, x, axes)
        },
        Op::Softmax { axis } | Op::LogSoftmax { axis } => Array::from_fn(&shape, |index| {
            let sum: f64 = (0..x.shape[*axis])
                .map(|at| x.at(&with(index, *axis, at)).exp())
                .sum();
            let log = x.at(index) - sum.ln();
            if matches!(op, Op::Softmax { .. }) {
                log.exp()
            } else {
                log
            }
        }),
        Op::Concat { axis } => Array::from_fn(&shape, |index| {
            let mut at = index[*axis];
            for input in inputs {
                if at < input.shape[*axis] {
                    return input.at(&with(index, *axis, at));
                }
                at -= input.shape[*axis];
            }
            unreachable!("the output is as long as its parts")
        }),
        Op::Slice(parts) => Array::from_fn(&shape, |index| {
            let index = parts.iter().fold(index.to_vec(), |index, part| {
                let at = part.start + index[part.axis] * part.step;
                with(&index, part.axis, at)
            });
            x.at(&index)
        }),
        Op::Gather {
            axis,
            indices,
            dims,
        } => Array::from_fn(&shape, |index| {
            let (before, rest) = index.split_at(*axis);
            let (place, after) = rest.split_at(dims.len());
            let flat = place
                .iter()
                .zip(dims)
                .fold(0, |flat, (at, size)| flat * size + at);
            x.at(&[before, &[indices[flat]], after].concat())
        }),
        Op::Transpose { perm } => Array::from_fn(&shape, |index| {
            let mut source = vec![0; index.len()];
            for (&axis, &at) in perm.iter().zip(index) {
                source[axis] = at;
            }
            x.at(&source)
        }),
        Op::Reshape { .. } | Op::Flatten { .. } | Op::Squeeze { .. } | Op::Unsqueeze { .. } => {
            rearranged()
        }
        Op::Expand { .. } => Array::from_fn(&shape, |index| x.at(index)),
        Op::Pad(padded) => pad(padded, x, &shape),
        Op::Dropout { .. } | Op::StochasticDepth { .. } => x.clone(),
        Op::Other(_) => unreachable!("no segment of the tests has one"),
    }
}

fn gemm(settings: Gemm, inputs: &[&Array], shape: &[usize]) -> Array {
    let x = inputs[0];

    let matrix = |array: &Array, turned: bool, row: usize, column: usize| {
        array.at(&if turned { [column, row] } else { [row, column] })
    };
    let inner = if settings.trans_a {
        x.shape[0]
    } else {
        x.shape[1]
    };
    Array::from_fn(shape, |index| {
        let product: f64 = (0..inner)
            .map(|k| {
                matrix(x, settings.trans_a, index[0], k)
                    * matrix(inputs[1], settings.trans_b, k, index[1])
            })
            .sum();
        let added = inputs.get(2).map_or(0.0, |added| added.at(index));
        f64::from(settings.alpha) * product + f64::from(settings.beta) * added
    })
}

fn conv(settings: &Conv, inputs: &[&Array], shape: &[usize]) -> Array {
    let [x, weight] = [inputs[0], inputs[1]];
    let window = settings.window;
    let depth = weight.shape[1];
    let filters = weight.shape[0] / settings.groups;
    Array::from_fn(shape, |index| {
        let &[image, filter, ref at @ ..] = index else {
            unreachable!("images have four axes")
        };
        let mut sum = inputs.get(2).map_or(0.0, |bias| bias.data[filter]);
        for entry in indices(&weight.shape[1..]) {
            let place = [0, 1].map(|axis| {
                let place =
                    at[axis] * window.strides[axis] + entry[axis + 1] * window.dilations[axis];
                place
                    .checked_sub(window.pads[axis][0])
                    .filter(|&place| place < x.shape[axis + 2])
            });
            if let [Some(row), Some(column)] = place {
                let channel = filter / filters * depth + entry[0];
                sum += x.at(&[image, channel, row, column])
                    * weight.at(&[&[filter], &entry[..]].concat());
            }
        }
        sum
    })
}

/// The numbers in a window, and how many places of it are in the padding.
fn window(pool: &Pool, x: &Array, index: &[usize]) -> (Vec<f64>, usize) {
    let window = pool.window;
    let (mut numbers, mut padding) = (Vec::new(), 0);
    for entry in indices(&window.kernel) {
        let place = [0, 1].map(|axis| {
            index[axis + 2] * window.strides[axis] + entry[axis] * window.dilations[axis]
        });
        let image = [0, 1].map(|axis| {
            place[axis]
                .checked_sub(window.pads[axis][0])
                .filter(|&at| at < x.shape[axis + 2])
        });
        let padded = |axis: usize| {
            place[axis] < x.shape[axis + 2] + window.pads[axis][0] + window.pads[axis][1]
        };
        if let [Some(row), Some(column)] = image {
            numbers.push(x.at(&[index[0], index[1], row, column]));
        } else if padded(0) && padded(1) {
            padding += 1;
        }
    }
    (numbers, padding)
}

/// Mean and variance over axes, which stay with a size of 1.
fn moments(x: &Array, axes: &[usize]) -> (Array, Array) {
    let mean = reduce(Reduction::Mean, x, axes);
    let squares = Array::from_fn(&x.shape, |index| (x.at(index) - mean.at(index)).powi(2));
    let variance = reduce(Reduction::Mean, &squares, axes);
    (mean, variance)
}

fn reduce(reduction: Reduction, x: &Array, axes: &[usize]) -> Array {
    let kept: Vec<usize> = x
        .shape
        .iter()
        .enumerate()
        .map(|(axis, &size)| if axes.contains(&axis) { 1 } else { size })
        .collect();
    let inner: Vec<usize> = x
        .shape
        .iter()
        .enumerate()
        .map(|(axis, &size)| if axes.contains(&axis) { size } else { 1 })
        .collect();
    Array::from_fn(&kept, |index| {
        let numbers: Vec<f64> = indices(&inner)
            .iter()
            .map(|entry| {
                x.at(&index
                    .iter()
                    .zip(entry)
                    .map(|(a, b)| a + b)
                    .collect::<Vec<_>>())
            })
            .collect();
        let sum = numbers.iter().sum::<f64>();
        match reduction {
            Reduction::Mean => sum / numbers.len() as f64,
            Reduction::Sum => sum,
            Reduction::Max => numbers.into_iter().fold(f64::NEG_INFINITY, f64::max),
            Reduction::Min => numbers.into_iter().fold(f64::INFINITY, f64::min),
            Reduction::L2 => numbers
                .iter()
                .map(|number| number * number)
                .sum::<f64>()
                .sqrt(),
        }
    })
}

fn globally(reduction: Reduction, x: &Array, shape: Vec<usize>) -> Array {
    let axes: Vec<usize> = (2..x.shape.len()).collect();
    Array {
        shape,
        ..reduce(reduction, x, &axes)
    }
}

fn grouped(inputs: &[&Array], groups: usize, epsilon: f32) -> Array {
    let x = inputs[0];
    let inner = x.shape[1..].iter().product::<usize>() / groups;
    let rows = Array {
        shape: vec![x.data.len() / inner, inner],
        data: x.data.clone(),
    };
    let (mean, variance) = moments(&rows, &[1]);
    let flat = Array::from_fn(&rows.shape, |index| {
        (rows.at(index) - mean.at(index)) / (variance.at(index) + f64::from(epsilon)).sqrt()
    });
    let normalized = Array {
        shape: x.shape.clone(),
        ..flat
    };
    Array::from_fn(&x.shape, |index| {
        normalized.at(index) * inputs[1].data[index[1]] + inputs[2].data[index[1]]
    })
}

fn local_response(settings: Lrn, x: &Array) -> Array {
    let [alpha, beta, bias] = [settings.alpha, settings.beta, settings.bias].map(f64::from);
    Array::from_fn(&x.shape, |index| {
        let first = index[1].saturating_sub((settings.size - 1) / 2);
        let last = (index[1] + settings.size / 2).min(x.shape[1] - 1);
        let squares: f64 = (first..=last)
            .map(|channel| x.at(&with(index, 1, channel)).powi(2))
            .sum();
        x.at(index) / (bias + alpha / settings.size as f64 * squares).powf(beta)
    })
}

fn pad(settings: &Padded, x: &Array, shape: &[usize]) -> Array {
    Array::from_fn(shape, |index| {
        let mut outside = false;
        let source: Vec<usize> = index
            .iter()
            .enumerate()
            .map(|(axis, &at)| {
                let (at, size) = (
                    at as i64 - settings.pads[axis][0] as i64,
                    x.shape[axis] as i64,
                );
                outside |= at < 0 || at >= size;
                let mut mirrored = at;
                while mirrored < 0 || mirrored >= size {
                    mirrored = if mirrored < 0 {
                        -mirrored
                    } else {
                        2 * (size - 1) - mirrored
                    };
                    if size == 1 {
                        mirrored = 0;
                    }
                }
                match settings.mode {
                    PadMode::Constant(_) | PadMode::Edge => at.clamp(0, size - 1) as usize,
                    PadMode::Reflect => mirrored as usize,
                }
            })
            .collect();
        match settings.mode {
            PadMode::Constant(number) if outside => f64::from(number),
            _ => x.at(&source),
        }
    })
}

fn binary(op: Binary, a: f64, b: f64) -> f64 {
    match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Pow => a.powf(b),
        Binary::Max => a.max(b),
        Binary::Min => a.min(b),
        Binary::PRelu => {
            if a > 0.0 {
                a
            } else {
                a * b
            }
        }
    }
}

fn unary(op: Unary, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let elu = |alpha: f32| {
        if x > 0.0 {
            x
        } else {
            f64::from(alpha) * (x.exp() - 1.0)
        }
    };
    let softplus = (1.0 + x.exp()).ln();
    match op {
        Unary::Abs => x.abs(),
        Unary::Ceil => x.ceil(),
        Unary::Clip { min, max } => {
            let x = min.map_or(x, |min| x.max(f64::from(min)));
            max.map_or(x, |max| x.min(f64::from(max)))
        }
        Unary::Cos => x.cos(),
        Unary::Elu { alpha } => elu(alpha),
        Unary::Erf => erf(x),
        Unary::Exp => x.exp(),
        Unary::Floor => x.floor(),
        Unary::Gelu { tanh: false } => 0.5 * x * (1.0 + erf(x / 2_f64.sqrt())),
        Unary::Gelu { tanh: true } => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            0.5 * x * (1.0 + inner.tanh())
        }
        Unary::HardSigmoid { alpha, beta } => {
            (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0)
        }
        Unary::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Unary::LeakyRelu { alpha } => {
            if x > 0.0 {
                x
            } else {
                f64::from(alpha) * x
            }
        }
        Unary::Log => x.ln(),
        Unary::Mish => x * softplus.tanh(),
        Unary::Neg => -x,
        Unary::Reciprocal => 1.0 / x,
        Unary::Relu => x.max(0.0),
        Unary::Round => x.round_ties_even(),
        Unary::Selu { alpha, gamma } => f64::from(gamma) * elu(alpha),
        Unary::Sigmoid => sigmoid(x),
        Unary::Sign => {
            if x > 0.0 {
                1.0
            } else if x < 0.0 {
                -1.0
            } else {
                0.0
            }
        }
        Unary::Sin => x.sin(),
        Unary::Softplus => softplus,
        Unary::Softsign => x / (1.0 + x.abs()),
        Unary::Sqrt => x.sqrt(),
        Unary::Swish { alpha } => x * sigmoid(f64::from(alpha) * x),
        Unary::Tanh => x.tanh(),
    }
}

/// The series `2 / √π · Σ (-1)ⁿ x²ⁿ⁺¹ / (n! (2n + 1))`, exact for the small numbers of the tests.
fn erf(x: f64) -> f64 {
    let mut power = x;
    let mut sum = 0.0;
    for n in 0..60 {
        sum += power / f64::from(2 * n + 1);
        power *= -x * x / f64::from(n + 1);
    }
    2.0 / std::f64::consts::PI.sqrt() * sum
}
