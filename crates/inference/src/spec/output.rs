//! The graph's output with the scores: which it is, what its scores are, and whether it fits the labels.

use std::collections::HashMap;

use kiln_model::OutputKind;
use kiln_onnx::{DataType, Dim, GraphProto, ModelProto, NodeProto, TensorInfo};

use super::{describe, join};
use crate::error::LoadErrorKind;
use crate::hint::Unspecified;

/// Most classes that are called by their numbers. A file can claim any number; names have to be
/// given.
const MAX_NUMBERS: usize = 1 << 20;

/// What the classes of a binary classifier with one score are called if nobody says: 0 and 1.
const BINARY: [&str; 2] = ["negative", "positive"];

/// The output with the scores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its place among the graph's outputs.
    pub at: usize,
    pub info: TensorInfo,
    /// What the graph says of its scores.
    pub end: End,
    /// The softmax that gives its values, if it is taken over the batch: an image's scores would depend on
    /// the others.
    pub softmax_over_batch: Option<String>,
    /// Whether it was chosen among several by what they are: nobody names it.
    pub chosen: bool,
}

/// What a graph says of an output's scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// What they are, where the operators tell.
    pub kind: Option<OutputKind>,
    /// Whether they were rounded to 8 bits, so that probabilities need not sum to 1.
    pub is_quantized: bool,
    /// Whether they come from an operator that gives features rather than scores.
    pub is_features: bool,
}

impl Output {
    /// Finds the output: the one of this name; or the only one that fits the labels, if there are
    /// any; or the only one that is probabilities; or the first. Without a batch, an output's only
    /// axis is that of the classes.
    pub fn find(
        model: &ModelProto,
        name: Option<&str>,
        labels: Option<usize>,
        has_batch: bool,
    ) -> Result<Self, LoadErrorKind> {
        let mut outputs = model.outputs();
        for shape in outputs
            .iter_mut()
            .filter_map(|output| output.shape.as_mut())
        {
            if !has_batch && shape.len() == 1 {
                shape.insert(0, Dim::Fixed(1));
            }
        }
        let nodes = Nodes::new(model);
        let output = |at: usize, chosen| Self {
            at,
            info: outputs[at].clone(),
            end: nodes.end(&outputs[at].name),
            softmax_over_batch: nodes.softmax_over_batch(&outputs[at]),
            chosen,
        };
        if let Some(name) = name {
            let at = outputs.iter().position(|output| output.name == name);
            return at
                .map(|at| output(at, false))
                .ok_or_else(|| LoadErrorKind::OutputName {
                    name: name.to_owned(),
                    found: join(outputs.iter().map(|output| format!("`{}`", output.name))),
                });
        }
        let only = |fits: &dyn Fn(&Self) -> bool| {
            let all = (0..outputs.len()).map(|at| output(at, at > 0));
            let mut fitting = all.filter(|output| fits(output));
            fitting.next().filter(|_| fitting.next().is_none())
        };
        let fitting = match labels {
            Some(labels) => only(&|output| output.fits(labels) == Ok(())),
            None => only(&|output| output.end.kind.is_some() && output.classes().is_some()),
        };
        match fitting {
            Some(output) => Ok(output),
            None if outputs.is_empty() => Err(LoadErrorKind::Output {
                labels: labels.unwrap_or_default(),
                found: "none".to_owned(),
            }),
            None => Ok(output(0, false)),
        }
    }

    /// Whether it has one score for an image, of the second of two classes.
    pub fn is_binary(&self) -> bool {
        let one = |dims: &[Dim]| dims.iter().all(|dim| dim.fixed() == Some(1));
        match self.info.shape.as_deref() {
            Some([_]) => true,
            Some([_, rest @ ..]) => !rest.is_empty() && one(rest),
            Some([]) | None => false,
        }
    }

    /// The number of classes, where it is fixed.
    fn classes(&self) -> Option<usize> {
        if self.is_binary() {
            return Some(2);
        }
        match self.info.shape.as_deref() {
            Some([_, classes, ..]) => classes.fixed(),
            _ => None,
        }
    }

    /// The classes' numbers as their names.
    pub fn numbers(&self) -> Result<Vec<String>, LoadErrorKind> {
        if self.is_binary() {
            return Ok(BINARY.map(str::to_owned).to_vec());
        }
        let classes = self
            .classes()
            .filter(|classes| (1..=MAX_NUMBERS).contains(classes));
        let classes = classes.ok_or(LoadErrorKind::Unspecified(Unspecified::Labels))?;
        Ok((0..classes).map(|class| class.to_string()).collect())
    }

