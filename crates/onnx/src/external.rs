//! Values that a file keeps in other files.

use crate::gate::parts::{Part, each_part};
use crate::proto::{ModelProto, TensorProto};

/// The name and the file of a tensor that keeps its values in another file, wherever it stands: in
/// the graph, in the graphs of control flow and training, in a function, in a sparse tensor. A
/// runtime would open that file, whose path the model's author chose.
pub fn external_tensor(model: &ModelProto) -> Option<(String, String)> {
    let found = each_part(model, |part| match part {
        Part::Tensor(tensor) if is_external(tensor) => Err(tensor),
        Part::Tensor(_) | Part::Node(_) | Part::Attribute(_) | Part::Sparse(_) | Part::Value(_) => {
            Ok(())
        }
    });
    let tensor = found.err()?;
    let mut entries = tensor.external_data.iter();
    let location = entries.find(|entry| entry.key == "location");
    let location = location.map(|entry| entry.value.clone());
    Some((tensor.name.clone(), location.unwrap_or_default()))
}

/// Whether a tensor's values are elsewhere, or the tensor tells where they would be. Whichever a
/// runtime goes by, and ONNX Runtime takes some locations as addresses in memory, it finds nothing.
fn is_external(tensor: &TensorProto) -> bool {
    tensor.external_location().is_some() || !tensor.external_data.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        AttributeProto, DataLocation, DecodeError, Dim, FunctionProto, GraphBuilder, GraphProto,
        NodeProto, SparseTensorProto, StringStringEntryProto, TrainingInfoProto, decode, encode,
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

    fn in_graph(inner: GraphProto) -> AttributeProto {
        AttributeProto {
            g: Some(inner),
            ..Default::default()
        }
    }

    /// Attributes that lead to another file.
    fn attributes() -> Vec<AttributeProto> {
        let sparse = |in_values: bool| SparseTensorProto {
            values: in_values.then(outside),
            indices: (!in_values).then(outside),
            dims: vec![1],
        };
        let inner = GraphProto {
            initializer: vec![outside()],
            ..Default::default()
        };
        let inner_sparse = GraphProto {
            sparse_initializer: vec![sparse(true)],
            ..Default::default()
        };
        let leaf = |change: &dyn Fn(&mut AttributeProto)| {
            let mut attribute = AttributeProto::default();
            change(&mut attribute);
            attribute
        };
        vec![
            leaf(&|it| it.t = Some(outside())),
            leaf(&|it| it.tensors.push(outside())),
            leaf(&|it| it.sparse_tensor = Some(sparse(true))),
            leaf(&|it| it.sparse_tensor = Some(sparse(false))),
            leaf(&|it| it.sparse_tensors.push(sparse(true))),
            leaf(&|it| it.graphs.push(inner.clone())),
            in_graph(inner.clone()),
            in_graph(inner_sparse.clone()),
        ]
    }

    fn assert_refused(model: &ModelProto) {
        assert_bytes_refused(&encode(model));
    }

    fn assert_bytes_refused(bytes: &[u8]) {
        let expected = DecodeError::ExternalData {
            tensor: "w".into(),
            location: "../../etc/passwd".into(),
        };
        assert_eq!(decode(bytes), Err(expected));
    }

    #[test]
    fn another_file_is_refused_wherever_it_is_named() {
        let mut plain = model();
        graph(&mut plain).initializer.push(outside());
        assert_refused(&plain);
        let mut sparse = model();
        graph(&mut sparse)
            .sparse_initializer
            .push(SparseTensorProto {
                values: Some(outside()),
                ..Default::default()
            });
        assert_refused(&sparse);
        for attribute in attributes() {
            let mut of_node = model();
            graph(&mut of_node).node[0]
                .attribute
                .push(attribute.clone());
            assert_refused(&of_node);
            let nested = GraphProto {
                node: nodes(attribute.clone()),
                ..Default::default()
            };
            let mut of_branch = model();
            graph(&mut of_branch).node[0]
                .attribute
                .push(in_graph(nested.clone()));
            assert_refused(&of_branch);
            let mut of_function = model();
            of_function.functions.push(FunctionProto {
                node: nodes(attribute.clone()),
                ..Default::default()
            });
            assert_refused(&of_function);
            let mut of_default = model();
            of_default.functions.push(FunctionProto {
                attribute_proto: vec![attribute],
                ..Default::default()
            });
            assert_refused(&of_default);
            let mut of_training = model();
            of_training.training_info.push(TrainingInfoProto {
                algorithm: Some(nested),
                ..Default::default()
            });
            assert_refused(&of_training);
        }
    }

    #[test]
    fn another_file_is_refused_however_it_is_written() {
        let with = |change: &dyn Fn(&mut TensorProto)| {
            let mut model = model();
            let mut tensor = outside();
            change(&mut tensor);
            graph(&mut model).initializer.push(tensor);
            encode(&model)
        };
        // Places without an external one, and a value that closed enumerations do not have: protobuf's
        // own parser keeps the one before it.
        assert_bytes_refused(&with(&|tensor| tensor.data_location = 0));
        assert_bytes_refused(&with(&|tensor| tensor.data_location = 7));
        // The graph in two pieces, which protobuf joins: the location in one, the tensor in the other.
        let mut bytes = encode(&model());
        let piece = ModelProto {
            graph: Some(GraphProto {
                initializer: vec![outside()],
                ..Default::default()
            }),
            ..Default::default()
        };
        bytes.extend(encode(&piece));
        assert_bytes_refused(&bytes);
        // A location as a varint of more bytes than it needs: 1 + 2^32 is 1 in 32 bits.
        let mut tensor = prost::Message::encode_to_vec(&TensorProto {
            data_location: 0,
            ..outside()
        });
        tensor.extend([(14 << 3), 0x81, 0x80, 0x80, 0x80, 0x10]);
        let tensor: TensorProto = prost::Message::decode(tensor.as_slice()).unwrap();
        assert_eq!(tensor.data_location, DataLocation::External as i32);
    }
}
