//! From layers to operators: the part of a model that remains for inference.

use kiln_model::graph::{Input, Op};
use kiln_model::{Layer, LayerKind, Resize2d};

/// One ONNX node to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Step<'a> {
    /// The layer it belongs to.
    pub layer: &'a Layer,
    /// What it computes.
    pub op: Operation<'a>,
    /// What it takes.
    pub inputs: Vec<Source>,
    /// Its name: the layer's, with a suffix for other nodes of the layer.
    pub name: String,
    /// The layer whose output is this step's.
    pub completes: Option<&'a Layer>,
    /// The batch normalization that is folded into it.
    pub folded: Option<Folded>,
}

/// What a step computes.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation<'a> {
    /// An operator of a layer.
    Graph(Op),
    /// An image of another size.
    Resize(&'a Resize2d),
}

/// What a step takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The graph's input, 0, or the output of a step, counted from 1.
    Value(usize),
    /// The tensor of this name.
    Tensor(String),
}

/// A batch normalization that is folded into the step before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Folded {
    /// The name of its node.
    pub name: String,
    /// The names of its scale, bias, mean and variance.
    pub tensors: [String; 4],
    /// Added to the variance.
    pub epsilon: f32,
}

impl Step<'_> {
    /// Returns the name of the output: that of the layer whose output it is; else the node's, or
    /// `<layer>.linear` where that is the layer's too, as before an activation.
    pub fn output(&self) -> String {
        if let Some(layer) = self.completes {
            return layer.name.clone();
        }
        let name = self.folded.as_ref().map_or(&self.name, |norm| &norm.name);
        if *name == self.layer.name {
            format!("{name}.linear")
        } else {
            name.clone()
        }
    }
}

/// The operators of consecutive layers in order. Dropout and stochastic depth, which do nothing here,
/// and softmax, which the export adds where it is asked for, have none.
pub fn steps(layers: &[Layer]) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    let mut value = 0;
    for layer in layers {
        value = add(&mut steps, layer, value);
    }
    fold(steps)
}

/// Adds the operators of a layer that takes this value; returns its output.
fn add<'a>(steps: &mut Vec<Step<'a>>, layer: &'a Layer, input: usize) -> usize {
    let first = steps.len();
    if let LayerKind::Resize(resize) = &layer.kind {
        steps.push(Step {
            layer,
            op: Operation::Resize(resize),
            inputs: vec![Source::Value(input)],
            name: layer.name.clone(),
            completes: Some(layer),
            folded: None,
        });
        return steps.len();
    }
    // A part of a file stays there: `export` refuses it.
    let Some(segment) = layer.kind.operators(&layer.name, layer.input) else {
        return input;
    };
    // The values of the segment, as those of all steps.
    let mut values = vec![input];
    for node in segment.nodes {
        let source = |input: &Input| match *input {
            Input::Value(value) => Source::Value(values[value]),
            Input::Parameter(at) => {
                Source::Tensor(format!("{}.{}", layer.name, segment.parameters[at].name))
            }
        };
        let inputs: Vec<_> = node.inputs.iter().map(source).collect();
        let flat = matches!(layer.kind, LayerKind::Flatten(_)) && layer.input == layer.output;
        if let ([Source::Value(value)], true) = (&inputs[..], flat || is_left_out(&node.op)) {
            values.push(*value);
            continue;
        }
        steps.push(Step {
            layer,
            op: Operation::Graph(node.op),
            inputs,
            name: node.name,
            completes: None,
            folded: None,
        });
        values.push(steps.len());
    }
    let output = values.last().copied().unwrap_or(input);
    // Of a layer that does nothing, the output is that of the layer before it.
    if output > first
        && let Some(step) = steps.get_mut(output - 1)
    {
        step.completes = Some(layer);
    }
    output
}

/// Whether an operator of training or of the end has no part in the graph.
const fn is_left_out(op: &Op) -> bool {
    matches!(
        op,
        Op::Dropout { .. } | Op::StochasticDepth { .. } | Op::Softmax { .. }
    )
}

/// Folds batch normalizations into the convolutions and dense layers straight before them, where
/// nothing else takes what those give: they are then only another weight and bias. Past an activation
/// they are not.
fn fold(steps: Vec<Step<'_>>) -> Vec<Step<'_>> {
    let mut uses = vec![0_usize; steps.len() + 1];
    for input in steps.iter().flat_map(|step| &step.inputs) {
        if let Source::Value(value) = input {
            uses[*value] += 1;
        }
    }
    let mut kept: Vec<Step<'_>> = Vec::with_capacity(steps.len());
    // Where the values of all steps are among those that are kept.
    let mut places = vec![0_usize];
    for mut step in steps {
        if let Some((value, norm)) = normalization(&step)
            && uses[value] == 1
            && let Some(before) = places[value].checked_sub(1).and_then(|at| kept.get_mut(at))
            && matches!(before.op, Operation::Graph(Op::Conv(_) | Op::Gemm(_)))
            && before.folded.is_none()
        {
            before.folded = Some(norm);
            before.completes = step.completes;
            places.push(places[value]);
            continue;
        }
        for input in &mut step.inputs {
            if let Source::Value(value) = input {
                *value = places[*value];
            }
        }
        kept.push(step);
        places.push(kept.len());
    }
    kept
}

/// The value that a batch normalization takes, with its settings; none of another step.
fn normalization(step: &Step<'_>) -> Option<(usize, Folded)> {
    let Operation::Graph(Op::BatchNormalization { epsilon, .. }) = step.op else {
        return None;
    };
    let tensor = |source: &Source| match source {
        Source::Tensor(name) => Some(name.clone()),
        Source::Value(_) => None,
    };
    let [Source::Value(value), tensors @ ..] = &step.inputs[..] else {
        return None;
    };
    let tensors: Vec<_> = tensors.iter().map(tensor).collect::<Option<_>>()?;
    let norm = Folded {
        name: step.name.clone(),
        tensors: tensors.try_into().ok()?,
        epsilon,
    };
    Some((*value, norm))
}
