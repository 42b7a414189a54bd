//! Which values and weights of a graph are in 8 bits.
//!
//! Convolutions, dense layers and matrix products always are. An operator that joins or moves their outputs is
//! where all that it takes is in 8 bits already, so that a residual network stays in integers from its first
//! convolution to its last. An activation function that the integers' range itself computes, `ReLU` and the
//! clipping of `ReLU6`, is passed over: the value behind it has the scale.

use std::collections::{BTreeMap, HashSet};

use kiln_onnx::{GraphProto, NodeProto};

use crate::fold::is_dense;
use crate::graph::{Links, int};

/// Where a value's scale comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Its own range.
    Own,
    /// The value that the node moves.
    Of(String),
}

/// A product of an activation and weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// The node's place.
    pub node: usize,
    /// The activation.
    pub input: String,
    /// The weights' tensor.
    pub weight: String,
    /// The weights' axis of output channels.
    pub axis: usize,
    /// The bias, where it is a constant in float32.
    pub bias: Option<String>,
    /// Whether the node can have one.
    pub takes_bias: bool,
}

/// What is in 8 bits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Values, each once.
    pub values: BTreeMap<String, Source>,
    /// Products with weights, in the graph's order.
    pub products: Vec<Product>,
    /// Labels of all nodes that compute products, in order.
    pub labels: Vec<String>,
}

impl Plan {
    /// Plans a graph whose nodes are in order; those of `keep` stay in float.
    pub fn new(graph: &GraphProto, keep: &dyn Fn(&NodeProto) -> bool) -> Self {
        let links = Links::of(graph);
        let products: Vec<Option<Found>> = graph
            .node
            .iter()
            .enumerate()
            .map(|(at, node)| product(at, node, &links).filter(|_| !keep(node)))
            .collect();
        let wanted = wanted(graph, &products);
        let mut plan = Self::default();
        for (node, found) in graph.node.iter().zip(products) {
            match found {
                Some(found) => plan.product(node, found, &wanted, &links),
                None if !keep(node) => plan.follow(node, &links),
                None => {}
            }
        }
        plan
    }

    fn product(
        &mut self,
        node: &NodeProto,
        found: Found,
        wanted: &HashSet<String>,
        links: &Links<'_>,
    ) {
        for input in found.inputs() {
            self.values.entry(input.to_owned()).or_insert(Source::Own);
        }
        let output = behind(node, links);
        // An integer convolution has an integer output; other products can have one in float.
        if !links.is_output(output) && (node.op_type == "Conv" || wanted.contains(output)) {
            self.values.insert(output.to_owned(), Source::Own);
        }
        self.labels.push(node.label().to_owned());
        if let Found::Weighted(product) = found {
            self.products.push(product);
        }
    }

    /// An operator that is in 8 bits where its inputs are.
    fn follow(&mut self, node: &NodeProto, links: &Links<'_>) {
        let Some(kind) = kind(node) else { return };
        let inputs = match kind {
            Kind::Joins => &node.input[..],
            // Shapes and ends of what is moved come after.
            Kind::Computes | Kind::Moves => &node.input[..node.input.len().min(1)],
        };
        let eight = |input: &String| self.values.contains_key(input);
        if inputs.is_empty() || !inputs.iter().all(eight) || node.output.is_empty() {
            return;
        }
        let output = match kind {
            Kind::Moves => node.output[0].as_str(),
            Kind::Joins | Kind::Computes => behind(node, links),
        };
        if links.is_output(output) {
            return;
        }
        let source = match kind {
            Kind::Moves => Source::Of(inputs[0].clone()),
            Kind::Joins | Kind::Computes => Source::Own,
        };
        self.values.insert(output.to_owned(), source);
    }

    /// The value whose range a value's scale is made of.
    pub fn root<'a>(&'a self, value: &'a str) -> &'a str {
        let mut root = value;
        while let Some(Source::Of(other)) = self.values.get(root) {
            root = other;
        }
        root
    }
}

/// A node that computes products.
enum Found {
    Weighted(Product),
    /// Of two activations.
    Both([String; 2]),
}

