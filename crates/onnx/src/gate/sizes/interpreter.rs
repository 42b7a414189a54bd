//! The abstract run of graphs, branches, loops and functions.

use std::collections::HashMap;

use super::super::budget::{Budget, GateError, check_rank};
use super::super::parts::graphs;
use super::call::{Attributes, Call};
use super::value::{Value, bytes, describe, element_bits};
use super::{operators, window};
use crate::order::{Order, order, taken};
use crate::proto::{DataType, FunctionProto, GraphProto, ModelProto, NodeProto};

/// Iterations of a loop that are looked at, to see what grows.
const UNROLLED: u64 = 64;

/// Most bytes of all values at a time for each of the largest value allowed: a node's inputs and outputs,
/// and what is added to them later.
const ALIVE: u64 = 4;

/// Nodes looked at for each that the budget allows, before loops are no longer unrolled: in loops of
/// loops that would take for ever.
const STEPS_PER_NODE: u64 = 8;

pub struct Interpreter<'a> {
    budget: &'a Budget,
    /// Most bytes of a value.
    limit: u64,
    functions: HashMap<(&'a str, &'a str), &'a FunctionProto>,
    /// Nodes looked at so far.
    steps: u64,
    /// Bytes of the values that are still taken.
    alive: u128,
    /// Whether it is in a branch that may not be taken: exporters write branches for shapes that the input
    /// does not have, and windows in them need not fit.
    is_branch: bool,
}

/// The values of a graph, and those of the graph around it.
pub struct Scope<'s, 'a> {
    outer: Option<&'s Scope<'s, 'a>>,
    values: HashMap<&'a str, Value>,
    /// The attributes of the function's call.
    attributes: &'s Attributes<'a>,
}

impl Scope<'_, '_> {
    fn get(&self, name: &str) -> Option<&Value> {
        let found = self.values.get(name);
        found.or_else(|| self.outer?.get(name))
    }
}

impl<'a> Interpreter<'a> {
    pub fn new(model: &'a ModelProto, limit: u64, budget: &'a Budget) -> Self {
        let functions = model.functions.iter();
        let functions = functions.map(|it| ((domain(&it.domain), it.name.as_str()), it));
        Self {
            budget,
            limit,
            functions: functions.collect(),
            steps: 0,
            alive: 0,
            is_branch: false,
        }
    }

    /// The outputs of a graph with these inputs.
    pub fn graph(
        &mut self,
        graph: &'a GraphProto,
        inputs: HashMap<&'a str, Value>,
        around: Option<&Scope<'_, 'a>>,
    ) -> Result<Vec<Value>, GateError> {
        let none = Attributes::new();
        let mut scope = Scope {
            outer: around,
            values: HashMap::with_capacity(graph.node.len()),
            attributes: around.map_or(&none, |scope| scope.attributes),
        };
        for tensor in &graph.initializer {
            scope.values.insert(&tensor.name, Value::of_tensor(tensor));
        }
        for sparse in &graph.sparse_initializer {
            let name = sparse.values.as_ref().map_or("", |values| &values.name);
            scope.values.insert(name, Value::of_sparse(sparse));
        }
        scope.values.extend(inputs);
        let kept = graph.output.iter().map(|output| output.name.as_str());
        self.nodes(&graph.node, kept, &mut scope)?;
        let outputs = graph.output.iter();
        let outputs = outputs.map(|output| scope.get(&output.name).cloned().unwrap_or_default());
        Ok(outputs.collect())
    }

