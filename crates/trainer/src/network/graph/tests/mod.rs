//! Every operator gives what its definition gives, and gradients are its slopes.

mod batch_norm;
mod fused_segments;
mod lite0;
mod operators;

mod random;
mod reference;
mod unfolded;

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use kiln_model::graph::{Input, Node, Op, Parameter, Segment, Values as Source};
use kiln_model::{ParamRole, SegmentLayer};
use kiln_run::{Tensor as Values, Weights};

use self::reference::Array;
use super::*;
use crate::Device;

/// The largest difference, as a part of the largest value.
const TOLERANCE: f64 = 1e-5;
/// Of gradients, which are sums of more numbers.
const GRADIENT_TOLERANCE: f64 = 5e-5;
/// The change of a number of which slopes are measured.
const STEP: f64 = 1e-6;

/// A segment under construction.
#[derive(Debug, Clone)]
pub struct Draft {
    pub sample: Vec<usize>,
    pub nodes: Vec<Node>,
    pub parameters: Vec<Parameter>,
}

impl Draft {
    pub fn new(sample: &[usize]) -> Self {
        Self {
            sample: sample.to_vec(),
            nodes: Vec::new(),
            parameters: Vec::new(),
        }
    }

    /// Adds a parameter of the file.
    pub fn parameter(&mut self, shape: &[usize]) -> Input {
        self.parameters.push(Parameter {
            name: format!("p{}", self.parameters.len()),
            shape: shape.to_vec(),
            values: Source::File,
        });
        Input::Parameter(self.parameters.len() - 1)
    }

    /// Adds a node; gives its output.
    pub fn node(&mut self, op: Op, inputs: &[Input]) -> Input {
        self.nodes.push(Node {
            name: format!("node{}", self.nodes.len()),
            op,
            inputs: inputs.to_vec(),
            // Only has to be known: the module infers it.
            shape: Some(kiln_model::graph::Dims::batched([1])),
            value: None,
        });
        Input::Value(self.nodes.len())
    }

    pub fn segment(&self) -> Segment {
        Segment {
            name: "segment".into(),
            nodes: self.nodes.clone(),
            parameters: self.parameters.clone(),
            output: "output".into(),
            covers: Vec::new(),
        }
    }

    /// The module with parameters of no special values.
    pub fn build(&self, live: bool) -> (Graph, Vec<Array>) {
        let segment = self.segment();
        let mut weights = Weights::default();
        let mut arrays = Vec::new();
        for (at, (parameter, role)) in segment.parameters.iter().zip(segment.roles()).enumerate() {
            let mut data = draw(parameter.len(), at as u64 + 1);
            if role == ParamRole::RunningVar {
                data = data.iter().map(|value| value.abs() + 0.3).collect();
            }
            // Large kernels are kept from large sums.
            if parameter.shape.len() == 4 {
                let inputs: usize = parameter.shape[1..].iter().product();
                let factor = (1.0 / (inputs as f64).sqrt()) as f32;
                data = data.iter().map(|value| value * factor).collect();
            }
            arrays.push(array(&parameter.shape, &data));
            let shape = parameter.shape.clone();
            weights.insert(name("layer", parameter), Values { shape, data });
        }
        let settings = SegmentLayer {
            segment,
            live_batch_norm: live,
            unfolded: Vec::new(),
        };
        let device = Device::stock_cpu().autodiff().burn;
        let graph = Graph::new("layer", &settings, &self.sample, &weights, &device).unwrap();
        (graph, arrays)
    }
}

/// Numbers between -1 and 1 without a pattern, none of them 0.
pub fn draw(count: usize, seed: u64) -> Vec<f32> {
    const MASK: u64 = 0xFFFF_FFFF;
    let number = |i: u64| {
        let mut mixed = (i * 0x9E37_79B9 + seed * 0x85EB_CA6B) & MASK;
        for _ in 0..2 {
            mixed = ((mixed ^ (mixed >> 16)) * 0x045D_9F3B) & MASK;
        }
        (((mixed >> 8) as f64 + 0.5) / f64::from(1 << 23) - 1.0) as f32
    };
    (0..count as u64).map(number).collect()
}

