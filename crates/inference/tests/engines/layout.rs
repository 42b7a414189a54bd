//! Graphs that take channels last.

use kiln_inference::{EngineId, Layout, Model, ModelOverrides, Options, Origin};
use kiln_onnx::{AttributeProto, AttributeType, Dim, ModelProto, NodeProto, TypeValue, encode};

use crate::engines;
use crate::model::{CLASSES, IMAGE, SHAPE, expected, finish, graph, noise};

/// The test model after a transposition, its input declared with these axes; none for an unknown
/// shape.
fn channels_last(axes: Option<&[Dim; 4]>) -> ModelProto {
    let mut model = finish(graph(&axes.map_or(Dim::Unknown, |axes| axes[0].clone())));
    let graph = model.graph.as_mut().unwrap();
    let perm = AttributeProto {
        name: "perm".into(),
        ints: vec![0, 3, 1, 2],
        r#type: AttributeType::Ints as i32,
        ..Default::default()
    };
    let transpose = NodeProto {
        name: "transpose".into(),
        op_type: "Transpose".into(),
        input: vec!["image".into()],
        output: vec!["input".into()],
        attribute: vec![perm],
        ..Default::default()
    };
    graph.node.insert(0, transpose);
    let mut builder = kiln_onnx::GraphBuilder::new("inputs");
    builder
        .input("image", axes.map_or_else(Vec::new, |axes| axes.to_vec()))
        .output("image", vec![]);
    let mut inputs = builder.finish().unwrap().graph.unwrap().input;
    if axes.is_none() {
        let Some(TypeValue::TensorType(tensor)) = inputs[0].r#type.as_mut().unwrap().value.as_mut()
        else {
            panic!("the builder writes tensors")
        };
        tensor.shape = None;
    }
    graph.input = inputs;
    model
}

fn load(model: &ModelProto, engine: EngineId, layout: Option<Layout>) -> Model {
    let declared = ModelOverrides {
        layout,
        ..ModelOverrides::default()
    };
    Model::from_bytes(
        &encode(model),
        &Options::default()
            .with_engine(engine)
            .with_declared(declared),
    )
    .unwrap()
}

fn check(model: &Model, images: usize) {
    let pixels = noise(images as u32, images * IMAGE);
    let scores = model.run(&pixels, images).unwrap();
    assert_eq!(scores.data.len(), images * CLASSES);
    for (image, row) in pixels.chunks_exact(IMAGE).zip(scores.rows()) {
        for (found, expected) in row.iter().zip(&expected(image)[0]) {
            assert!(
                (f64::from(*found) - expected).abs() < 1e-5,
                "{found} {expected}"
            );
        }
    }
}

fn axes(batch: Dim) -> [Dim; 4] {
    let [channels, height, width] = SHAPE.map(Dim::Fixed);
    [batch, height, width, channels]
}

#[test]
fn channels_last_is_found_by_the_shape() {
    for engine in engines() {
        for batch in [Dim::Symbol("n".into()), Dim::Fixed(1), Dim::Fixed(4)] {
            let model = load(&channels_last(Some(&axes(batch))), engine, None);
            assert_eq!(
                (model.spec().layout, model.spec().origins.layout),
                (Layout::Nhwc, Origin::Graph)
            );
            for images in [1, 4, 6] {
                check(&model, images);
            }
        }
    }
}

#[test]
fn open_axes_and_unknown_shapes_need_it_said() {
    let open = [(); 4].map(|()| Dim::Unknown);
    let only_channels = [Dim::Unknown, Dim::Unknown, Dim::Unknown, Dim::Fixed(3)];
    for engine in engines() {
        let nhwc = Some(Layout::Nhwc);
        for (axes, layout) in [
            (Some(&open), nhwc),
            (None, nhwc),
            (Some(&only_channels), None),
        ] {
            check(&load(&channels_last(axes), engine, layout), 3);
        }
    }
}

#[test]
fn the_file_may_say_it() {
    let mut model = channels_last(Some(&[(); 4].map(|()| Dim::Unknown)));
    let metadata = kiln_onnx::Metadata {
        layout: Some(Layout::Nhwc),
        ..model.metadata().unwrap()
    };
    model.set_metadata(&metadata);
    for engine in engines() {
        let model = load(&model, engine, None);
        assert_eq!(model.spec().origins.layout, Origin::Metadata);
        check(&model, 2);
    }
}
