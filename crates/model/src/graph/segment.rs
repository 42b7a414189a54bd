//! Segments.

use serde::{Deserialize, Serialize};

use super::node::{Input, Node, Parameter, Values};
use super::op::{Binary, Op};
use super::size::Dims;
use crate::{Init, ParamDef, ParamRole};

/// Nodes between two values that every path from the image to the scores passes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// A valid name of a layer, unique in its graph.
    pub name: String,
    /// The nodes, each after those whose outputs it takes; the last one's output is the segment's.
    pub nodes: Vec<Node>,
    /// The parameters that the nodes take, each once. Segments may share a parameter, which then
    /// has the same name.
    pub parameters: Vec<Parameter>,
    /// The file's name of the value at its end.
    pub output: String,
    /// Which nodes of the file it covers, as ascending indices: those that its output needs and
    /// no segment before it. The nodes of all segments up to this one are exactly those that the
    /// value at its end depends on.
    pub covers: Vec<usize>,
}

/// Something in a segment that kiln cannot compute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{segment} cannot be computed in training: {reason}")]
pub struct UntypedError {
    /// The segment's name.
    pub segment: String,
    /// What stands in the way, naming the node.
    pub reason: String,
}

impl Segment {
    /// Returns the shape of its output, where it is known.
    pub fn shape(&self) -> Option<&Dims> {
        self.nodes.last()?.shape.as_ref()
    }

    /// Returns the dimensions of one sample of its output, where they are known.
    pub fn sample(&self) -> Option<Vec<usize>> {
        self.shape()?.sample()
    }

    /// Returns the number of values of its parameters.
    pub fn parameter_count(&self) -> usize {
        self.parameters
            .iter()
            .fold(0, |count, parameter| count.saturating_add(parameter.len()))
    }

    /// Returns the number of multiplications with an addition each for one image, of the operators with
    /// weights.
    pub fn multiply_adds(&self) -> u64 {
        let node = |node: &Node| -> Option<u64> {
            let weight = node.inputs.iter().find_map(|input| match input {
                Input::Parameter(at) => self.parameters.get(*at),
                Input::Value(_) => None,
            })?;
            let output = node.shape.as_ref()?.sample()?;
            let terms = match &node.op {
                Op::Conv(_) => weight.shape.get(1..)?.iter().product::<usize>(),
                Op::Gemm(_) | Op::MatMul => weight.len().checked_div(*output.last()?)?,
                _ => return None,
            };
            Some(output.iter().product::<usize>() as u64 * terms as u64)
        };
        self.nodes.iter().filter_map(node).sum()
    }

    /// Returns the number of terms that one value of each layer sums up: what rounding grows with.
    pub fn terms(&self) -> u64 {
        // A weight is `[outputs, …]`; what has one axis multiplies a value by itself.
        let weights = self.parameters.iter().filter(|it| it.shape.len() > 1);
        weights
            .map(|weight| weight.shape[1..].iter().product::<usize>() as u64)
            .sum()
    }

    /// Returns its only node, where it has just one.
    pub fn single(&self) -> Option<&Node> {
        match self.nodes.as_slice() {
            [node] => Some(node),
            _ => None,
        }
    }

    /// Returns what each of its parameters is to the nodes that take it: [`ParamRole::Constant`]
    /// where training leaves it alone, since it is a single number, is computed from other tensors,
    /// or is no weight of its operator.
    pub fn roles(&self) -> Vec<ParamRole> {
        let mut roles = vec![ParamRole::Constant; self.parameters.len()];
        for node in &self.nodes {
            for (place, input) in node.inputs.iter().enumerate() {
                if let Input::Parameter(at) = *input
                    && let Some((role, parameter)) = roles.get_mut(at).zip(self.parameters.get(at))
                    && *role == ParamRole::Constant
                    && matches!(parameter.values, Values::File | Values::Measured)
                {
                    *role = role_in(&node.op, place, parameter.len());
                }
            }
        }
        roles
    }

    /// Returns its parameters as those of a layer, trainable ones first. Their values are the file's.
    pub fn params(&self) -> Vec<ParamDef> {
        let mut params: Vec<_> = self
            .parameters
            .iter()
            .zip(self.roles())
            .map(|(parameter, role)| ParamDef {
                name: parameter.name.clone(),
                role,
                shape: parameter.shape.clone(),
                init: Init::Given,
            })
            .collect();
        params.sort_by_key(|param| !param.role.is_trained());
        params
    }

    /// Checks that kiln can train it: that it [can compute it](Self::check_typed), and that the
    /// weights of its convolutions and products are tensors of the file, into which trained ones can
    /// be written.
    pub fn check_trainable(&self) -> Result<(), UntypedError> {
        self.check_typed()?;
        let computed = self.nodes.iter().find_map(|node| {
            let weights = node
                .inputs
                .iter()
                .enumerate()
                .filter_map(|(place, input)| match input {
                    Input::Parameter(at) => Some((place, self.parameters.get(*at)?)),
                    Input::Value(_) => None,
                });
            let mut weights = weights.filter(|(place, parameter)| {
                matches!(node.op, Op::Conv(_) | Op::Gemm(_) | Op::MatMul)
                    && role_in(&node.op, *place, parameter.len()) == ParamRole::Weight
            });
            let (_, weight) = weights.find(|(_, weight)| weight.values != Values::File)?;
            Some(format!(
                "the weight `{}` of `{}` ({}) is computed from other tensors",
                weight.name,
                node.name,
                node.op.name()
            ))
        });
        match computed {
            None => Ok(()),
            Some(reason) => Err(UntypedError {
                segment: self.name.clone(),
                reason,
            }),
        }
    }

