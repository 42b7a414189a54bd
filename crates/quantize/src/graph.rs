//! Questions to ask of a graph that is to be changed.

use std::collections::{HashMap, HashSet};

use kiln_onnx::{AttributeProto, AttributeType, GraphProto, NodeProto, TensorProto};

/// Which nodes take and make a graph's values.
pub struct Links<'a> {
    graph: &'a GraphProto,
    takers: HashMap<&'a str, Vec<usize>>,
    outputs: HashSet<&'a str>,
    constants: HashMap<&'a str, &'a TensorProto>,
}

impl<'a> Links<'a> {
    /// Looks at a graph.
    pub fn of(graph: &'a GraphProto) -> Self {
        let mut takers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, node) in graph.node.iter().enumerate() {
            for name in taken(node) {
                takers.entry(name).or_default().push(at);
            }
        }
        Self {
            graph,
            takers,
            outputs: graph.output.iter().map(|it| it.name.as_str()).collect(),
            constants: constants(graph),
        }
    }

    /// The nodes that take a value, in their branches too; a node that takes it twice is listed twice.
    pub fn takers(&self, value: &str) -> &[usize] {
        self.takers.get(value).map_or(&[], Vec::as_slice)
    }

    /// The only node that takes a value, if nothing else does: no other node, and nobody outside the graph.
    pub fn only_taker(&self, value: &str) -> Option<(usize, &'a NodeProto)> {
        match self.takers(value) {
            [only] if !self.is_output(value) => Some((*only, &self.graph.node[*only])),
            _ => None,
        }
    }

    /// Whether the graph gives the value to the outside.
    pub fn is_output(&self, value: &str) -> bool {
        self.outputs.contains(value)
    }

    /// The constant of this name.
    pub fn constant(&self, value: &str) -> Option<&'a TensorProto> {
        self.constants.get(value).copied()
    }

    /// The floats of the constant of this name, if it is one in float32 and can be read.
    pub fn floats(&self, value: &str) -> Option<Vec<f32>> {
        self.constant(value)?.to_f32().ok()
    }
}

/// The tensors of a graph that nobody can change: initializers that are no inputs, and those of `Constant` nodes.
fn constants(graph: &GraphProto) -> HashMap<&str, &TensorProto> {
    let inputs: HashSet<&str> = graph.input.iter().map(|it| it.name.as_str()).collect();
    let initializers = graph
        .initializer
        .iter()
        .filter(|tensor| !inputs.contains(tensor.name.as_str()))
        .map(|tensor| (tensor.name.as_str(), tensor));
    let nodes = graph.node.iter().filter_map(|node| {
        let is_constant = node.op_type == "Constant" && node.is_onnx();
        let tensor = node.attribute.iter().find_map(|it| it.t.as_ref());
        is_constant.then_some((node.output.first()?.as_str(), tensor?))
    });
    initializers.chain(nodes).collect()
}

/// The values that a node takes, those of its branches included.
pub fn taken(node: &NodeProto) -> Vec<&str> {
    let is_given = |name: &&String| !name.is_empty();
    let mut names: Vec<&str> = node
        .input
        .iter()
        .filter(is_given)
        .map(String::as_str)
        .collect();
    for attribute in &node.attribute {
        for graph in attribute.g.iter().chain(&attribute.graphs) {
            names.extend(graph.node.iter().flat_map(taken));
            names.extend(graph.output.iter().map(|output| output.name.as_str()));
        }
    }
    names
}

/// The integer of an attribute, or what stands for it where it is left out.
pub fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    let found = node.attribute.iter().find(|it| it.name == name);
    found.and_then(|it| it.i).unwrap_or(default)
}

/// The integers of an attribute; none where it is left out.
pub fn ints<'a>(node: &'a NodeProto, name: &str) -> &'a [i64] {
    let found = node.attribute.iter().find(|it| it.name == name);
    found.map_or(&[], |it| it.ints.as_slice())
}

/// The number of an attribute, or what stands for it where it is left out.
pub fn float(node: &NodeProto, name: &str, default: f32) -> f32 {
    let found = node.attribute.iter().find(|it| it.name == name);
    found.and_then(|it| it.f).unwrap_or(default)
}

/// An attribute of an integer.
pub fn int_attribute(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Int as i32,
        i: Some(value),
        ..AttributeProto::default()
    }
}

/// A node with one output.
pub fn node(op: &str, name: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: op.into(),
        name: name.into(),
        input: inputs.iter().map(|&input| input.to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

/// Puts a tensor in place of the initializer or `Constant` of its name.
pub fn put(graph: &mut GraphProto, tensor: TensorProto) {
    if let Some(found) = graph
        .initializer
        .iter_mut()
        .find(|found| found.name == tensor.name)
    {
        *found = tensor;
        return;
    }
    let makes =
        |node: &NodeProto| node.op_type == "Constant" && node.output.first() == Some(&tensor.name);
    graph.node.retain(|node| !makes(node));
    graph.initializer.push(tensor);
}

/// Removes constants that nothing takes any more.
pub fn remove_unused(graph: &mut GraphProto) {
    let unused: HashSet<String> = {
        let links = Links::of(graph);
        let is_unused = |name: &&&str| links.takers(name).is_empty() && !links.is_output(name);
        let names = links.constants.keys().filter(is_unused);
        names.map(|&name| name.to_owned()).collect()
    };
    graph
        .initializer
        .retain(|tensor| !unused.contains(&tensor.name));
    graph.node.retain(|node| {
        node.op_type != "Constant" || !node.output.iter().any(|it| unused.contains(it))
    });
}
