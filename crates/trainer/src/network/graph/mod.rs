//! A segment of a graph as a Burn module: its parameters, and how it computes.
//!
//! Every operator becomes operations of Burn's backend, whose tensors have their rank at run time.
//! So it runs on any device, with gradients where the device has them.
//!
//! | step | look in |
//! | --- | --- |
//! | checks; where each parameter is kept | `program` |
//! | one operator | `operators`, and from there `elementwise`, `window`, `norm`, `product`, `moves` |
//! | what they have in common | `value` |
//! | the whole segment as one operation of kiln's kernels | `fusion` |

mod elementwise;
mod fusion;
mod moves;
mod norm;
mod operators;
mod product;
mod program;
mod value;
mod window;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use burn::module::{Flag, Module, Param, RunningState};
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use kiln_model::SegmentLayer;
use kiln_model::graph::{Binary, Input, Node, Op, Parameter, Segment, UntypedError};
use kiln_run::{Tensor as Values, Weights, WeightsError};

use self::program::{Place, Program};
use self::value::{Value, reshape};
use super::Activations;
use super::block::identified;
use crate::TrainError;
use crate::fused::{self, DropoutKey, Moments, Pool};
pub use fusion::{Part, plan};

/// A segment with its parameters, each as one vector.
#[derive(Module, Debug)]
pub struct Graph {
    trained: Vec<Param<Tensor<1>>>,
    /// Means and variances of batch normalizations.
    statistics: Vec<RunningState<Tensor<1>>>,
    constants: Vec<Tensor<1>>,
    /// Whether the batch may decide how it is normalized; freezing turns it off.
    training: Param<Flag>,
    #[module(skip)]
    program: Program,
    /// The constants of a single number.
    #[module(skip)]
    numbers: Vec<Option<f32>>,
}

impl Graph {
    /// The segment as the layer of this name with the given weights, for samples of this shape.
    pub fn new(
        layer: &str,
        settings: &SegmentLayer,
        sample: &[usize],
        weights: &Weights,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let program = Program::new(settings, sample)?;
        let mut graph = Self {
            trained: Vec::new(),
            statistics: Vec::new(),
            constants: Vec::new(),
            training: Param::from_bool(true),
            numbers: Vec::new(),
            program,
        };
        let segment = graph.program.segment.clone();
        for (parameter, place) in segment.parameters.iter().zip(&graph.program.places) {
            let name = name(layer, parameter);
            let data = &required(weights, &name, parameter)?.data;
            let tensor = Tensor::from_data(TensorData::new(data.clone(), [data.len()]), device);
            match place {
                Place::Trained(_) => graph.trained.push(identified(tensor, &name)),
                Place::Statistic(_) => graph.statistics.push(RunningState::new(tensor)),
                Place::Constant(_) => {
                    graph.constants.push(tensor);
                    let number = match data[..] {
                        [number] => Some(number),
                        _ => None,
                    };
                    graph.numbers.push(number);
                }
            }
        }
        Ok(graph)
    }

    /// All parameters by their full names, in the file's shapes.
    pub fn tensors(&self, layer: &str) -> Vec<(String, Values)> {
        let parameters = self.program.segment.parameters.iter();
        parameters
            .zip(&self.program.places)
            .map(|(parameter, &place)| {
                let tensor = self.flat(place);
                let values = Values {
                    shape: parameter.shape.clone(),
                    data: tensor.try_into_vec_as().expect("parameters are f32"),
                };
                (name(layer, parameter), values)
            })
            .collect()
    }

    /// Computes the segment's output operator by operator. Batch normalizations that are live move
    /// their statistics where there are gradients and the layer is not frozen.
    pub fn forward(&self, input: Activations) -> Result<Activations, TrainError> {
        let (input, batch, autodiff) = parts(input);
        let live = autodiff && self.program.live_batch_norm && self.training.is_enabled();
        let value = self.evaluate(input, batch, live, &mut |_, _| Ok(()))?;
        activations(value, &self.program.segment)
    }

    /// Computes the segment's output operator by operator as in inference; `each` gets the output of each
    /// node, counted from 0.
    pub fn observe(
        &self,
        input: Activations,
        each: &mut dyn FnMut(usize, &Value) -> Result<(), TrainError>,
    ) -> Result<Activations, TrainError> {
        let (input, batch, _) = parts(input);
        let value = self.evaluate(input, batch, false, each)?;
        activations(value, &self.program.segment)
    }

    /// Whether it is trained on this device: then some operators are random.
    fn is_training(&self, device: &Device) -> bool {
        self.training.is_enabled() && device.is_autodiff()
    }