impl Found {
    fn inputs(&self) -> Vec<&str> {
        match self {
            Self::Weighted(product) => vec![&product.input],
            Self::Both(inputs) => inputs.iter().map(String::as_str).collect(),
        }
    }
}

/// The product that a node computes, if it is one that can be in 8 bits.
fn product(at: usize, node: &NodeProto, links: &Links<'_>) -> Option<Found> {
    if !node.is_onnx() {
        return None;
    }
    let [input, weight, rest @ ..] = node.input.as_slice() else {
        return None;
    };
    if links.constant(input).is_some() {
        return None;
    }
    let Some(tensor) = links.constant(weight) else {
        let both = [input.clone(), weight.clone()];
        return (node.op_type == "MatMul").then_some(Found::Both(both));
    };
    let rank = tensor.dims.len();
    let (axis, takes_bias) = match node.op_type.as_str() {
        "Conv" if rank >= 3 => (0, true),
        "Gemm" if rank == 2 && is_dense(node) => (usize::from(int(node, "transB", 0) == 0), true),
        "MatMul" if rank == 2 => (1, false),
        _ => return None,
    };
    links.floats(weight).filter(|floats| !floats.is_empty())?;
    let bias = rest.first().filter(|name| !name.is_empty());
    if bias.is_some_and(|name| links.floats(name).is_none()) {
        return None;
    }
    Some(Found::Weighted(Product {
        node: at,
        input: input.clone(),
        weight: weight.clone(),
        axis,
        bias: bias.cloned(),
        takes_bias,
    }))
}

/// How an operator goes with its inputs in 8 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It computes with all of them, and its output has another scale.
    Joins,
    /// It computes with the first of them, and its output has another scale.
    Computes,
    /// It takes numbers of the first to other places.
    Moves,
}

fn kind(node: &NodeProto) -> Option<Kind> {
    if !node.is_onnx() {
        return None;
    }
    Some(match node.op_type.as_str() {
        "Add" | "Mul" | "Concat" => Kind::Joins,
        "AveragePool" | "GlobalAveragePool" | "Sigmoid" | "LeakyRelu" => Kind::Computes,
        "MaxPool" | "Reshape" | "Flatten" | "Transpose" | "Squeeze" | "Unsqueeze" | "Identity"
        | "Dropout" => Kind::Moves,
        _ => return None,
    })
}

/// The value behind a node and the activation that follows it alone, if the range of integers computes that.
fn behind<'a>(node: &'a NodeProto, links: &Links<'a>) -> &'a str {
    let output = node.output.first().map_or("", String::as_str);
    match links.only_taker(output) {
        Some((_, next)) if is_clipping(next, output, links) => {
            next.output.first().map_or(output, String::as_str)
        }
        _ => output,
    }
}

/// Whether a node is `ReLU` or cuts off at constants, 0 between them.
fn is_clipping(node: &NodeProto, value: &str, links: &Links<'_>) -> bool {
    if !node.is_onnx() || node.input.first().is_none_or(|input| input != value) {
        return false;
    }
    match node.op_type.as_str() {
        "Relu" => true,
        "Clip" => {
            let end = |at: usize, missing: f32| match node.input.get(at).filter(|it| !it.is_empty())
            {
                None => Some(missing),
                Some(name) => links.floats(name)?.first().copied(),
            };
            let ends = end(1, f32::NEG_INFINITY).zip(end(2, f32::INFINITY));
            ends.is_some_and(|(low, high)| low <= 0.0 && high >= 0.0)
        }
        _ => false,
    }
}

/// The values that a product takes, by way of operators that only move them too.
fn wanted(graph: &GraphProto, products: &[Option<Found>]) -> HashSet<String> {
    let mut wanted: HashSet<String> = HashSet::new();
    for (node, found) in graph.node.iter().zip(products).rev() {
        if let Some(found) = found {
            wanted.extend(found.inputs().into_iter().map(str::to_owned));
        } else if kind(node) == Some(Kind::Moves)
            && node.output.first().is_some_and(|it| wanted.contains(it))
        {
            wanted.extend(node.input.first().cloned());
        }
    }
    wanted
}
