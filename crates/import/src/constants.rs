//! The constants of a graph: initializers, `Constant` nodes, and other names for them.

use std::collections::HashMap;

use kiln_onnx::{GraphProto, NodeProto, TensorProto};

use crate::attributes::Place;
use crate::error::{GraphError, describe};

/// Where each value of a graph that does not depend on the image can be found.
#[derive(Debug)]
pub struct Constants<'a> {
    initializers: HashMap<&'a str, &'a TensorProto>,
    producers: HashMap<&'a str, &'a NodeProto>,
}

impl<'a> Constants<'a> {
    /// Indexes a graph whose structure has been checked: values are defined once, and before they
    /// are used.
    pub fn new(graph: &'a GraphProto) -> Self {
        let outputs = graph
            .node
            .iter()
            .flat_map(|node| node.output.iter().map(move |value| (value.as_str(), node)));
        Self {
            initializers: graph
                .initializer
                .iter()
                .map(|tensor| (tensor.name.as_str(), tensor))
                .collect(),
            producers: outputs.collect(),
        }
    }

    /// Whether an initializer has this name.
    pub fn initialized(&self, name: &str) -> bool {
        self.initializers.contains_key(name)
    }

    /// The constant that a node takes as input `index`; none where the node leaves the input out.
    pub fn input(
        &self,
        place: Place<'a>,
        index: usize,
        what: &'static str,
    ) -> Result<Option<&'a TensorProto>, GraphError> {
        match place.0.input.get(index).map(String::as_str) {
            None | Some("") => Ok(None),
            Some(name) => self.resolve(place, name, what).map(Some),
        }
    }

    /// The constant of this name. `what` is its role at the node, for errors.
    pub fn resolve(
        &self,
        place: Place<'a>,
        mut name: &'a str,
        what: &'static str,
    ) -> Result<&'a TensorProto, GraphError> {
        let node = describe(place.0);
        // Ends, because each value is defined before it is used.
        loop {
            if let Some(tensor) = self.initializers.get(name) {
                return Ok(tensor);
            }
            let Some(producer) = self.producers.get(name) else {
                let found = format!("the graph input `{name}`");
                return Err(GraphError::NotConstant { node, what, found });
            };
            match (producer.op_type.as_str(), producer.input.first()) {
                ("Identity", Some(input)) => name = input,
                ("DequantizeLinear", _) => {
                    return Err(GraphError::Quantized {
                        node,
                        found: describe(producer),
                    });
                }
                _ => {
                    let value = producer
                        .attribute
                        .iter()
                        .find(|attribute| attribute.name == "value");
                    let value = value.and_then(|attribute| attribute.t.as_ref());
                    return value
                        .filter(|_| producer.op_type == "Constant")
                        .ok_or_else(|| GraphError::NotConstant {
                            node,
                            what,
                            found: describe(producer),
                        });
                }
            }
        }
    }
}