    /// Checks that the scores can be `[batch, labels]` of floats, axes of 1 may follow; or one
    /// score for each image where there are two labels.
    pub fn check(&self, labels: usize) -> Result<(), LoadErrorKind> {
        match self.fits(labels) {
            Ok(()) => Ok(()),
            Err(Misfit::Type) => Err(LoadErrorKind::OutputType {
                found: describe(&self.info),
            }),
            Err(Misfit::OneScore) => Err(LoadErrorKind::OneScore { labels }),
            Err(Misfit::Shape) => Err(LoadErrorKind::Output {
                labels,
                found: describe(&self.info),
            }),
        }
    }

    fn fits(&self, labels: usize) -> Result<(), Misfit> {
        let is_float = |found: DataType| {
            matches!(
                found,
                DataType::Float | DataType::Float16 | DataType::Bfloat16 | DataType::Double
            )
        };
        if self.info.data_type.is_some_and(|found| !is_float(found)) {
            return Err(Misfit::Type);
        }
        if self.is_binary() {
            return if labels == 2 {
                Ok(())
            } else {
                Err(Misfit::OneScore)
            };
        }
        let can_be = |dim: &Dim, size| dim.fixed().is_none_or(|found| found == size);
        let fits = match self.info.shape.as_deref() {
            Some([_, classes, rest @ ..]) => {
                can_be(classes, labels) && rest.iter().all(|dim| can_be(dim, 1))
            }
            Some(_) => false,
            None => true,
        };
        match (fits, labels) {
            (false, _) => Err(Misfit::Shape),
            (true, 0 | 1) => Err(Misfit::OneScore),
            (true, _) => Ok(()),
        }
    }
}

/// Why an output is not one of scores for the labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Misfit {
    Type,
    OneScore,
    Shape,
}

/// A graph's nodes by what they give.
struct Nodes<'a> {
    by_output: HashMap<&'a str, &'a NodeProto>,
    graph: Option<&'a GraphProto>,
}

impl<'a> Nodes<'a> {
    fn new(model: &'a ModelProto) -> Self {
        let graph = model.graph.as_ref();
        let nodes = graph.into_iter().flat_map(|graph| &graph.node);
        let by_output = nodes.filter(|node| node.is_onnx()).flat_map(|node| {
            node.output
                .iter()
                .map(move |output| (output.as_str(), node))
        });
        Self {
            by_output: by_output.collect(),
            graph,
        }
    }