fn array(shape: &[usize], data: &[f32]) -> Array {
    Array {
        shape: shape.to_vec(),
        data: data.iter().copied().map(f64::from).collect(),
    }
}

/// What a module gives: its output, then the gradients of the input and of what is trained.
pub fn run(graph: &Graph, sample: &[usize], batch: usize, live: bool) -> Vec<Vec<f64>> {
    run_by(
        |value| graph.evaluate(value, batch, live, &mut |_, _| Ok(())),
        graph,
        sample,
        batch,
    )
}

/// The same, computed by a function.
fn run_by(
    compute: impl FnOnce(Value) -> Result<Value, TrainError>,
    graph: &Graph,
    sample: &[usize],
    batch: usize,
) -> Vec<Vec<f64>> {
    let shape = [&[batch], sample].concat();
    let data = draw(shape.iter().product(), 0);
    let device = Device::stock_cpu().autodiff().burn;
    let input = Tensor::<1>::from_data(TensorData::from(&data[..]), &device).require_grad();
    let value = reshape(input.clone().into_dispatch(), &shape);
    let output = compute(value).unwrap();
    let count = value::dims(&output).iter().product();
    let output = Tensor::<1>::from_dispatch(reshape(output, &[count]));
    let factors = Tensor::<1>::from_data(TensorData::from(&factors(count)[..]), &device);
    let gradients = (output.clone() * factors).sum().backward();
    let numbers = |tensor: Tensor<1>| {
        let values: Vec<f32> = tensor.try_into_vec_as().unwrap();
        values.into_iter().map(f64::from).collect::<Vec<f64>>()
    };
    let of = |tensor: &Tensor<1>| {
        let count = tensor.dims()[0];
        tensor.grad(&gradients).map_or(vec![0.0; count], numbers)
    };
    let mut found = vec![numbers(output), of(&input)];
    found.extend(graph.trained.iter().map(|param| of(&param.val())));
    found
}

/// What the loss multiplies the outputs by.
fn factors(count: usize) -> Vec<f32> {
    draw(count, 17)
}

/// The same by definition: slopes are measured. A slope that depends on how it is measured, at a
/// kink, is none.
fn expected(
    draft: &Draft,
    parameters: &[Array],
    batch: usize,
    live: bool,
) -> Vec<Vec<Option<f64>>> {
    let segment = draft.segment();
    let shape = [&[batch], &draft.sample[..]].concat();
    let input = array(&shape, &draw(shape.iter().product(), 0));
    let output = reference::evaluate(&segment, input.clone(), parameters, live);
    let factors = factors(output.data.len());
    let loss = |input: &Array, parameters: &[Array]| -> f64 {
        let output = reference::evaluate(&segment, input.clone(), parameters, live);
        output
            .data
            .iter()
            .zip(&factors)
            .map(|(a, &b)| a * f64::from(b))
            .sum()
    };
    let slope = |change: &dyn Fn(f64) -> f64| {
        let measured = [STEP, 3.0 * STEP].map(|step| (change(step) - change(-step)) / (2.0 * step));
        let near = (measured[0] - measured[1]).abs() <= 1e-6 * measured[0].abs().max(1.0);
        near.then_some(measured[0])
    };
    let mut all = vec![output.data.into_iter().map(Some).collect()];
    let of_input = |at: usize| {
        slope(&|step| {
            let mut input = input.clone();
            input.data[at] += step;
            loss(&input, parameters)
        })
    };
    all.push((0..input.data.len()).map(of_input).collect());
    for (which, role) in segment.roles().into_iter().enumerate() {
        if role.is_trained() {
            let of_parameter = |at: usize| {
                slope(&|step| {
                    let mut parameters = parameters.to_vec();
                    parameters[which].data[at] += step;
                    loss(&input, &parameters)
                })
            };
            all.push(
                (0..parameters[which].data.len())
                    .map(of_parameter)
                    .collect(),
            );
        }
    }
    all
}

