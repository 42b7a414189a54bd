//! Functions that call each other, and graphs in graphs: how deep they are, and how many nodes they
//! expand to, without expanding them.

use std::collections::{HashMap, HashSet};

use super::budget::{Budget, GateError};
use super::parts::graphs;
use crate::proto::{FunctionProto, ModelProto, NodeProto};

/// What calls an operator: its domain and name. Which overload is meant is not asked, since some
/// runtimes do not ask either: functions of one name count as one.
type Id<'a> = (&'a str, &'a str);

/// What some nodes expand to.
#[derive(Clone, Copy, Default)]
struct Extent {
    /// All nodes.
    nodes: u64,
    /// Those in the functions that they call.
    called: u64,
    depth: usize,
}

/// Checks that every function is defined once and ends, and that the graph with its functions keeps to
/// the budget.
pub fn check(model: &ModelProto, budget: &Budget) -> Result<(), GateError> {
    let mut seen = HashSet::new();
    let mut calls = Calls {
        budget,
        functions: HashMap::new(),
        extents: HashMap::new(),
        open: Vec::new(),
    };
    for function in &model.functions {
        let id = id(&function.domain, &function.name);
        // One runtime would call the function, another the operator.
        if id.0.is_empty() {
            return Err(GateError::OwnDomain(name(id)));
        }
        if !seen.insert((id, function.overload.as_str())) {
            return Err(GateError::Function(name(id)));
        }
        calls.functions.entry(id).or_default().push(function);
    }
    for function in &model.functions {
        calls.function(id(&function.domain, &function.name))?;
    }
    let mut total: u64 = 0;
    let training = model.training_info.iter();
    let training = training.flat_map(|it| it.initialization.iter().chain(&it.algorithm));
    for graph in model.graph.iter().chain(training) {
        total = total.saturating_add(calls.nodes(&graph.node, 0)?.called);
    }
    calls.check_called(total)
}

struct Calls<'a> {
    budget: &'a Budget,
    functions: HashMap<Id<'a>, Vec<&'a FunctionProto>>,
    /// Of the functions that were looked at.
    extents: HashMap<Id<'a>, Extent>,
    /// Functions that are being looked at, each called by the one before.
    open: Vec<Id<'a>>,
}

impl<'a> Calls<'a> {
    fn function(&mut self, id: Id<'a>) -> Result<Extent, GateError> {
        if let Some(extent) = self.extents.get(&id) {
            return Ok(*extent);
        }
        if self.open.contains(&id) {
            return Err(GateError::Recursion(name(id)));
        }
        self.check_depth(self.open.len(), || format!("function `{}`", name(id)))?;
        self.open.push(id);
        let mut extent = Extent::default();
        for function in self.functions.get(&id).cloned().unwrap_or_default() {
            let body = self.nodes(&function.node, 0)?;
            extent.nodes = extent.nodes.saturating_add(body.nodes);
            extent.depth = extent.depth.max(body.depth);
        }
        self.open.pop();
        self.check_called(extent.nodes)?;
        self.extents.insert(id, extent);
        Ok(extent)
    }

    /// What nodes expand to that stand `level` graphs below their function or the main graph.
    fn nodes(&mut self, nodes: &'a [NodeProto], level: usize) -> Result<Extent, GateError> {
        let mut extent = Extent::default();
        for node in nodes {
            let mut below = Extent::default();
            let called = id(&node.domain, &node.op_type);
            if self.functions.contains_key(&called) {
                let body = self.function(called)?;
                below = Extent {
                    nodes: body.nodes,
                    called: body.nodes,
                    depth: body.depth + 1,
                };
            }
            for graph in node.attribute.iter().flat_map(graphs) {
                self.check_depth(level + 1, || node.describe())?;
                let body = self.nodes(&graph.node, level + 1)?;
                below.nodes = below.nodes.saturating_add(body.nodes);
                below.called = below.called.saturating_add(body.called);
                below.depth = below.depth.max(body.depth + 1);
            }
            self.check_depth(level + below.depth, || node.describe())?;
            extent.nodes = extent.nodes.saturating_add(below.nodes).saturating_add(1);
            extent.called = extent.called.saturating_add(below.called);
            extent.depth = extent.depth.max(below.depth);
        }
        Ok(extent)
    }

