use super::*;
use crate::check::StructureError;
use crate::{AttributeType, decode, encode};

fn classifier() -> GraphBuilder {
    let mut graph = GraphBuilder::new("classifier");
    graph
        .input("input", Dim::batched([1, 4, 4]))
        .output("logits", Dim::batched([2]));
    graph.initializer("conv.weight", &[3, 1, 3, 3], vec![0.5_f32; 27]);
    graph
        .node("Conv", "conv", &["input", "conv.weight"], "conv.out")
        .ints("kernel_shape", [3, 3]);
    graph
        .node("Flatten", "flatten", &["conv.out"], "flatten.out")
        .int("axis", 0);
    graph
}

#[test]
fn a_finished_model_says_who_made_it_and_for_which_opset() {
    let mut graph = classifier();
    graph.node("Identity", "head", &["flatten.out"], "logits");
    let model = graph.finish().unwrap();
    assert_eq!((model.ir_version, model.opset()), (8, 18));
    assert_eq!(
        (
            model.producer_name.as_str(),
            model.producer_version.as_str()
        ),
        ("kiln", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(decode(&encode(&model)).unwrap(), model);
}

#[test]
fn a_zero_attribute_is_written_out() {
    let graph = classifier();
    let attribute = &graph.graph.node[1].attribute[0];
    assert_eq!(
        (attribute.r#type(), attribute.i),
        (AttributeType::Int, Some(0))
    );
    let bytes = prost::Message::encode_to_vec(attribute);
    assert!(
        bytes.windows(2).any(|pair| pair == [3 << 3, 0]),
        "field 3 is missing: {bytes:?}"
    );
}

#[test]
fn data_must_fill_the_shape() {
    let mut graph = classifier();
    graph
        .initializer("bias", &[3], vec![0.0_f32; 2])
        .initializer("other", &[3], vec![0_i64]);
    assert_eq!(
        graph.finish().unwrap_err().to_string(),
        "initializer `bias` of shape [3] was given 2 values"
    );
    let mut overflow = classifier();
    overflow.initializer("huge", &[usize::MAX, 2], vec![0.0_f32; 2]);
    assert!(matches!(overflow.finish(), Err(BuildError::Length { .. })));
}

#[test]
fn nodes_need_names_of_their_own() {
    let mut graph = classifier();
    graph.node("Identity", "conv", &["flatten.out"], "logits");
    assert_eq!(
        graph.finish(),
        Err(BuildError::DuplicateNode {
            name: "conv".into()
        })
    );
    let mut graph = classifier();
    graph.node("Identity", "", &["flatten.out"], "logits");
    assert_eq!(
        graph.finish(),
        Err(BuildError::UnnamedNode {
            op_type: "Identity".into()
        })
    );
    let mut graph = classifier();
    graph
        .node("Softmax", "head", &["flatten.out"], "logits")
        .int("axis", 1)
        .int("axis", -1);
    assert!(matches!(
        graph.finish(),
        Err(BuildError::DuplicateAttribute { .. })
    ));
}

#[test]
fn the_structure_is_checked() {
    let graph = classifier();
    assert_eq!(
        graph.finish(),
        Err(StructureError::NoProducer("logits".into()).into())
    );
    let mut graph = classifier();
    graph.node("Identity", "head", &["flaten.out"], "logits");
    assert!(matches!(
        graph.finish(),
        Err(BuildError::Structure(StructureError::Undefined { .. }))
    ));
}