    /// Looks at the nodes of a graph or a function, whose outputs are `kept`.
    fn nodes(
        &mut self,
        nodes: &'a [NodeProto],
        kept: impl Iterator<Item = &'a str>,
        scope: &mut Scope<'_, 'a>,
    ) -> Result<(), GateError> {
        let Order { sorted, circle } = order(nodes);
        let nodes: Vec<_> = sorted.iter().chain(&circle).map(|&at| &nodes[at]).collect();
        let before = self.alive;
        let mut uses: HashMap<&str, usize> = HashMap::with_capacity(nodes.len());
        for (at, node) in nodes.iter().enumerate() {
            uses.extend(taken(node).into_iter().map(|name| (name, at)));
        }
        uses.extend(kept.map(|name| (name, usize::MAX)));
        // Bytes of the values that are still taken, by the node that takes them last.
        let mut ending: HashMap<usize, u128> = HashMap::new();
        for (at, node) in nodes.into_iter().enumerate() {
            self.steps += 1;
            let values = self.node(node, scope)?;
            let mut unused = 0;
            for (name, value) in node.output.iter().zip(values) {
                let bytes = self.check(node, name, &value)?;
                // In the file, and so in memory already.
                if node.op_type != "Constant" {
                    self.alive = self.alive.saturating_add(bytes);
                    match uses.get(name.as_str()) {
                        Some(&last) => *ending.entry(last).or_default() += bytes,
                        None => unused += bytes,
                    }
                }
                if !name.is_empty() {
                    scope.values.insert(name, value);
                }
            }
            self.check_alive(node)?;
            let ended = unused + ending.remove(&at).unwrap_or(0);
            self.alive = self.alive.saturating_sub(ended);
        }
        self.alive = before;
        Ok(())
    }

    fn check_alive(&self, node: &NodeProto) -> Result<(), GateError> {
        let limit = self.limit.saturating_mul(ALIVE);
        if self.alive <= u128::from(limit) {
            return Ok(());
        }
        Err(GateError::Alive {
            node: node.describe(),
            bytes: self.alive,
            limit,
        })
    }

    fn is_exhausted(&self) -> bool {
        self.steps > self.budget.nodes.saturating_mul(STEPS_PER_NODE)
    }

    /// The bytes of a value, if it keeps to the budget.
    fn check(&self, node: &NodeProto, name: &str, value: &Value) -> Result<u128, GateError> {
        let Some(dims) = &value.dims else {
            return Ok(0);
        };
        // Gathering by a gathered value doubles the axes each time.
        check_rank(name, dims.len(), self.budget)?;
        let bits = element_bits(value.data_type.map_or(0, |data_type| data_type as i32));
        let bytes = bytes(dims, bits);
        if bytes <= u128::from(self.limit) {
            return Ok(bytes);
        }
        Err(GateError::Size {
            place: node.describe(),
            value: name.to_owned(),
            shape: describe(dims),
            bytes,
            limit: self.limit,
        })
    }

    fn node(
        &mut self,
        node: &'a NodeProto,
        scope: &Scope<'_, 'a>,
    ) -> Result<Vec<Value>, GateError> {
        let attributes = node.attribute.iter().filter_map(|attribute| {
            let value = match attribute.ref_attr_name.as_str() {
                "" => attribute,
                name => scope.attributes.get(name).copied()?,
            };
            Some((attribute.name.as_str(), value))
        });
        let call = Call {
            node,
            attributes: attributes.collect(),
            inputs: node
                .input
                .iter()
                .map(|name| scope.get(name).cloned())
                .collect(),
        };
        let id = (domain(&node.domain), node.op_type.as_str());
        if let Some(&function) = self.functions.get(&id) {
            return self.function(function, &call);
        }
        if let Some(window) = call.ints("kernel_shape") {
            let sizes = window.iter().map(|&size| u128::from(size.unsigned_abs()));
            let found = sizes.fold(1, u128::saturating_mul);
            self.check_count(node, "elements in its window", found)?;
        }
        if id.0.is_empty() {
            // Engines follow as many axes as a shape has numbers, some by recursion.
            if let Some(&[Some(rank)]) = shape_input(id.1).and_then(|at| call.dims(at)) {
                let value = node.output.first().map_or("", String::as_str);
                check_rank(
                    value,
                    usize::try_from(rank).unwrap_or(usize::MAX),
                    self.budget,
                )?;
            }
            let mut checked = window::check_attributes(id.1, &call);
            if !self.is_branch {
                checked = checked.and_then(|()| window::check_shapes(id.1, &call));
            }
            checked.map_err(|(found, expected)| GateError::Node {
                node: node.describe(),
                found,
                expected,
            })?;
        }
        match id {
            ("", "If") => self.branches(&call, scope),
            ("", "Loop") => self.repeated(&call, scope),
            ("", operator) if node.attribute.iter().all(|it| graphs(it).next().is_none()) => {
                Ok(operators::outputs(operator, &call).unwrap_or_default())
            }
            _ => {
                for graph in node.attribute.iter().flat_map(graphs) {
                    self.graph(graph, HashMap::new(), Some(scope))?;
                }
                Ok(Vec::new())
            }
        }
    }