    /// Checks that kiln can compute it: every operator is known, every parameter has values and
    /// every shape is known.
    pub fn check_typed(&self) -> Result<(), UntypedError> {
        let operators = self.nodes.iter().find_map(|node| {
            if let Op::Other(other) = &node.op {
                return Some(other.reason.clone());
            }
            None
        });
        let values = || {
            self.parameters
                .iter()
                .find_map(|parameter| match &parameter.values {
                    Values::Missing(reason) => Some(reason.clone()),
                    Values::File | Values::Computed(_) | Values::Filled(_) | Values::Measured => {
                        None
                    }
                })
        };
        let shapes = || {
            let node = self.nodes.iter().find(|node| node.shape.is_none())?;
            Some(format!(
                "the shape of `{}` ({}) is not known",
                node.name,
                node.op.name()
            ))
        };
        match operators.or_else(values).or_else(shapes) {
            None => Ok(()),
            Some(reason) => Err(UntypedError {
                segment: self.name.clone(),
                reason,
            }),
        }
    }
}

/// What a parameter is to an operator that takes it in this place.
fn role_in(op: &Op, place: usize, len: usize) -> ParamRole {
    match (op, place) {
        (Op::Gemm(_), 0 | 1)
        | (Op::MatMul, _)
        | (
            Op::Binary(Binary::PRelu)
            | Op::Conv(_)
            | Op::BatchNormalization { .. }
            | Op::LayerNormalization { .. }
            | Op::GroupNormalization { .. }
            | Op::InstanceNormalization { .. },
            1,
        ) => ParamRole::Weight,
        (
            Op::Conv(_)
            | Op::Gemm(_)
            | Op::BatchNormalization { .. }
            | Op::LayerNormalization { .. }
            | Op::GroupNormalization { .. }
            | Op::InstanceNormalization { .. },
            2,
        ) => ParamRole::Bias,
        (Op::BatchNormalization { .. }, 3) => ParamRole::RunningMean,
        (Op::BatchNormalization { .. }, 4) => ParamRole::RunningVar,
        // A scalar is a part of a formula, such as the root of 2 in GELU.
        _ if len < 2 => ParamRole::Constant,
        (Op::Binary(Binary::Add), _) => ParamRole::Bias,
        (Op::Binary(Binary::Mul), _) => ParamRole::Weight,
        // A class token on its way to the others.
        (op, _) if op.only_moves() => ParamRole::Weight,
        _ => ParamRole::Constant,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Conv, Unary, Window};
    use super::*;

    /// `relu(conv(x)) * scale / 2`, whose shapes are known.
    fn segment() -> Segment {
        let parameter = |name: &str, shape: &[usize]| Parameter {
            name: name.into(),
            shape: shape.to_vec(),
            values: Values::File,
        };
        let node = |op: Op, inputs: &[Input]| Node {
            name: op.name().to_lowercase(),
            op,
            inputs: inputs.to_vec(),
            shape: Some(Dims::batched([4, 6, 6])),
            value: None,
        };
        let window = Window {
            kernel: [3, 3],
            strides: [1, 1],
            dilations: [1, 1],
            pads: [[1, 1], [1, 1]],
        };
        let conv = Op::Conv(Conv { window, groups: 2 });
        let given = Input::Parameter;
        Segment {
            name: "block".into(),
            nodes: vec![
                node(conv, &[Input::Value(0), given(0), given(1)]),
                node(Op::Unary(Unary::Relu), &[Input::Value(1)]),
                node(Op::Binary(Binary::Mul), &[Input::Value(2), given(2)]),
                node(Op::Binary(Binary::Div), &[Input::Value(3), given(3)]),
            ],
            parameters: vec![
                parameter("w", &[4, 2, 3, 3]),
                parameter("b", &[4]),
                parameter("gamma", &[4, 1, 1]),
                parameter("two", &[]),
            ],
            output: "y".into(),
            covers: vec![0, 1, 2, 3],
        }
    }

    #[test]
    fn parameters_are_what_their_operators_take_them_for() {
        let segment = segment();
        let roles = [
            ParamRole::Weight,
            ParamRole::Bias,
            ParamRole::Weight,
            ParamRole::Constant,
        ];
        assert_eq!(segment.roles(), roles);
        let params = segment.params();
        assert_eq!(
            (params[3].name.as_str(), params[3].init),
            ("two", Init::Given)
        );
        assert_eq!(segment.multiply_adds(), 4 * 36 * 18);
        segment.check_trainable().unwrap();
    }

    #[test]
    fn a_weight_that_is_computed_is_not_trained() {
        let mut segment = segment();
        segment.parameters[2].values = Values::Filled(0.5);
        assert_eq!(segment.roles()[2], ParamRole::Constant);
        segment.check_trainable().unwrap();
        segment.parameters[0].values = Values::Computed(vec![0.0; 72].into());
        let error = segment.check_trainable().unwrap_err().to_string();
        assert_eq!(
            error,
            "block cannot be computed in training: the weight `w` of `conv` (Conv) is computed from other tensors"
        );
    }
}
