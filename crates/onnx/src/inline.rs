//! Functions of a model put in the place of the nodes that call them: not every engine knows functions,
//! and none says what a graph with them ends in.

use std::collections::HashMap;

use crate::proto::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto};

/// Puts the nodes of functions in place of their calls, in the graph and those of control flow below
/// it, and returns whether there were functions. They are left alone if one of them is written against
/// another version of ONNX's operators than the graph.
///
/// To be called for a model whose functions have been found to end, and to be of bounded size.
pub fn inline(model: &mut ModelProto) -> bool {
    let opset = model.opset();
    let fits = |function: &FunctionProto| {
        let mut own = function.opset_import.iter().filter(|set| set.is_onnx());
        own.all(|set| set.version == opset)
    };
    if model.functions.is_empty() || !model.functions.iter().all(fits) {
        return false;
    }
    let functions = std::mem::take(&mut model.functions);
    if let Some(graph) = &mut model.graph {
        let mut inliner = Inliner {
            functions: &functions,
            calls: 0,
        };
        graph.node = inliner.nodes(std::mem::take(&mut graph.node));
    }
    true
}

struct Inliner<'a> {
    functions: &'a [FunctionProto],
    /// Number of calls so far, which makes names of values in between unique.
    calls: usize,
}

impl<'a> Inliner<'a> {
    fn nodes(&mut self, nodes: Vec<NodeProto>) -> Vec<NodeProto> {
        let nodes = nodes.into_iter();
        nodes.flat_map(|node| self.node(node)).collect()
    }

    fn node(&mut self, mut node: NodeProto) -> Vec<NodeProto> {
        for attribute in &mut node.attribute {
            for graph in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                graph.node = self.nodes(std::mem::take(&mut graph.node));
            }
        }
        match self.called(&node) {
            Some(function) => {
                self.calls += 1;
                let call = Call::new(function, &node, self.calls);
                let body = function.node.iter().map(|node| call.node(node)).collect();
                // Functions may call others.
                self.nodes(body)
            }
            None => vec![node],
        }
    }

    /// The function that a node calls, if it calls one.
    fn called(&self, node: &NodeProto) -> Option<&'a FunctionProto> {
        let named = |function: &&FunctionProto| {
            function.name == node.op_type && function.domain == node.domain
        };
        let mut functions = self.functions.iter().filter(named);
        let exact = functions
            .clone()
            .find(|function| function.overload == node.overload);
        exact.or_else(|| functions.next())
    }
}

/// A call of a function: what its names stand for.
struct Call<'a> {
    /// Names of the function's inputs and outputs, and those of the values that the node takes and
    /// gives; an empty one where it leaves an input out.
    names: HashMap<&'a str, &'a str>,
    attributes: HashMap<&'a str, &'a AttributeProto>,
    /// What the names of all other values begin with.
    prefix: String,
}

impl<'a> Call<'a> {
    fn new(function: &'a FunctionProto, node: &'a NodeProto, number: usize) -> Self {
        let inputs = function.input.iter().enumerate().map(|(at, input)| {
            let taken = node.input.get(at).map_or("", String::as_str);
            (input.as_str(), taken)
        });
        let outputs = function.output.iter().zip(&node.output);
        // An output that nobody takes is a value like any other.
        let outputs = outputs.filter(|(_, given)| !given.is_empty());
        let outputs = outputs.map(|(output, given)| (output.as_str(), given.as_str()));
        let defaults = function.attribute_proto.iter();
        let attributes = defaults.chain(&node.attribute);
        Self {
            names: inputs.chain(outputs).collect(),
            attributes: attributes
                .map(|attribute| (attribute.name.as_str(), attribute))
                .collect(),
            prefix: format!("{}.{number}", function.name),
        }
    }

    fn name(&self, name: &str) -> String {
        match self.names.get(name) {
            Some(known) => (*known).to_owned(),
            None if name.is_empty() => String::new(),
            None => format!("{}.{name}", self.prefix),
        }
    }

    fn node(&self, node: &NodeProto) -> NodeProto {
        let names = |names: &[String]| names.iter().map(|name| self.name(name)).collect();
        let attributes = node.attribute.iter();
        NodeProto {
            name: format!("{}.{}", self.prefix, node.label()),
            input: names(&node.input),
            output: names(&node.output),
            attribute: attributes
                .filter_map(|attribute| self.attribute(attribute))
                .collect(),
            ..node.clone()
        }
    }

    /// An attribute with its value; none where it refers to one that the call leaves out.
    fn attribute(&self, attribute: &AttributeProto) -> Option<AttributeProto> {
        if !attribute.ref_attr_name.is_empty() {
            let value = self.attributes.get(attribute.ref_attr_name.as_str())?;
            return Some(AttributeProto {
                name: attribute.name.clone(),
                ..(*value).clone()
            });
        }
        let graph = |graph: &GraphProto| self.graph(graph);
        Some(AttributeProto {
            g: attribute.g.as_ref().map(graph),
            graphs: attribute.graphs.iter().map(graph).collect(),
            ..attribute.clone()
        })
    }