    /// Computes the segment's output for so many images. Values that no node needs any more are
    /// given to the operator, which may work in place. `each` gets the output of each node before.
    fn evaluate(
        &self,
        input: Value,
        batch: usize,
        live: bool,
        each: &mut dyn FnMut(usize, &Value) -> Result<(), TrainError>,
    ) -> Result<Value, TrainError> {
        let program = &self.program;
        let mut uses = program.uses.clone();
        let mut values = vec![Some(input)];
        for (at, node) in program.segment.nodes.iter().enumerate() {
            let output = program.shape(at, batch).and_then(|shape| {
                let inputs = node.inputs.iter().map(|input| match *input {
                    Input::Value(at) => take(&mut values, &mut uses, at),
                    Input::Parameter(at) => Some(self.parameter(at)),
                });
                self.node(node, inputs.collect::<Option<_>>()?, &shape, live)
            });
            let output = output
                .ok_or_else(|| program.error(format!("`{}` does not fit its inputs", node.name)))?;
            each(at, &output)?;
            values.push(Some(output));
        }
        Ok(values.pop().flatten().expect("the input is always there"))
    }

    /// Computes one node.
    fn node(&self, node: &Node, inputs: Vec<Value>, shape: &[usize], live: bool) -> Option<Value> {
        if let Some((rate, mask)) = mask_of(&node.op, shape) {
            let x = inputs.into_iter().next()?;
            let device =
                Tensor::<1>::from_dispatch(reshape(x.clone(), &[shape.iter().product()])).device();
            return Some(if self.is_training(&device) {
                elementwise::binary(Binary::Mul, x, random_mask(rate, &mask, &device))
            } else {
                x
            });
        }
        if live
            && let Op::BatchNormalization { epsilon, momentum } = node.op
            && let Some(statistics) = self.statistics_of(node)
        {
            let [x, scale, bias, _, _] = <[Value; 5]>::try_from(inputs).ok()?;
            let (output, moments) = norm::live_batch(x, scale, bias, epsilon);
            for (running, batch) in statistics.into_iter().zip(moments) {
                follow(running, Tensor::from_dispatch(batch), momentum);
            }
            return Some(output);
        }
        if let Op::Binary(binary) = node.op
            && let Some(output) = self.with_number(binary, node, &inputs)
        {
            return Some(reshape(output, shape));
        }
        operators::apply(&node.op, inputs, shape)
    }

    /// Computes a node of two values one of which is a constant number.
    fn with_number(&self, binary: Binary, node: &Node, inputs: &[Value]) -> Option<Value> {
        let number = |input: &Input| match *input {
            Input::Parameter(at) => match *self.program.places.get(at)? {
                Place::Constant(at) => *self.numbers.get(at)?,
                Place::Trained(_) | Place::Statistic(_) => None,
            },
            Input::Value(_) => None,
        };
        let [left, right] = node.inputs.first_chunk()?;
        let commutes = matches!(
            binary,
            Binary::Add | Binary::Mul | Binary::Max | Binary::Min
        );
        match (number(left), number(right)) {
            (_, Some(number)) => elementwise::with_number(binary, inputs.first()?, number),
            (Some(number), None) if commutes => {
                elementwise::with_number(binary, inputs.get(1)?, number)
            }
            _ => None,
        }
    }

    /// The parameter in the file's shape.
    fn parameter(&self, at: usize) -> Value {
        reshape(
            self.flat(self.program.places[at]).into_dispatch(),
            &self.program.segment.parameters[at].shape,
        )
    }

    /// A parameter as a vector.
    fn flat(&self, place: Place) -> Tensor<1> {
        match place {
            Place::Trained(at) => self.trained[at].val(),
            // `value` may lag one step behind.
            Place::Statistic(at) => self.statistics[at].value_sync(),
            Place::Constant(at) => self.constants[at].clone(),
        }
    }

    /// Moves the statistics of one of its nodes towards those of a batch.
    fn follow(&self, found: Moments) {
        let node = &self.program.segment.nodes[found.node];
        if let (Op::BatchNormalization { momentum, .. }, Some(statistics)) =
            (&node.op, self.statistics_of(node))
        {
            for (running, batch) in statistics.into_iter().zip([found.mean, found.variance]) {
                let (device, count) = (running.value().device(), batch.len());
                let batch = Tensor::from_data(TensorData::new(batch, [count]), &device);
                follow(running, batch, *momentum);
            }
        }
    }

    /// The running statistics of a batch normalization; none where they are no weights of the file.
    fn statistics_of(&self, node: &Node) -> Option<[&RunningState<Tensor<1>>; 2]> {
        let statistic = |place: usize| match *node.inputs.get(place)? {
            Input::Parameter(at) => match *self.program.places.get(at)? {
                Place::Statistic(at) => self.statistics.get(at),
                Place::Trained(_) | Place::Constant(_) => None,
            },
            Input::Value(_) => None,
        };
        Some([statistic(3)?, statistic(4)?])
    }
}