    fn check_count(
        &self,
        node: &NodeProto,
        what: &'static str,
        found: u128,
    ) -> Result<(), GateError> {
        let limit = self.budget.iterations;
        if found <= u128::from(limit) {
            return Ok(());
        }
        Err(GateError::Iterations {
            node: node.describe(),
            what,
            found,
            limit,
        })
    }

    fn function(
        &mut self,
        function: &'a FunctionProto,
        call: &Call<'a>,
    ) -> Result<Vec<Value>, GateError> {
        let defaults = function.attribute_proto.iter();
        let defaults = defaults.map(|attribute| (attribute.name.as_str(), attribute));
        let attributes = defaults.chain(call.attributes.iter().map(|(&name, &it)| (name, it)));
        let attributes: Attributes<'a> = attributes.collect();
        let inputs = function.input.iter().zip(&call.inputs);
        let values = inputs.filter_map(|(name, value)| Some((name.as_str(), value.clone()?)));
        let mut scope = Scope {
            outer: None,
            values: values.collect(),
            attributes: &attributes,
        };
        let kept = function.output.iter().map(String::as_str);
        self.nodes(&function.node, kept, &mut scope)?;
        let outputs = function.output.iter();
        let outputs = outputs.map(|name| scope.get(name).cloned().unwrap_or_default());
        Ok(outputs.collect())
    }

    /// Both branches: a file that asks for more than the budget in one of them is refused, whichever is
    /// taken.
    fn branches(
        &mut self,
        call: &Call<'a>,
        scope: &Scope<'_, 'a>,
    ) -> Result<Vec<Value>, GateError> {
        let mut outputs: Option<Vec<Value>> = None;
        let condition = call.input(0).and_then(Value::scalar);
        let condition = condition.map(|number| number != 0.0);
        for (name, taken) in [("then_branch", true), ("else_branch", false)] {
            let Some(graph) = call.attribute(name).and_then(|it| it.g.as_ref()) else {
                continue;
            };
            let around = self.is_branch;
            self.is_branch |= condition != Some(taken);
            let values = self.graph(graph, HashMap::new(), Some(scope))?;
            self.is_branch = around;
            if condition.is_some_and(|condition| condition != taken) {
                continue;
            }
            outputs = Some(match outputs {
                None => values,
                Some(first) => first.iter().zip(&values).map(|(a, b)| a.join(b)).collect(),
            });
        }
        Ok(outputs.unwrap_or_default())
    }

