//! Whether a graph is well formed: what every runtime relies on, and not every runtime checks.

use std::collections::HashSet;

use crate::proto::GraphProto;

/// A malformed graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StructureError {
    /// Two inputs, weights or node outputs share a name.
    #[error("{place} defines `{value}`, which is already defined")]
    Redefined {
        /// What defines it for the second time.
        place: String,
        /// The value's name.
        value: String,
    },
    /// A node takes a value that nothing before it produces.
    #[error("{node} takes `{value}`, which no graph input, initializer or earlier node provides")]
    Undefined {
        /// The node.
        node: String,
        /// The value's name.
        value: String,
    },
    /// A node that would have to be computed before itself.
    #[error("{0} takes a value that is computed from its own output")]
    Cycle(String),
    /// A graph output that nothing produces.
    #[error("no node produces the graph output `{0}`")]
    NoProducer(String),
    /// A graph without outputs.
    #[error("the graph has no outputs")]
    NoOutputs,
    /// A name that must not be empty is empty.
    #[error("{0} has an empty name")]
    Unnamed(String),
}

/// Checks that every value is defined once and before it is used, and that the outputs are
/// produced.
///
/// These are the rules of the ONNX IR specification, "Graphs": static single assignment and
/// topological order. Subgraphs of control-flow operators are not looked into.
pub fn check_structure(graph: &GraphProto) -> Result<(), StructureError> {
    let mut defined = HashSet::new();
    // Before IR version 4 an initializer is also listed as an input: the same value, not a second
    // one.
    for tensor in &graph.initializer {
        define(&mut defined, &tensor.name, || "an initializer".to_owned())?;
    }
    let mut inputs = HashSet::new();
    for input in &graph.input {
        define(&mut inputs, &input.name, || "a graph input".to_owned())?;
    }
    defined.extend(inputs);
    for node in &graph.node {
        if let Some(value) = node
            .input
            .iter()
            .find(|value| !value.is_empty() && !defined.contains(value.as_str()))
        {
            return Err(StructureError::Undefined {
                node: node.describe(),
                value: value.clone(),
            });
        }
        for value in node.output.iter().filter(|value| !value.is_empty()) {
            define(&mut defined, value, || node.describe())?;
        }
    }
    if graph.output.is_empty() {
        return Err(StructureError::NoOutputs);
    }
    match graph
        .output
        .iter()
        .find(|output| !defined.contains(output.name.as_str()))
    {
        Some(output) => Err(StructureError::NoProducer(output.name.clone())),
        None => Ok(()),
    }
}

fn define<'a>(
    defined: &mut HashSet<&'a str>,
    value: &'a str,
    place: impl Fn() -> String,
) -> Result<(), StructureError> {
    if value.is_empty() {
        return Err(StructureError::Unnamed(place()));
    }
    if defined.insert(value) {
        Ok(())
    } else {
        Err(StructureError::Redefined {
            place: place(),
            value: value.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::NodeProto;
    use crate::{TensorProto, ValueInfoProto};

    fn value(name: &str) -> ValueInfoProto {
        ValueInfoProto {
            name: name.into(),
            ..Default::default()
        }
    }

    fn relu(name: &str, input: &str, output: &str) -> NodeProto {
        NodeProto {
            name: name.into(),
            op_type: "Relu".into(),
            input: vec![input.into()],
            output: vec![output.into()],
            ..Default::default()
        }
    }

    fn chain() -> GraphProto {
        GraphProto {
            input: vec![value("x")],
            output: vec![value("z")],
            node: vec![relu("a", "x", "y"), relu("b", "y", "z")],
            ..Default::default()
        }
    }

    #[test]
    fn a_chain_is_sound_and_initializers_may_be_listed_as_inputs() {
        let mut graph = chain();
        graph.initializer = vec![TensorProto::from_f32("x", &[1], &[1.0])];
        assert_eq!(check_structure(&graph), Ok(()));
    }

    #[test]
    fn the_order_of_nodes_matters() {
        let mut graph = chain();
        graph.node.reverse();
        assert_eq!(
            check_structure(&graph).unwrap_err().to_string(),
            "node `b` (Relu) takes `y`, which no graph input, initializer or earlier node provides"
        );
    }

    #[test]
    fn double_definitions_missing_producers_and_empty_names_are_errors() {
        let mut graph = chain();
        graph.node[1].output[0] = "y".into();
        assert!(
            matches!(check_structure(&graph), Err(StructureError::Redefined { value, .. }) if value == "y")
        );
        let mut graph = chain();
        graph.output.push(value("w"));
        assert_eq!(
            check_structure(&graph),
            Err(StructureError::NoProducer("w".into()))
        );
        let mut graph = chain();
        graph.output.clear();
        assert_eq!(check_structure(&graph), Err(StructureError::NoOutputs));
        let mut graph = chain();
        graph.input.push(value(""));
        assert_eq!(
            check_structure(&graph),
            Err(StructureError::Unnamed("a graph input".into()))
        );
    }
}
