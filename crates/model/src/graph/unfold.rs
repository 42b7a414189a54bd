//! Batch normalizations behind the convolutions into which an exporter folded them.

use serde::{Deserialize, Serialize};

use super::node::{Input, Node, Parameter, Values};
use super::op::Op;
use super::segment::Segment;

/// A convolution whose bias a batch normalization behind it stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnfoldedConv {
    /// The convolution's node, counted from 0; the normalization is the next one.
    pub node: usize,
    /// The file's name of its weight, a parameter of the segment: `[filters, …]`.
    pub weight: String,
    /// The file's name of its bias, which is no parameter any more: `[filters]`.
    pub bias: String,
    /// Names of the normalization's scale, shift, mean and variance, parameters of the segment that
    /// the file does not have: `[filters]` each.
    pub norm: [String; 4],
}

impl UnfoldedConv {
    /// Added to the variance. A power of 2, so that the variance with which a normalization changes
    /// nothing, `1 - EPSILON`, is a float, and gives 1 exactly.
    pub const EPSILON: f32 = 1.0 / 131_072.0;
    /// The variance by which a normalization divides by 1.
    pub const VARIANCE: f32 = 1.0 - Self::EPSILON;
    /// Share of the running statistics that is kept at each step where they follow the batches: the
    /// default of ONNX.
    pub const MOMENTUM: f32 = 0.9;

    /// Returns the full name of its weight in a layer of this name.
    pub fn weight_in(&self, layer: &str) -> String {
        format!("{layer}.{}", self.weight)
    }

    /// Returns the full names of the normalization's scale, shift, mean and variance in a layer of this
    /// name.
    pub fn norm_in(&self, layer: &str) -> [String; 4] {
        self.norm.each_ref().map(|name| format!("{layer}.{name}"))
    }
}

impl Segment {
    /// Returns the segment with a batch normalization behind each convolution that may have lost one,
    /// and these convolutions: each with a bias that is a tensor of the file's own, an output of more than
    /// one pixel, and no normalization behind it. `next` is the segment after this one.
    ///
    /// The normalization takes the place of the bias, so that the file has no tensor for its parameters:
    /// they are called after the weight, `<weight>.norm.weight` and so on.
    #[must_use]
    pub fn unfolded(&self, next: Option<&Self>) -> (Self, Vec<UnfoldedConv>) {
        let convs: Vec<(usize, [usize; 2])> = (0..self.nodes.len())
            .filter_map(|at| Some((at, self.folded_conv(at, next)?.ok()?)))
            .collect();
        if convs.is_empty() {
            return (self.clone(), Vec::new());
        }
        let mut parameters: Vec<Parameter> = Vec::new();
        // Where each parameter is now; of a bias, the first of the four in its place.
        let mut places = Vec::with_capacity(self.parameters.len());
        for (at, parameter) in self.parameters.iter().enumerate() {
            places.push(parameters.len());
            match convs.iter().find(|(_, [_, bias])| *bias == at) {
                None => parameters.push(parameter.clone()),
                Some((_, [weight, _])) => {
                    let names = self.norm_names(&self.parameters[*weight].name);
                    parameters.extend(names.map(|name| Parameter {
                        name,
                        shape: parameter.shape.clone(),
                        values: Values::Measured,
                    }));
                }
            }
        }
        let mut nodes: Vec<Node> = Vec::new();
        let mut unfolded = Vec::with_capacity(convs.len());
        // Where each value is now.
        let mut values = vec![0];
        for (at, node) in self.nodes.iter().enumerate() {
            let mut node = node.clone();
            for input in &mut node.inputs {
                match input {
                    Input::Value(value) => *value = values[*value],
                    Input::Parameter(parameter) => *parameter = places[*parameter],
                }
            }
            if let Some((_, [weight, bias])) = convs.iter().find(|(conv, _)| *conv == at) {
                let first = places[*bias];
                let norm = batch_norm(&mut node, nodes.len() + 1, first);
                unfolded.push(UnfoldedConv {
                    node: nodes.len(),
                    weight: self.parameters[*weight].name.clone(),
                    bias: self.parameters[*bias].name.clone(),
                    norm: [0, 1, 2, 3].map(|place| parameters[first + place].name.clone()),
                });
                nodes.push(node);
                nodes.push(norm);
            } else {
                nodes.push(node);
            }
            values.push(nodes.len());
        }
        let segment = Self {
            nodes,
            parameters,
            ..self.clone()
        };
        (segment, unfolded)
    }

    /// Returns why its first convolution cannot be unfolded, as a sentence; none without convolutions.
    pub fn not_unfolded(&self, next: Option<&Self>) -> Option<String> {
        let mut found = (0..self.nodes.len()).filter_map(|at| self.folded_conv(at, next)?.err());
        found.next()
    }