    fn producer(&self, value: Option<&String>) -> Option<&'a NodeProto> {
        self.by_output.get(value?.as_str()).copied()
    }

    /// What the graph says of a value's numbers. Operators that only move, convert, round or choose
    /// among them may follow.
    fn end(&self, value: &str) -> End {
        let mut end = End {
            kind: None,
            is_quantized: false,
            is_features: false,
        };
        let mut node = self.by_output.get(value).copied();
        // A graph has no loops, but a file may name a value twice.
        for _ in 0..self.by_output.len() {
            let Some(found) = node else { return end };
            match found.op_type.as_str() {
                "DequantizeLinear" | "QuantizeLinear" => end.is_quantized = true,
                "Identity" | "Cast" | "CastLike" | "Reshape" | "Flatten" | "Squeeze"
                | "Unsqueeze" | "Transpose" | "Slice" | "Dropout" => {}
                _ => {
                    end.kind = self.kind(found);
                    end.is_features = self.gives_features(found);
                    return end;
                }
            }
            node = self.producer(found.input.first());
        }
        end
    }

    fn kind(&self, node: &NodeProto) -> Option<OutputKind> {
        let made_by = |at: usize, op: &str| {
            let node = self.producer(node.input.get(at))?;
            (node.op_type == op).then_some(node)
        };
        match node.op_type.as_str() {
            "Softmax" => Some(OutputKind::Probabilities),
            "LogSoftmax" => Some(OutputKind::LogProbabilities),
            "Sigmoid" | "HardSigmoid" => Some(OutputKind::Sigmoid),
            // exp(x) / sum(exp(x)), however the largest was subtracted before.
            "Div" => {
                let exponentials = made_by(0, "Exp");
                let sum = made_by(1, "ReduceSum");
                let softmax = exponentials
                    .zip(sum)
                    .is_some_and(|(e, sum)| sum.input.first() == e.output.first());
                if softmax {
                    return Some(OutputKind::Probabilities);
                }
                self.is_logistic(node).then_some(OutputKind::Sigmoid)
            }
            "Reciprocal" => self
                .is_one_and_exponential(self.producer(node.input.first())?)
                .then_some(OutputKind::Sigmoid),
            "Log" => {
                let inner = self.producer(node.input.first())?;
                (self.kind(inner) == Some(OutputKind::Probabilities))
                    .then_some(OutputKind::LogProbabilities)
            }
            // x - log(sum(exp(x)))
            "Sub" => {
                let normalizer = made_by(1, "ReduceLogSumExp").is_some()
                    || made_by(1, "Log")
                        .and_then(|log| self.producer(log.input.first()))
                        .is_some_and(|sum| {
                            sum.op_type == "ReduceSum"
                                && self
                                    .producer(sum.input.first())
                                    .is_some_and(|inner| inner.op_type == "Exp")
                        });
                normalizer.then_some(OutputKind::LogProbabilities)
            }
            _ => None,
        }
    }

    /// 1 / (1 + exp(-x))
    fn is_logistic(&self, quotient: &NodeProto) -> bool {
        let sum = self.producer(quotient.input.get(1));
        self.is_one(quotient.input.first())
            && sum.is_some_and(|sum| self.is_one_and_exponential(sum))
    }

    fn is_one_and_exponential(&self, sum: &NodeProto) -> bool {
        let exponential = |at| {
            let node = self.producer(sum.input.get(at));
            node.is_some_and(|node| {
                node.op_type == "Exp"
                    && self
                        .producer(node.input.first())
                        .is_some_and(|inner| inner.op_type == "Neg")
            })
        };
        sum.op_type == "Add"
            && (self.is_one(sum.input.first()) && exponential(1)
                || self.is_one(sum.input.get(1)) && exponential(0))
    }

    /// Whether a value is the constant 1.
    fn is_one(&self, value: Option<&String>) -> bool {
        let Some(value) = value else { return false };
        let initializers = self.graph.iter().flat_map(|graph| &graph.initializer);
        let tensor = initializers
            .clone()
            .find(|tensor| tensor.name == *value)
            .or_else(|| {
                let node = self.by_output.get(value.as_str())?;
                let constant = node.op_type == "Constant";
                let mut tensors = node.attribute.iter().filter_map(|found| found.t.as_ref());
                tensors.next().filter(|_| constant)
            });
        let values = tensor.and_then(|tensor| tensor.to_f32().ok());
        values.is_some_and(|values| matches!(values.as_slice(), [one] if (one - 1.0).abs() < 1e-6))
    }

    /// Whether a node gives features, as the last one of a network without its classifier.
    fn gives_features(&self, node: &NodeProto) -> bool {
        match node.op_type.as_str() {
            "GlobalAveragePool" | "GlobalMaxPool" | "AveragePool" | "ReduceMean" | "ReduceMax"
            | "LayerNormalization" | "LpNormalization" | "Relu" | "Tanh" => true,
            // A vector divided by its length.
            "Div" => self.producer(node.input.get(1)).is_some_and(|length| {
                let length = match length.op_type.as_str() {
                    "Clip" | "Max" | "Expand" | "Add" => self.producer(length.input.first()),
                    _ => Some(length),
                };
                length.is_some_and(|length| matches!(length.op_type.as_str(), "ReduceL2" | "Sqrt"))
            }),
            _ => false,
        }
    }

    /// The softmax that gives an output's values, if its axis is that of the batch.
    fn softmax_over_batch(&self, output: &TensorInfo) -> Option<String> {
        let rank = output.shape.as_ref().map(Vec::len);
        let mut node = self.by_output.get(output.name.as_str()).copied();
        for _ in 0..self.by_output.len() {
            let found = node?;
            match found.op_type.as_str() {
                "Softmax" | "LogSoftmax" => {
                    // Up to opset 12 all axes from this one on are one, by default from the second on.
                    let axis = found.attribute.iter().find(|found| found.name == "axis");
                    let axis = axis.map(|axis| axis.i.unwrap_or_default());
                    let first = |axis| axis == 0 || rank.is_some_and(|rank| axis == -(rank as i64));
                    return axis.is_some_and(first).then(|| found.describe());
                }
                "DequantizeLinear" | "QuantizeLinear" | "Identity" | "Cast" | "Log" => {}
                _ => return None,
            }
            node = self.producer(found.input.first());
        }
        None
    }
}