    /// A loop: once with an unknown state, which shows what holds in every iteration, then some
    /// iterations from its start, which show what grows.
    fn repeated(
        &mut self,
        call: &Call<'a>,
        scope: &Scope<'_, 'a>,
    ) -> Result<Vec<Value>, GateError> {
        let Some(body) = call.attribute("body").and_then(|it| it.g.as_ref()) else {
            return Ok(Vec::new());
        };
        let trips = call.input(0).and_then(Value::scalar);
        let trips = trips.map(|trips| trips.max(0.0) as u64);
        let initial: Vec<Value> = call
            .inputs
            .iter()
            .skip(2)
            .cloned()
            .map(Option::unwrap_or_default)
            .collect();
        let before = self.steps;
        let unknown = vec![Value::default(); initial.len()];
        let always = self.iteration(body, None, &unknown, scope)?;
        let nodes = self.steps - before;
        let is_true = |values: &[Value]| values.first().and_then(Value::scalar) == Some(1.0);
        let starts = call
            .input(1)
            .is_none_or(|value| value.scalar() == Some(1.0));
        let proven = trips.filter(|_| starts && is_true(&always));
        if let Some(trips) = proven {
            let found = u128::from(trips) * u128::from(nodes.max(1));
            self.check_count(call.node, "iterations of nodes", found)?;
        }
        let state = initial.len();
        let mut states = vec![initial];
        let mut ends = !starts;
        for number in 0..trips.unwrap_or(UNROLLED).min(UNROLLED) {
            if ends || self.is_exhausted() {
                break;
            }
            let last = states.last().map_or(&[][..], Vec::as_slice);
            let mut values = self.iteration(body, Some(number), last, scope)?;
            ends = !is_true(&values);
            values.truncate(1 + state);
            states.push(values.split_off(1.min(values.len())));
        }
        if let Some(trips) = proven {
            let left = trips.saturating_sub(states.len() as u64 - 1);
            self.check_growth(call.node, &states, left)?;
        }
        let exact = proven.is_some_and(|trips| trips <= UNROLLED);
        let mut outputs = match states.as_slice() {
            [.., last] if exact => last.clone(),
            [.., before, last] if proven.is_some() => {
                before.iter().zip(last).map(|(a, b)| a.join(b)).collect()
            }
            _ => vec![Value::default(); state],
        };
        // Of each iteration one element.
        outputs.resize(state, Value::default());
        let stacked = always.into_iter().skip(1 + state).map(|value| {
            let dims = value.dims.map(|dims| [&[proven][..], &dims].concat());
            Value::new(value.data_type, dims)
        });
        outputs.extend(stacked);
        Ok(outputs)
    }

    /// Checks what a loop's state grows to in the iterations that are `left`, if axes grow on by as much as
    /// in the last one looked at.
    fn check_growth(
        &self,
        node: &NodeProto,
        states: &[Vec<Value>],
        left: u64,
    ) -> Result<(), GateError> {
        let [.., before, last] = states else {
            return Ok(());
        };
        for (at, (before, last)) in before.iter().zip(last).enumerate() {
            let (Some(from), Some(to)) = (&before.dims, &last.dims) else {
                continue;
            };
            if from.len() != to.len() {
                continue;
            }
            let grown = from.iter().zip(to).map(|(from, to)| {
                let more = to.zip(*from).map(|(to, from)| to.saturating_sub(from));
                to.map(|to| to.saturating_add(more.unwrap_or(0).saturating_mul(left)))
            });
            let grown = Value::new(last.data_type, Some(grown.collect()));
            let name = node.output.get(at).map_or("", String::as_str);
            self.check(node, name, &grown)?;
        }
        Ok(())
    }

    /// The outputs of a loop's body.
    fn iteration(
        &mut self,
        body: &'a GraphProto,
        number: Option<u64>,
        state: &[Value],
        scope: &Scope<'_, 'a>,
    ) -> Result<Vec<Value>, GateError> {
        let scalar = |data_type, number| Value::of_numbers(Some(data_type), vec![], vec![number]);
        let counter = scalar(DataType::Int64, number.map(|number| number as f64));
        let go_on = scalar(DataType::Bool, Some(1.0));
        let values = [counter, go_on].into_iter().chain(state.iter().cloned());
        let names = body.input.iter().map(|input| input.name.as_str());
        self.graph(body, names.zip(values).collect(), Some(scope))
    }
}

fn domain(domain: &str) -> &str {
    match domain {
        "ai.onnx" => "",
        _ => domain,
    }
}

/// The input of an operator that has a number for each axis of a value.
fn shape_input(operator: &str) -> Option<usize> {
    match operator {
        "ConstantOfShape" => Some(0),
        "Reshape" | "Expand" | "Tile" | "Unsqueeze" | "Squeeze" => Some(1),
        _ => None,
    }
}