/// What a node drops in training: the rate, and the shape of the mask, which has one number for each
/// value or for each sample.
fn mask_of(op: &Op, shape: &[usize]) -> Option<(f32, Vec<usize>)> {
    match *op {
        Op::Dropout { rate } => Some((rate, shape.to_vec())),
        Op::StochasticDepth { rate } => {
            let mut mask = vec![1; shape.len()];
            *mask.first_mut()? = *shape.first()?;
            Some((rate, mask))
        }
        _ => None,
    }
}

/// Zeros with this probability, else what keeps the mean: `1 / (1 - rate)`.
fn random_mask(rate: f32, shape: &[usize], device: &Device) -> Value {
    let kept = Distribution::Bernoulli(f64::from(1.0 - rate));
    let count: usize = shape.iter().product();
    let mask = Tensor::<1>::random([count], kept, device) / (1.0 - rate);
    reshape(mask.into_dispatch(), shape)
}

/// Computes the output of consecutive layers by the program that was planned of them.
pub fn run(
    layers: &[&Graph],
    program: &Arc<fused::Program>,
    pool: &Pool,
    input: Activations,
    key: DropoutKey,
) -> Result<Activations, TrainError> {
    let (input, batch, autodiff) = parts(input);
    let training = autodiff.then_some(key);
    let output = run_value(layers, program, pool, input, batch, training)?;
    let last = layers.last().expect("a program has layers");
    activations(output, &last.program.segment)
}

fn run_value(
    layers: &[&Graph],
    program: &Arc<fused::Program>,
    pool: &Pool,
    input: Value,
    batch: usize,
    training: Option<DropoutKey>,
) -> Result<Value, TrainError> {
    program.check(batch)?;
    let parameters = layers.iter().flat_map(|graph| {
        let places = graph.program.places.iter();
        places.map(|&place| graph.flat(place).into_dispatch())
    });
    let parameters = parameters.collect();
    let (output, moments) =
        fused::compute(input, parameters, program.clone(), training, pool.clone());
    for mut found in moments {
        for graph in layers {
            let nodes = graph.program.segment.nodes.len();
            if found.node < nodes {
                graph.follow(found);
                break;
            }
            found.node -= nodes;
        }
    }
    Ok(output)
}

/// The value, how many images it has, and whether there are gradients.
fn parts(input: Activations) -> (Value, usize, bool) {
    match input {
        Activations::Image(image) => {
            let (batch, autodiff) = (image.dims()[0], image.device().is_autodiff());
            (image.into_dispatch(), batch, autodiff)
        }
        Activations::Tokens(tokens) => {
            let (batch, autodiff) = (tokens.dims()[0], tokens.device().is_autodiff());
            (tokens.into_dispatch(), batch, autodiff)
        }
        Activations::Vector(vector) => {
            let (batch, autodiff) = (vector.dims()[0], vector.device().is_autodiff());
            (vector.into_dispatch(), batch, autodiff)
        }
    }
}

/// Waits for a value and copies it out, row-major.
pub fn numbers(value: &Value) -> Result<Vec<f32>, TrainError> {
    let count = value::dims(value).iter().product();
    super::values(Tensor::<1>::from_dispatch(reshape(value.clone(), &[count])))
}

/// A value that a segment gives, as the next layer takes it.
fn activations(value: Value, segment: &Segment) -> Result<Activations, TrainError> {
    match value::rank(&value) {
        4 => Ok(Activations::Image(Tensor::from_dispatch(value))),
        3 => Ok(Activations::Tokens(Tensor::from_dispatch(value))),
        2 => Ok(Activations::Vector(Tensor::from_dispatch(value))),
        axes => Err(TrainError::Segment(UntypedError {
            segment: segment.name.clone(),
            reason: format!(
                "it gives values of {axes} axes, which are no images, vectors or sequences of vectors"
            ),
        })),
    }
}

/// The value, which is given away where this is its last use.
fn take(values: &mut [Option<Value>], uses: &mut [usize], at: usize) -> Option<Value> {
    let left = uses.get_mut(at)?;
    *left = left.saturating_sub(1);
    let value = values.get_mut(at)?;
    if *left == 0 {
        value.take()
    } else {
        value.clone()
    }
}

/// Moves a running statistic towards the batch's, of which it keeps the share `momentum`. The
/// variance is divided by the count, as in ONNX.
fn follow(running: &RunningState<Tensor<1>>, batch: Tensor<1>, momentum: f32) {
    let kept = running.value_sync() * momentum;
    running.update((kept + batch * (1.0 - momentum)).detach());
}

fn name(layer: &str, parameter: &Parameter) -> String {
    format!("{layer}.{}", parameter.name)
}

fn required<'a>(
    weights: &'a Weights,
    name: &str,
    parameter: &Parameter,
) -> Result<&'a Values, WeightsError> {
    let values = weights.require(name)?;
    if values.shape == parameter.shape {
        Ok(values)
    } else {
        Err(WeightsError::Shape {
            name: name.to_owned(),
            expected: parameter.shape.clone(),
            found: values.shape.clone(),
        })
    }
}