/// Checks a segment's output and all gradients.
pub fn check(draft: &Draft, batch: usize, live: bool) {
    let (graph, parameters) = draft.build(live);
    let expected = expected(draft, &parameters, batch, live);
    let found = run(&graph, &draft.sample, batch, live);
    assert_eq!(expected.len(), found.len());
    for (which, (expected, found)) in expected.iter().zip(&found).enumerate() {
        assert_eq!(expected.len(), found.len(), "{which} of {draft:?}");
        let tolerance = if which == 0 {
            TOLERANCE
        } else {
            GRADIENT_TOLERANCE
        };
        // Gradients whose terms cancel one another out are not held to their own size.
        let least: f64 = if which == 0 { 1e-6 } else { 0.1 };
        let largest = expected
            .iter()
            .flatten()
            .fold(least, |most, value| most.max(value.abs()));
        for (at, (expected, found)) in expected.iter().zip(found).enumerate() {
            let Some(expected) = expected else { continue };
            assert!(
                (expected - found).abs() <= tolerance * largest,
                "{which}[{at}]: expected {expected}, found {found} in {draft:?}"
            );
        }
    }
}

#[test]
fn parameters_come_back_in_the_files_shapes() {
    let mut draft = Draft::new(&[2, 4, 4]);
    let inputs: Vec<Input> = std::iter::once(Input::Value(0))
        .chain((0..4).map(|_| draft.parameter(&[2])))
        .collect();
    let norm = Op::BatchNormalization {
        epsilon: 1e-5,
        momentum: 0.9,
    };
    let x = draft.node(norm, &inputs);
    let number = draft.parameter(&[]);
    draft.node(Op::Binary(Binary::Mul), &[x, number]);
    let (graph, parameters) = draft.build(true);
    let tensors = graph.tensors("layer");
    assert_eq!(tensors.len(), 5);
    for (at, ((name, values), expected)) in tensors.iter().zip(&parameters).enumerate() {
        assert_eq!(*name, format!("layer.p{at}"));
        assert_eq!(array(&values.shape, &values.data), *expected);
    }
    assert_eq!(graph.trained.len(), 2);
    // One for each process: the optimizer's state goes by it.
    assert_eq!(graph.trained[0].id, draft.build(true).0.trained[0].id);
}

#[test]
fn what_does_not_fit_is_an_error_that_names_the_node() {
    let error = |op: Op| {
        let mut draft = Draft::new(&[2, 4, 4]);
        draft.node(op, &[Input::Value(0)]);
        let settings = SegmentLayer {
            segment: draft.segment(),
            live_batch_norm: false,
            unfolded: Vec::new(),
        };
        let device = Device::stock_cpu().burn;
        Graph::new(
            "layer",
            &settings,
            &draft.sample,
            &Weights::default(),
            &device,
        )
        .unwrap_err()
        .to_string()
    };
    let transpose = error(Op::Transpose { perm: vec![0, 1] });
    assert!(
        transpose.contains("segment") && transpose.contains("`node0` (Transpose)"),
        "{transpose}"
    );
    let other = kiln_model::graph::Other {
        domain: String::new(),
        op_type: "Einsum".into(),
        output: 0,
        reason: "`node0` (Einsum) is not known".into(),
    };
    assert!(error(Op::Other(other)).contains("Einsum"));
    let part = kiln_model::graph::SliceAxis {
        axis: 1,
        start: 0,
        step: 1,
        length: 0,
    };
    assert!(error(Op::Slice(vec![part])).contains("`node0` (Slice)"));
}

#[test]
fn frozen_segments_have_no_gradients() {
    let mut draft = Draft::new(&[2, 3, 3]);
    let weight = draft.parameter(&[2, 2, 1, 1]);
    let window = kiln_model::graph::Window {
        kernel: [1; 2],
        strides: [1; 2],
        dilations: [1; 2],
        pads: [[0; 2]; 2],
    };
    let conv = Op::Conv(kiln_model::graph::Conv { window, groups: 1 });
    draft.node(conv, &[Input::Value(0), weight]);
    let (graph, _) = draft.build(true);
    let found = run(&graph, &draft.sample, 2, false);
    assert!(found[2].iter().any(|&gradient| gradient != 0.0));
    let frozen = graph.freeze();
    assert!(!frozen.training.is_enabled());
    let found = run(&frozen, &draft.sample, 2, false);
    assert!(found[2].iter().all(|&gradient| gradient == 0.0));
}