    fn check_called(&self, found: u64) -> Result<(), GateError> {
        let limit = self.budget.called_nodes;
        if found > limit {
            return Err(GateError::CalledNodes { found, limit });
        }
        Ok(())
    }

    fn check_depth(&self, depth: usize, place: impl Fn() -> String) -> Result<(), GateError> {
        if depth <= self.budget.depth {
            return Ok(());
        }
        Err(GateError::Depth {
            place: place(),
            limit: self.budget.depth,
        })
    }
}

/// ONNX's own domain has two names.
fn id<'a>(domain: &'a str, name: &'a str) -> Id<'a> {
    match domain {
        "ai.onnx" => ("", name),
        _ => (domain, name),
    }
}

fn name((domain, name): Id<'_>) -> String {
    match domain {
        "" => name.to_owned(),
        _ => format!("{domain}::{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AttributeProto, GraphProto};

    fn node(operator: &str, attribute: Vec<AttributeProto>) -> NodeProto {
        NodeProto {
            op_type: operator.into(),
            domain: "f".into(),
            attribute,
            ..NodeProto::default()
        }
    }

    fn function(name: &str, calls: &[&str]) -> FunctionProto {
        FunctionProto {
            name: name.into(),
            domain: "f".into(),
            node: calls.iter().map(|call| node(call, vec![])).collect(),
            ..FunctionProto::default()
        }
    }

    fn error(functions: Vec<FunctionProto>) -> String {
        let model = ModelProto {
            graph: Some(GraphProto {
                node: vec![node("f0", vec![])],
                ..GraphProto::default()
            }),
            functions,
            ..ModelProto::default()
        };
        let checked = check(&model, &Budget::default());
        checked.map_or_else(|error| error.to_string(), |()| String::new())
    }

    #[test]
    fn a_function_may_call_others_and_not_itself() {
        let functions = vec![function("f0", &["f1", "f1"]), function("f1", &["Relu"])];
        assert_eq!(error(functions.clone()), "");
        let circle = vec![function("f0", &["f1"]), function("f1", &["f0"])];
        assert_eq!(error(circle), "function `f::f0` calls itself");
        let twice = [&functions[..], &functions[..1]].concat();
        assert_eq!(error(twice), "function `f::f0` is defined twice");
        let mut overload = function("f0", &["f0"]);
        overload.overload = "o".into();
        assert_eq!(error(vec![overload]), "function `f::f0` calls itself");
    }

    #[test]
    fn a_function_takes_no_place_of_an_operator() {
        for domain in ["", "ai.onnx"] {
            let mut function = function("ConstantOfShape", &[]);
            function.domain = domain.into();
            assert_eq!(
                error(vec![function]),
                "function `ConstantOfShape` is in the domain of ONNX's own operators"
            );
        }
    }

    #[test]
    fn depth_is_bounded_whichever_function_comes_first() {
        let chain = (0..5000).map(|at| function(&format!("f{at}"), &[&format!("f{}", at + 1)]));
        let mut chain: Vec<_> = chain.collect();
        assert!(error(chain.clone()).contains("nested more than 32 deep"));
        chain.reverse();
        assert!(error(chain).contains("nested more than 32 deep"));
    }

    #[test]
    fn growth_is_counted_without_expanding() {
        let doubling = (0..30).map(|at| {
            let next = format!("f{}", at + 1);
            function(&format!("f{at}"), &[&next, &next])
        });
        assert_eq!(
            error(doubling.collect()),
            "functions expand to 65534 nodes, expected at most 50000"
        );
    }

    #[test]
    fn graphs_in_graphs_and_calls_in_them_count_together() {
        let nested = |inner: Vec<NodeProto>| {
            let attribute = AttributeProto {
                g: Some(GraphProto {
                    node: inner,
                    ..GraphProto::default()
                }),
                ..AttributeProto::default()
            };
            vec![node("If", vec![attribute])]
        };
        let at = |at: usize| {
            let call = vec![node(&format!("f{}", at + 1), vec![])];
            FunctionProto {
                node: (0..3).fold(call, |inner, _| nested(inner)),
                ..function(&format!("f{at}"), &[])
            }
        };
        assert_eq!(error((0..6).map(at).collect()), "");
        assert!(error((0..12).map(at).collect()).contains("nested more than 32 deep"));
    }
}
