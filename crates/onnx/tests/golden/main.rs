//! Reads `golden.onnx`, written by ONNX's own Python package with every declared field set (see
//! `golden.py`), and checks that each value is found in its field.

use kiln_onnx::{
    AttributeProto, AttributeType, DataLocation, DataType, Dim, GraphProto, ModelProto,
    OperatorSetIdProto, StringStringEntryProto, TensorProto, ValueInfoProto,
};
use prost::Message;

fn golden() -> ModelProto {
    ModelProto::decode(&include_bytes!("golden.onnx")[..]).unwrap()
}

fn graph() -> GraphProto {
    golden().graph.unwrap()
}

fn props(tag: &str) -> Vec<StringStringEntryProto> {
    vec![StringStringEntryProto {
        key: format!("{tag}.key"),
        value: format!("{tag}.value"),
    }]
}

#[test]
fn model() {
    let model = golden();
    assert_eq!((model.ir_version, model.model_version), (8, 42));
    assert_eq!(
        (
            model.producer_name.as_str(),
            model.producer_version.as_str()
        ),
        ("producer", "1.2.3")
    );
    assert_eq!(
        (model.domain.as_str(), model.doc_string.as_str()),
        ("org.example", "model.doc")
    );
    let set = |domain: &str, version| OperatorSetIdProto {
        domain: domain.into(),
        version,
    };
    assert_eq!(model.opset_import, [set("", 18), set("ai.onnx.ml", 3)]);
    assert_eq!(model.opset(), 18);
    assert_eq!(model.metadata_props, props("model"));
    assert_eq!(model.functions.len(), 1);
}

#[test]
fn graph_and_values() {
    let graph = graph();
    assert_eq!(
        (graph.name.as_str(), graph.doc_string.as_str()),
        ("graph", "graph.doc")
    );
    assert_eq!(graph.metadata_props, props("graph"));
    assert_eq!(graph.sparse_initializer.len(), 1);
    let check = |info: &ValueInfoProto, tag: &str| {
        assert_eq!(
            (info.name.clone(), info.doc_string.clone()),
            (format!("{tag}.name"), format!("{tag}.doc"))
        );
        assert_eq!(info.metadata_props, props(tag));
        assert_eq!(info.r#type.as_ref().unwrap().denotation, "IMAGE");
    };
    check(&graph.input[0], "input");
    check(&graph.output[0], "output");
    check(&graph.value_info[0], "value_info");
    let model = golden();
    let input = &model.inputs()[0];
    assert_eq!(input.data_type, Some(DataType::Float));
    assert_eq!(
        input.shape,
        Some(vec![
            Dim::Symbol("batch".into()),
            Dim::Fixed(3),
            Dim::Unknown
        ])
    );
    let sequence = &model.outputs()[1];
    assert_eq!(
        (sequence.name.as_str(), sequence.data_type, &sequence.shape),
        ("sequence", None, &None)
    );
}

#[test]
fn node_and_attributes() {
    let node = &graph().node[0];
    assert_eq!(
        (
            node.op_type.as_str(),
            node.name.as_str(),
            node.doc_string.as_str()
        ),
        ("Conv", "conv", "node.doc")
    );
    assert_eq!(
        (node.domain.as_str(), node.overload.as_str()),
        ("org.example.ops", "overload")
    );
    assert_eq!(
        (node.input.join(","), node.output.join(",")),
        ("input.name,,raw".into(), "output.name,other".into())
    );
    assert_eq!(node.metadata_props, props("node"));

    let attribute = |name: &str| {
        node.attribute
            .iter()
            .find(|a| a.name == name)
            .unwrap()
            .clone()
    };
    let expect = |name: &str, r#type: AttributeType, set: fn(&mut AttributeProto)| {
        let mut expected = AttributeProto {
            name: name.into(),
            r#type: r#type as i32,
            ..Default::default()
        };
        set(&mut expected);
        assert_eq!(attribute(name), expected);
    };
    let tensor = |name: &str| TensorProto {
        name: name.into(),
        ..Default::default()
    };
    expect("f", AttributeType::Float, |a| {
        (a.f, a.doc_string) = (Some(0.5), "attribute.doc".into());
    });
    expect("i", AttributeType::Int, |a| a.i = Some(-7));
    expect("zero", AttributeType::Int, |a| a.i = Some(0));
    expect("s", AttributeType::String, |a| a.s = Some(b"text".to_vec()));
    assert_eq!(attribute("t").t, Some(tensor("t.name")));
    assert_eq!(attribute("g").g.unwrap().name, "g.name");
    expect("floats", AttributeType::Floats, |a| {
        a.floats = vec![1.5, -2.0];
    });
    expect("ints", AttributeType::Ints, |a| a.ints = vec![3, -1]);
    expect("strings", AttributeType::Strings, |a| {
        a.strings = vec![b"a".to_vec(), b"b".to_vec()];
    });
    assert_eq!(attribute("tensors").tensors, [tensor("tensors.name")]);
    assert_eq!(attribute("graphs").graphs[0].name, "graphs.name");
    expect("ref", AttributeType::Float, |a| {
        a.ref_attr_name = "alpha".into();
    });
    for (name, r#type) in [
        ("t", AttributeType::Tensor),
        ("g", AttributeType::Graph),
        ("tensors", AttributeType::Tensors),
        ("graphs", AttributeType::Graphs),
        ("sparse", AttributeType::SparseTensor),
        ("sparses", AttributeType::SparseTensors),
        ("tp", AttributeType::TypeProto),
        ("tps", AttributeType::TypeProtos),
    ] {
        assert_eq!(attribute(name).r#type(), r#type);
    }
}

#[test]
fn tensors() {
    let graph = graph();
    let tensor = |name: &str| graph.initializer.iter().find(|t| t.name == name).unwrap();
    let raw = tensor("raw");
    assert_eq!(raw.to_f32().unwrap(), [1.0, -2.0]);
    assert_eq!((raw.raw_data.len(), raw.doc_string.as_str()), (8, "doc"));
    assert_eq!(raw.metadata_props, props("raw"));
    assert_eq!(tensor("float").float_data, [1.0, -2.0]);
    assert_eq!(tensor("float").to_f32().unwrap(), [1.0, -2.0]);
    assert_eq!(tensor("float").dims, [2, 1]);
    assert_eq!(tensor("int32").int32_data, [1, -2]);
    assert_eq!(tensor("string").string_data, [b"text"]);
    assert_eq!(tensor("int64").to_i64().unwrap(), [1, -(1 << 40)]);
    assert_eq!(tensor("double").double_data, [0.25]);
    assert_eq!(tensor("uint64").uint64_data, [1 << 63]);
    let external = tensor("external");
    assert_eq!(external.data_location(), DataLocation::External);
    assert_eq!(external.external_location(), Some("weights.bin"));
    assert_eq!(external.external_data[1].value, "16");
}

#[test]
fn every_data_type_of_onnx_has_its_name_and_number() {
    let graph = graph();
    let named: Vec<_> = graph
        .initializer
        .iter()
        .filter_map(|t| Some((t.name.strip_prefix("type.")?, t)))
        .collect();
    assert_eq!(named.len(), 27);
    for (name, tensor) in named {
        let data_type = DataType::try_from(tensor.data_type).unwrap();
        assert_eq!(format!("{data_type:?}").to_uppercase(), name);
    }
}

#[test]
fn what_is_written_again_is_read_the_same() {
    let model = golden();
    assert_eq!(
        ModelProto::decode(&model.encode_to_vec()[..]).unwrap(),
        model
    );
}