    /// The weight and bias of a convolution that a batch normalization may have been folded into, as
    /// indices of parameters, or why there was none. None for other nodes.
    fn folded_conv(&self, at: usize, next: Option<&Self>) -> Option<Result<[usize; 2], String>> {
        let node = self.nodes.get(at)?;
        if !matches!(node.op, Op::Conv(_)) {
            return None;
        }
        let refused = |reason: &str| Some(Err(format!("`{}` {reason}", node.name)));
        let [
            Input::Value(_),
            Input::Parameter(weight),
            Input::Parameter(bias),
        ] = node.inputs[..]
        else {
            return refused("has no bias");
        };
        let own = |at: usize| {
            let of_file = |it: &Parameter| it.values == Values::File;
            self.parameters.get(at).is_some_and(of_file)
                && self.uses(Input::Parameter(at)).count() == 1
        };
        if !own(weight) || !own(bias) {
            return refused("has no weight and bias of its own");
        }
        let is_last = at + 1 == self.nodes.len();
        let behind = next.filter(|_| is_last).into_iter();
        let mut behind = behind
            .flat_map(|next| next.uses(Input::Value(0)))
            .chain(self.uses(Input::Value(at + 1)));
        if behind.any(|node| is_normalization(&node.op)) {
            return refused("has a normalization behind it");
        }
        let pixels = node.shape.as_ref().and_then(|shape| {
            let sample = shape.sample()?;
            Some(sample.get(1..)?.iter().product::<usize>())
        });
        if pixels.is_none_or(|pixels| pixels < 2) {
            return refused("gives one pixel, as those of squeeze-and-excitation do");
        }
        Some(Ok([weight, bias]))
    }

    /// The nodes that take an input.
    fn uses(&self, input: Input) -> impl Iterator<Item = &Node> {
        let takes = move |node: &&Node| node.inputs.contains(&input);
        self.nodes.iter().filter(takes)
    }

    /// Names for the parameters of a normalization behind the convolution with this weight that no tensor
    /// of the segment has.
    fn norm_names(&self, weight: &str) -> [String; 4] {
        let named = |norm: &str| {
            ["weight", "bias", "running_mean", "running_var"]
                .map(|role| format!("{weight}.{norm}.{role}"))
        };
        let free = |names: &[String; 4]| !self.parameters.iter().any(|it| names.contains(&it.name));
        let first = std::iter::once("norm".to_owned());
        let numbered = (1..=self.parameters.len()).map(|number| format!("norm_{number}"));
        let mut candidates = first.chain(numbered).map(|norm| named(&norm));
        // There is one candidate more than parameters, of which each is in the way of one at most.
        candidates.find(free).unwrap_or_else(|| named("norm"))
    }
}

/// Makes a batch normalization of the bias of a convolution: takes the bias away, and returns the node
/// that follows. The convolution's output will be `value`, the normalization's parameters those from
/// `first` on.
fn batch_norm(conv: &mut Node, value: usize, first: usize) -> Node {
    conv.inputs.truncate(2);
    let parameters = (first..first + 4).map(Input::Parameter);
    Node {
        name: format!("{}.norm", conv.name),
        op: Op::BatchNormalization {
            epsilon: UnfoldedConv::EPSILON,
            momentum: UnfoldedConv::MOMENTUM,
        },
        inputs: std::iter::once(Input::Value(value))
            .chain(parameters)
            .collect(),
        shape: conv.shape.clone(),
        // The file's value is what comes out of both.
        value: conv.value.take(),
    }
}

