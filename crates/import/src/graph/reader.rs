//! From the nodes of a file to a list of typed nodes.

use std::collections::HashMap;

use kiln_model::graph::{Binary, Dims, Op, Other, Size};
use kiln_onnx::{GraphProto, NodeProto};

use super::affine::Affine;
use super::call::{Call, Known};
use super::constant::{Budgets, Constant, Data};
use super::control::captured;
use super::evaluate::{evaluate, parts};
use super::image::Declared;
use super::ops;
use super::pads;
use super::reading::Reading;
use super::rows::Rows;
use super::special::Computed;
use super::views;
use crate::error::GraphError;

/// A typed node in a list of them.
#[derive(Debug)]
pub struct Flat<'a> {
    /// The node of the file.
    pub node: &'a NodeProto,
    /// The operator.
    pub op: Op,
    /// Its inputs.
    pub inputs: Vec<Source<'a>>,
    /// The shape of its output, where it is known.
    pub shape: Option<Dims>,
    /// The file's name of its output, where it has one.
    pub value: Option<&'a str>,
}

/// An input of a typed node.
#[derive(Debug, Clone)]
pub enum Source<'a> {
    /// The image, 0, or the output of a node, counted from 1.
    Live(usize),
    /// A constant.
    Constant(Constant<'a>),
}

/// What is known about a value of the file.
#[derive(Debug, Clone)]
enum Value<'a> {
    /// The image, 0, or the output of a typed node, counted from 1.
    Live(usize),
    Constant(Constant<'a>),
    /// A constant that is repeated for every image, to this shape.
    Repeated(Constant<'a>, Dims),
    /// Indices of the values of a batch.
    Rows(Rows),
    /// Neither from the image nor computed.
    Unknown,
}

/// Reads nodes in the file's order.
#[derive(Debug)]
pub struct Reader<'a> {
    opset: i64,
    declared: Declared<'a>,
    values: HashMap<&'a str, Value<'a>>,
    nodes: Vec<Flat<'a>>,
    budgets: Budgets,
    image: Option<Dims>,
}