    /// A graph of control flow inside a function. Its names are renamed as those of the function are,
    /// which it may capture.
    fn graph(&self, graph: &GraphProto) -> GraphProto {
        let mut renamed = graph.clone();
        let values = renamed.input.iter_mut().chain(&mut renamed.output);
        for value in values.chain(&mut renamed.value_info) {
            value.name = self.name(&value.name);
        }
        for tensor in &mut renamed.initializer {
            tensor.name = self.name(&tensor.name);
        }
        for sparse in &mut renamed.sparse_initializer {
            if let Some(values) = &mut sparse.values {
                values.name = self.name(&values.name);
            }
        }
        renamed.node = graph.node.iter().map(|node| self.node(node)).collect();
        renamed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AttributeType, Dim, GraphBuilder, OperatorSetIdProto, decode, encode};

    fn node(op_type: &str, domain: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        NodeProto {
            op_type: op_type.to_owned(),
            domain: domain.to_owned(),
            input: names(inputs),
            output: names(outputs),
            ..NodeProto::default()
        }
    }

    fn function(
        name: &str,
        inputs: &[&str],
        outputs: &[&str],
        node: Vec<NodeProto>,
    ) -> FunctionProto {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        FunctionProto {
            name: name.to_owned(),
            domain: "own".to_owned(),
            input: names(inputs),
            output: names(outputs),
            node,
            opset_import: vec![OperatorSetIdProto {
                domain: String::new(),
                version: 17,
            }],
            ..FunctionProto::default()
        }
    }

    /// `y` is `x` through `Outer` twice; `Outer` is `Inner` and a softmax over the axis that is given,
    /// by default 1.
    fn model() -> ModelProto {
        let mut graph = GraphBuilder::new("g");
        graph.opset(17);
        graph
            .input("x", Dim::batched([2]))
            .output("y", Dim::batched([2]));
        graph.node("Relu", "r", &["x"], "y");
        let mut model = graph.finish().unwrap();
        let int = |name: &str, i: Option<i64>, from: &str| AttributeProto {
            name: name.into(),
            i,
            r#type: AttributeType::Int as i32,
            ref_attr_name: from.into(),
            ..AttributeProto::default()
        };
        let mut softmax = node("Softmax", "", &["middle"], &["b"]);
        softmax.attribute = vec![int("axis", None, "over")];
        let inner = node("Inner", "own", &["a"], &["middle"]);
        let mut outer = function("Outer", &["a"], &["b"], vec![inner, softmax]);
        outer.attribute_proto = vec![int("over", Some(1), "")];
        let relu = node("Relu", "", &["a"], &["b"]);
        let inner = function("Inner", &["a"], &["b"], vec![relu]);
        let mut second = node("Outer", "own", &["h"], &["y"]);
        second.attribute = vec![int("over", Some(-1), "")];
        model.graph.as_mut().unwrap().node = vec![node("Outer", "own", &["x"], &["h"]), second];
        model.functions = vec![outer, inner];
        model.opset_import.push(OperatorSetIdProto {
            domain: "own".into(),
            version: 1,
        });
        model
    }

    #[test]
    fn calls_become_the_nodes_of_their_functions() {
        let mut inlined = model();
        assert!(inline(&mut inlined));
        assert!(inlined.functions.is_empty());
        let nodes = inlined.graph.unwrap().node;
        let text: Vec<String> = nodes
            .iter()
            .map(|node| {
                let axis = node.attribute.first().and_then(|axis| axis.i);
                format!(
                    "{} {:?} {:?} {axis:?}",
                    node.op_type, node.input, node.output
                )
            })
            .collect();
        assert_eq!(
            text,
            [
                r#"Relu ["x"] ["Outer.1.middle"] None"#,
                r#"Softmax ["Outer.1.middle"] ["h"] Some(1)"#,
                r#"Relu ["h"] ["Outer.3.middle"] None"#,
                r#"Softmax ["Outer.3.middle"] ["y"] Some(-1)"#,
            ]
        );
    }

    #[test]
    fn functions_of_another_version_are_left_alone() {
        let mut other = model();
        other.functions[0].opset_import[0].version = 13;
        let before = other.clone();
        assert!(!inline(&mut other));
        assert_eq!(other, before);
    }

    #[test]
    fn a_file_with_functions_is_read_without() {
        let read = decode(&encode(&model())).unwrap();
        assert_eq!(read.operators().len(), 2);
    }

    #[test]
    fn graphs_inside_a_function_take_its_values() {
        let mut branching = model();
        let branch = GraphProto {
            node: vec![node("Relu", "", &["middle"], &["own"])],
            output: vec![crate::ValueInfoProto {
                name: "own".into(),
                ..Default::default()
            }],
            ..GraphProto::default()
        };
        let mut choice = node("If", "", &["a"], &["b"]);
        choice.attribute = vec![AttributeProto {
            name: "then_branch".into(),
            g: Some(branch),
            ..AttributeProto::default()
        }];
        let relu = node("Relu", "", &["a"], &["middle"]);
        branching.functions = vec![function("Outer", &["a"], &["b"], vec![relu, choice])];
        inline(&mut branching);
        let nodes = branching.graph.unwrap().node;
        let graph = nodes[1].attribute[0].g.as_ref().unwrap();
        assert_eq!(graph.node[0].input, ["Outer.1.middle"]);
        assert_eq!(graph.node[0].output[0], graph.output[0].name);
    }
}