const fn is_normalization(op: &Op) -> bool {
    matches!(
        op,
        Op::BatchNormalization { .. }
            | Op::LayerNormalization { .. }
            | Op::GroupNormalization { .. }
            | Op::InstanceNormalization { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::super::{Binary, Conv, Dims, Unary, Window};
    use super::*;
    use crate::ParamRole;

    fn parameter(name: &str, shape: &[usize]) -> Parameter {
        Parameter {
            name: name.into(),
            shape: shape.to_vec(),
            values: Values::File,
        }
    }

    fn conv(name: &str, inputs: &[Input]) -> Node {
        let window = Window {
            kernel: [1, 1],
            strides: [1, 1],
            dilations: [1, 1],
            pads: [[0, 0], [0, 0]],
        };
        node(name, Op::Conv(Conv { window, groups: 1 }), inputs)
    }

    fn node(name: &str, op: Op, inputs: &[Input]) -> Node {
        Node {
            name: name.into(),
            op,
            inputs: inputs.to_vec(),
            shape: Some(Dims::batched([4, 6, 6])),
            value: Some(format!("{name}:0")),
        }
    }

    /// `x + conv2(relu(conv1(x)))`, the convolutions with a bias.
    fn block() -> Segment {
        use Input::{Parameter as P, Value as V};
        Segment {
            name: "block".into(),
            nodes: vec![
                conv("conv1", &[V(0), P(0), P(1)]),
                node("relu", Op::Unary(Unary::Relu), &[V(1)]),
                conv("conv2", &[V(2), P(2), P(3)]),
                node("add", Op::Binary(Binary::Add), &[V(0), V(3)]),
            ],
            parameters: vec![
                parameter("w1", &[4, 4, 1, 1]),
                parameter("b1", &[4]),
                parameter("w2", &[4, 4, 1, 1]),
                parameter("b2", &[4]),
            ],
            output: "y".into(),
            covers: vec![0, 1, 2, 3],
        }
    }

    #[test]
    fn normalizations_take_the_place_of_biases() {
        use Input::{Parameter as P, Value as V};
        let (segment, convs) = block().unfolded(None);
        let inputs: Vec<_> = segment
            .nodes
            .iter()
            .map(|node| (node.name.as_str(), node.inputs.clone()))
            .collect();
        let expected = [
            ("conv1", vec![V(0), P(0)]),
            ("conv1.norm", vec![V(1), P(1), P(2), P(3), P(4)]),
            ("relu", vec![V(2)]),
            ("conv2", vec![V(3), P(5)]),
            ("conv2.norm", vec![V(4), P(6), P(7), P(8), P(9)]),
            ("add", vec![V(0), V(5)]),
        ];
        assert_eq!(inputs, expected);
        let values: Vec<_> = segment
            .nodes
            .iter()
            .map(|node| node.value.as_deref())
            .collect();
        assert_eq!(values[..2], [None, Some("conv1:0")]);
        let names: Vec<&str> = segment
            .parameters
            .iter()
            .map(|it| it.name.as_str())
            .collect();
        assert_eq!(
            names[..6],
            [
                "w1",
                "w1.norm.weight",
                "w1.norm.bias",
                "w1.norm.running_mean",
                "w1.norm.running_var",
                "w2"
            ]
        );
        let roles = [
            ParamRole::Weight,
            ParamRole::Weight,
            ParamRole::Bias,
            ParamRole::RunningMean,
            ParamRole::RunningVar,
        ];
        assert_eq!(segment.roles(), [roles, roles].concat());
        assert_eq!(
            convs[1],
            UnfoldedConv {
                node: 3,
                weight: "w2".into(),
                bias: "b2".into(),
                norm: ["weight", "bias", "running_mean", "running_var"]
                    .map(|role| format!("w2.norm.{role}")),
            }
        );
        segment.check_trainable().unwrap();
        // There is nothing to unfold a second time.
        let (again, convs) = segment.unfolded(None);
        assert_eq!((again, convs), (segment, Vec::new()));
    }

    #[test]
    fn names_of_the_file_are_not_taken() {
        let mut segment = block();
        segment.parameters[3].name = "w1.norm.bias".into();
        let (segment, convs) = segment.unfolded(None);
        assert_eq!(segment.parameters[2].name, "w1.norm_1.bias");
        assert_eq!(convs[1].bias, "w1.norm.bias");
    }

    #[test]
    fn only_what_may_have_been_folded_is_unfolded() {
        let with = |change: &dyn Fn(&mut Segment)| {
            let mut segment = block();
            change(&mut segment);
            let (_, convs) = segment.unfolded(None);
            let names: Vec<String> = convs.into_iter().map(|conv| conv.weight).collect();
            (names, segment.not_unfolded(None))
        };
        let w2 = vec!["w2".to_owned()];
        let no_bias = with(&|segment| segment.nodes[0].inputs.truncate(2));
        assert_eq!(
            no_bias,
            (w2.clone(), Some("`conv1` has no bias".to_owned()))
        );
        let computed = with(&|segment| segment.parameters[1].values = Values::Filled(0.0));
        let shared = with(&|segment| segment.nodes[2].inputs[1] = Input::Parameter(0));
        let own = |name: &str| Some(format!("`{name}` has no weight and bias of its own"));
        assert_eq!(computed, (w2.clone(), own("conv1")));
        assert_eq!(shared, (Vec::new(), own("conv1")));
        let pixel = with(&|segment| segment.nodes[0].shape = Some(Dims::batched([4, 1, 1])));
        assert_eq!(pixel.0, w2);
        let normalized = with(&|segment| {
            segment.nodes[1].op = Op::BatchNormalization {
                epsilon: 1e-5,
                momentum: 0.9,
            };
        });
        assert_eq!(
            normalized,
            (w2, Some("`conv1` has a normalization behind it".into()))
        );
        // The normalization may be the next segment.
        let mut alone = block();
        alone.nodes.truncate(1);
        let mut next = block();
        next.nodes[0].op = Op::InstanceNormalization { epsilon: 1e-5 };
        assert_eq!(alone.unfolded(None).1.len(), 1);
        assert!(alone.unfolded(Some(&next)).1.is_empty());
        assert_eq!(block().unfolded(Some(&next)).1.len(), 2);
    }
}
