//! Values that a file keeps in other files.

use prost::{DecodeError, Message};

use crate::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

/// A sparse tensor (`SparseTensorProto`), as far as it can lead to another file.
#[derive(Clone, PartialEq, Message)]
struct Sparse {
    #[prost(message, optional, tag = "1")]
    values: Option<TensorProto>,
    #[prost(message, optional, tag = "2")]
    indices: Option<TensorProto>,
}

/// A function (`FunctionProto`), likewise.
#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(message, repeated, tag = "7")]
    node: Vec<NodeProto>,
    #[prost(message, repeated, tag = "11")]
    attribute_proto: Vec<AttributeProto>,
}

/// The name and the file of a tensor that keeps its values in another file, wherever it stands: in
/// the graph, in the graphs of control flow below it, or in a function. A runtime would open that
/// file, whose path the model's author chose.
pub fn external_tensor(model: &ModelProto) -> Result<Option<(String, String)>, DecodeError> {
    let functions = model
        .functions
        .iter()
        .map(|bytes| Function::decode(bytes.as_slice()));
    let functions = functions.collect::<Result<Vec<_>, _>>()?;
    let in_functions = functions.iter().find_map(|function| {
        in_nodes(&function.node).or_else(|| function.attribute_proto.iter().find_map(in_attribute))
    });
    if in_functions.is_some() {
        return Ok(in_functions);
    }
    let Some(graph) = &model.graph else {
        return Ok(None);
    };
    for bytes in &graph.sparse_initializer {
        let Sparse { values, indices } = Sparse::decode(bytes.as_slice())?;
        if let Some(found) = [values, indices].iter().flatten().find_map(in_tensor) {
            return Ok(Some(found));
        }
    }
    Ok(in_graph(graph))
}

fn in_graph(graph: &GraphProto) -> Option<(String, String)> {
    graph
        .initializer
        .iter()
        .find_map(in_tensor)
        .or_else(|| in_nodes(&graph.node))
}

fn in_nodes(nodes: &[NodeProto]) -> Option<(String, String)> {
    nodes
        .iter()
        .flat_map(|node| &node.attribute)
        .find_map(in_attribute)
}

/// The depth of graphs in graphs is bounded: no deeper message is decoded.
fn in_attribute(attribute: &AttributeProto) -> Option<(String, String)> {
    let tensor = attribute
        .t
        .iter()
        .chain(&attribute.tensors)
        .find_map(in_tensor);
    tensor.or_else(|| {
        attribute
            .g
            .iter()
            .chain(&attribute.graphs)
            .find_map(in_graph)
    })
}

fn in_tensor(tensor: &TensorProto) -> Option<(String, String)> {
    tensor
        .external_location()
        .map(|location| (tensor.name.clone(), location.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        DataLocation, DecodeError, Dim, GraphBuilder, StringStringEntryProto, decode, encode,
    };

    fn model() -> ModelProto {
        let mut graph = GraphBuilder::new("g");
        graph
            .input("x", Dim::batched([2]))
            .output("y", Dim::batched([2]));
        graph.node("Relu", "relu", &["x"], "y");
        graph.finish().unwrap()
    }

    fn outside() -> TensorProto {
        let location = StringStringEntryProto {
            key: "location".into(),
            value: "../../etc/passwd".into(),
        };
        TensorProto {
            name: "w".into(),
            data_location: DataLocation::External as i32,
            external_data: vec![location],
            ..Default::default()
        }
    }

    fn graph(model: &mut ModelProto) -> &mut GraphProto {
        model.graph.as_mut().unwrap()
    }

    fn nodes(attribute: AttributeProto) -> Vec<NodeProto> {
        vec![NodeProto {
            attribute: vec![attribute],
            output: vec!["z".into()],
            ..Default::default()
        }]
    }

    #[test]
    fn another_file_is_refused_wherever_it_is_named() {
        let tensor = || AttributeProto {
            t: Some(outside()),
            ..Default::default()
        };
        let inner = GraphProto {
            initializer: vec![outside()],
            ..Default::default()
        };
        let graphs = AttributeProto {
            graphs: vec![inner.clone()],
            ..Default::default()
        };
        let nested = GraphProto {
            node: nodes(graphs),
            ..Default::default()
        };
        let sparse = Sparse {
            values: Some(outside()),
            indices: None,
        }
        .encode_to_vec();
        let function = Function {
            node: nodes(tensor()),
            ..Default::default()
        }
        .encode_to_vec();
        let mut models = vec![model(); 6];
        graph(&mut models[0]).initializer.push(outside());
        graph(&mut models[1]).node[0].attribute.push(tensor());
        graph(&mut models[2]).node[0]
            .attribute
            .push(AttributeProto {
                g: Some(inner),
                ..Default::default()
            });
        graph(&mut models[3]).node[0]
            .attribute
            .push(AttributeProto {
                g: Some(nested),
                ..Default::default()
            });
        graph(&mut models[4]).sparse_initializer.push(sparse);
        models[5].functions.push(function);
        for (number, model) in models.iter().enumerate() {
            let expected = DecodeError::ExternalData {
                tensor: "w".into(),
                location: "../../etc/passwd".into(),
            };
            assert_eq!(decode(&encode(model)), Err(expected), "model {number}");
        }
    }
}