impl<'a> Reader<'a> {
    /// A reader of a graph whose structure has been checked and whose image is `image`.
    pub fn new(
        graph: &'a GraphProto,
        opset: i64,
        image: (&'a str, Option<Dims>),
        declared: Declared<'a>,
    ) -> Self {
        let mut values = HashMap::new();
        for tensor in &graph.initializer {
            let constant = Constant::of(&tensor.name, tensor);
            let value = constant.map_or(Value::Unknown, Value::Constant);
            values.insert(tensor.name.as_str(), value);
        }
        let (name, image) = image;
        values.insert(name, Value::Live(0));
        Self {
            opset,
            declared,
            values,
            nodes: Vec::new(),
            budgets: Budgets::default(),
            image,
        }
    }

    /// Reads the next node.
    pub fn read(&mut self, node: &'a NodeProto) -> Result<(), GraphError> {
        if let Some(value) = captured(node).find(|value| self.is_live(value)) {
            return Err(GraphError::Captures {
                node: node.describe(),
                value: value.to_owned(),
            });
        }
        let call = self.call(node);
        let live = node.input.iter().any(|input| self.is_live(input));
        match node.op_type.as_str() {
            "Shape" | "Size" if node.is_onnx() && (live || call.dims(0).is_some()) => {
                self.shape(&call);
            }
            _ if live => self.live(&call),
            "Split" if node.is_onnx() => {
                let found = parts(&call, &mut self.budgets).unwrap_or_default();
                let found = found.into_iter().map(Value::Constant);
                let unknown = std::iter::repeat(Value::Unknown);
                self.define(node, found.chain(unknown));
            }
            _ => {
                let found = self.compute(&call);
                self.define(
                    node,
                    [found].into_iter().chain(std::iter::repeat(Value::Unknown)),
                );
            }
        }
        Ok(())
    }

    /// What a node gives that does not depend on the image.
    fn compute(&mut self, call: &Call<'a>) -> Value<'a> {
        match evaluate(call, &mut self.budgets) {
            Some(Computed::Constant(constant)) => Value::Constant(constant),
            Some(Computed::Repeated(constant, dims)) => Value::Repeated(constant, dims),
            None => {
                views::evaluate(call, &mut self.budgets.ints).map_or(Value::Unknown, Value::Rows)
            }
        }
    }

    /// Returns which typed node gives the value of this name: 0 for the image, counted from 1; none
    /// where the value does not depend on the image.
    pub fn value(&self, name: &str) -> Option<usize> {
        match self.values.get(name)? {
            Value::Live(at) => Some(*at),
            Value::Constant(_) | Value::Repeated(..) | Value::Rows(_) | Value::Unknown => None,
        }
    }

    /// Returns the typed nodes.
    pub fn finish(mut self) -> Vec<Flat<'a>> {
        pads::absorb(&mut self.nodes);
        self.nodes
    }

    fn is_live(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    fn define(&mut self, node: &'a NodeProto, values: impl Iterator<Item = Value<'a>>) {
        for (name, value) in node.output.iter().zip(values) {
            if !name.is_empty() {
                self.values.insert(name, value);
            }
        }
    }

    fn shape_of(&self, at: usize) -> Option<&Dims> {
        match at.checked_sub(1) {
            None => self.image.as_ref(),
            Some(at) => self.nodes.get(at)?.shape.as_ref(),
        }
    }

    fn call(&self, node: &'a NodeProto) -> Call<'a> {
        let inputs = node.input.iter().map(|name| {
            if name.is_empty() {
                return None;
            }
            Some(match self.values.get(name.as_str()) {
                Some(Value::Live(at)) => Known::Live(self.shape_of(*at).cloned()),
                Some(Value::Constant(constant)) => Known::Constant(constant.clone()),
                Some(Value::Repeated(_, dims)) => Known::Repeated(dims.clone()),
                Some(Value::Rows(rows)) => Known::Rows(rows.clone()),
                Some(Value::Unknown) | None => Known::Unknown,
            })
        });
        Call {
            node,
            opset: self.opset,
            inputs: inputs.collect(),
            file_batch: self.declared.batch,
        }
    }

    /// `Shape` and `Size`: integers that may depend on the batch.
    fn shape(&mut self, call: &Call<'a>) {
        let name = call.node.output.first().map_or("", String::as_str);
        let data = |ints: Vec<Affine>| Data::Ints(ints.into());
        let found = call.dims(0).and_then(|dims| {
            if call.node.op_type == "Size" {
                let count = dims.count()?.size()?;
                return Some((Vec::new(), data(vec![count.into()])));
            }
            let place = call.place();
            let limit = |name, default: usize| {
                let limit = place.int(name, default as i64);
                let rank = dims.rank() as i64;
                let limit = if limit < 0 {
                    limit.saturating_add(rank)
                } else {
                    limit
                };
                limit.clamp(0, rank) as usize
            };
            let (start, end) = (limit("start", 0), limit("end", dims.rank()));
            let sizes = dims.sizes().get(start..end).unwrap_or_default();
            let ints: Vec<Affine> = sizes.iter().copied().map(Affine::from).collect();
            Some((vec![ints.len()], data(ints)))
        });
        let value = found.map_or(Value::Unknown, |(dims, data)| {
            Value::Constant(Constant { name, dims, data })
        });
        self.define(call.node, [value].into_iter());
    }

    /// A node that depends on the image.
    fn live(&mut self, call: &Call<'a>) {
        let before = self.nodes.len();
        let typed = ops::read(call).and_then(|reading| self.apply(call, reading));
        match typed {
            Ok(values) => {
                // Further outputs, such as a mask, are for training only.
                let rest = std::iter::repeat(Value::Unknown);
                let values = values.into_iter().map(Value::Live);
                self.define(call.node, values.chain(rest));
            }
            Err(error) => {
                self.nodes.truncate(before);
                self.other(call, &error);
            }
        }
    }

    /// Appends what a node is read as; returns the values of its outputs.
    fn apply(&mut self, call: &Call<'a>, reading: Reading) -> Result<Vec<usize>, GraphError> {
        let name = call.node.output.first().map(String::as_str);
        match reading {
            Reading::Same => {
                let at = self.source(call, 0)?;
                live_value(call, &at)
            }
            Reading::One(op, inputs) => {
                let mut sources = inputs
                    .iter()
                    .map(|&index| self.source(call, index))
                    .collect::<Result<Vec<_>, _>>()?;
                if let Op::Concat { axis } = op {
                    self.repeat_for_concat(call, axis, &mut sources);
                }
                Ok(vec![self.push(call, op, sources, name)?])
            }
            Reading::Chain(ops) => {
                let mut at = self.source(call, 0)?;
                let last = ops.len().saturating_sub(1);
                for (number, op) in ops.into_iter().enumerate() {
                    let name = name.filter(|_| number == last);
                    at = Source::Live(self.push(call, op, vec![at], name)?);
                }
                live_value(call, &at)
            }
            Reading::Fold(binary) => self.fold(call, binary, name),
            Reading::Outputs(ops) => {
                let input = self.source(call, 0)?;
                let outputs = ops.into_iter().zip(&call.node.output);
                outputs
                    .map(|(op, name)| self.push(call, op, vec![input.clone()], Some(name)))
                    .collect()
            }
        }
    }

    fn fold(
        &mut self,
        call: &Call<'a>,
        binary: Binary,
        name: Option<&'a str>,
    ) -> Result<Vec<usize>, GraphError> {
        let mut at = self.source(call, 0)?;
        let count = call.count();
        for index in 1..count {
            let other = self.source(call, index)?;
            let name = name.filter(|_| index + 1 == count);
            at = Source::Live(self.push(call, Op::Binary(binary), vec![at, other], name)?);
        }
        live_value(call, &at)
    }

    /// Appends a typed node; returns its value. Shapes that do not fit are an error.
    fn push(
        &mut self,
        call: &Call<'a>,
        op: Op,
        inputs: Vec<Source<'a>>,
        value: Option<&'a str>,
    ) -> Result<usize, GraphError> {
        let shapes: Option<Vec<Dims>> = inputs
            .iter()
            .map(|input| match input {
                Source::Live(at) => self.shape_of(*at).cloned(),
                Source::Constant(constant) => Some(Dims::fixed(&constant.dims)),
            })
            .collect();
        let shape = match shapes {
            None => None,
            Some(shapes) => {
                let shape = op.output(&shapes.iter().collect::<Vec<_>>());
                Some(shape.map_err(|source| GraphError::Shape {
                    node: call.node.describe(),
                    source: Box::new(source),
                })?)
            }
        };
        self.nodes.push(Flat {
            node: call.node,
            op,
            inputs,
            shape,
            value,
        });
        Ok(self.nodes.len())
    }

    /// Where an input of a node comes from. A constant that is repeated for every image gets a node
    /// that does so.
    fn source(&mut self, call: &Call<'a>, index: usize) -> Result<Source<'a>, GraphError> {
        let name = call.node.input.get(index).map_or("", String::as_str);
        let computed = || GraphError::NotConstant {
            node: call.node.describe(),
            what: "input",
            found: format!("`{name}`, which kiln cannot compute"),
        };
        match self.values.get(name) {
            Some(Value::Live(at)) => Ok(Source::Live(*at)),
            Some(Value::Constant(constant)) if !constant.is_integer() => {
                Ok(Source::Constant(constant.clone()))
            }
            Some(Value::Repeated(constant, dims)) => {
                let op = Op::Expand {
                    dims: dims.sizes().to_vec(),
                };
                let constant = Source::Constant(constant.clone());
                let at = self.push(call, op, vec![constant], None)?;
                Ok(Source::Live(at))
            }
            Some(Value::Constant(_) | Value::Rows(_) | Value::Unknown) | None => Err(computed()),
        }
    }

    /// Where the file fixes its batch at 1, a constant beside values of the batch is one for every
    /// image.
    fn repeat_for_concat(&mut self, call: &Call<'a>, axis: usize, sources: &mut [Source<'a>]) {
        if self.declared.batch != Some(1) {
            return;
        }
        let live = sources.iter().find_map(|source| match source {
            Source::Live(at) => self.shape_of(*at).cloned(),
            Source::Constant(_) => None,
        });
        let Some(live) = live else { return };
        for source in sources {
            let Source::Constant(constant) = source else {
                continue;
            };
            let sizes = constant.dims.iter().enumerate();
            let repeated: Vec<Size> = sizes
                .map(|(at, &size)| match live.sizes().get(at) {
                    Some(&batch @ Size::Batch(_)) if at != axis && size == 1 => batch,
                    _ => Size::Fixed(size),
                })
                .collect();
            if repeated != Dims::fixed(&constant.dims).sizes() {
                let inputs = vec![source.clone()];
                let expanded = self.push(call, Op::Expand { dims: repeated }, inputs, None);
                if let Ok(at) = expanded {
                    *source = Source::Live(at);
                }
            }
        }
    }

    /// Appends a node that kiln does not compute, once for each output.
    fn other(&mut self, call: &Call<'a>, error: &GraphError) {
        let node = call.node;
        let mut inputs: Vec<Source<'a>> = Vec::new();
        for index in 0..node.input.len() {
            if let Ok(source) = self.source(call, index) {
                inputs.push(source);
            }
        }
        let mut values = Vec::with_capacity(node.output.len());
        for (output, name) in node.output.iter().enumerate() {
            let kept = matches!(
                node.op_type.as_str(),
                "QuantizeLinear" | "DequantizeLinear" | "Cast" | "CastLike"
            );
            let shape = match call.dims(0) {
                Some(dims) if kept => Some(dims),
                _ => self.declared.shape(name),
            };
            self.nodes.push(Flat {
                node,
                op: Op::Other(Other {
                    domain: node.domain.clone(),
                    op_type: node.op_type.clone(),
                    output,
                    reason: error.to_string(),
                }),
                inputs: inputs.clone(),
                shape,
                value: Some(name),
            });
            values.push(Value::Live(self.nodes.len()));
        }
        self.define(node, values.into_iter());
    }
}

/// The value that a node gives, which depends on the image.
fn live_value(call: &Call<'_>, at: &Source<'_>) -> Result<Vec<usize>, GraphError> {
    match at {
        Source::Live(at) => Ok(vec![*at]),
        Source::Constant(_) => Err(GraphError::Unsupported {
            node: call.node.describe(),
        }),
    }
}
