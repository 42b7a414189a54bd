//! Files as other exporters write them: inputs and outputs of other types and shapes, nodes in any
//! order, weights beside the model. The graph multiplies the mean of each channel of an image by 5.

use std::fs;

use kiln_inference::{
    Channels, EngineId, Model, ModelOverrides, Options, Origin, OutputKind, Preprocessing, RunError,
};
use kiln_onnx::{
    AttributeProto, AttributeType, DataLocation, DataType, Dim, GraphBuilder, ModelProto,
    NodeProto, StringStringEntryProto, ValueInfoProto, encode,
};

use crate::engines;

/// Two images of 2 x 2 pixels: their channels' means are 1, 0, 0 and 0.5, 0.25, 0.
const IMAGES: [f32; 24] = [
    1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, //
    1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
];
/// The logits of both.
const LOGITS: [f32; 6] = [5.0, 0.0, 0.0, 2.5, 1.25, 0.0];

fn declared() -> ModelOverrides {
    Preprocessing::unit(2, 2, Channels::Rgb).into()
}

fn options(engine: EngineId, declared: ModelOverrides) -> Options {
    Options::default()
        .with_engine(engine)
        .with_declared(declared)
}

fn load(model: &ModelProto, engine: EngineId, declared: ModelOverrides) -> Model {
    Model::from_bytes(&encode(model), &options(engine, declared)).unwrap()
}

/// The graph, whose last nodes `add` writes: they take `logits` and give `y`.
fn mean_of_channels(classes: usize, add: impl FnOnce(&mut GraphBuilder)) -> ModelProto {
    let mut graph = GraphBuilder::new("means");
    // The last opset whose reductions have their axes as an attribute.
    graph.opset(17);
    graph
        .input("x", Dim::batched([3, 2, 2]))
        .output("y", Dim::batched([classes]));
    graph.initializer("five", &[1], vec![5.0_f32]);
    graph.node("GlobalAveragePool", "pool", &["x"], "pool");
    graph.node("Flatten", "flat", &["pool"], "flat");
    graph.node("Mul", "logits", &["flat", "five"], "logits");
    add(&mut graph);
    graph.finish().unwrap()
}

fn plain() -> ModelProto {
    mean_of_channels(3, |graph| {
        graph.node("Identity", "y", &["logits"], "y");
    })
}

/// Checks scores of both images, run together, and what they are taken for.
fn check(model: &Model, expected: &[f32], kind: OutputKind) {
    let scores = model.run(&IMAGES, 2).unwrap();
    assert_eq!(model.output_kind(), kind);
    let pairs = scores.data.iter().zip(expected);
    assert_eq!(scores.data.len(), expected.len());
    for (found, expected) in pairs {
        assert!((found - expected).abs() < 2e-3, "{:?}", scores.data);
    }
}

#[test]
fn half_and_double_precision_become_what_engines_take() {
    for data_type in [DataType::Float16, DataType::Double] {
        let mut model = plain();
        let graph = model.graph.as_mut().unwrap();
        let five = &mut graph.initializer[0];
        five.data_type = data_type as i32;
        five.raw_data = match data_type {
            // 5 in IEEE 754's binary16.
            DataType::Float16 => vec![0x00, 0x45],
            _ => 5.0_f64.to_le_bytes().to_vec(),
        };
        let input = Dim::batched([3, 2, 2]);
        graph.input[0] = ValueInfoProto::of_type(data_type, "x", Some(&input));
        graph.output[0] = ValueInfoProto::of_type(data_type, "y", Some(&Dim::batched([3])));
        for engine in engines() {
            let model = load(&model, engine, declared());
            check(&model, &LOGITS, OutputKind::Logits);
        }
        // As some converters leave it.
        let graph = model.graph.as_mut().unwrap();
        graph.output[0] = ValueInfoProto::of_floats("y", &Dim::batched([3]));
        for engine in engines() {
            let model = load(&model, engine, declared());
            check(&model, &LOGITS, OutputKind::Logits);
        }
    }
}

#[test]
fn signed_bytes_are_rounded_and_bounded() {
    let mut model = plain();
    let graph = model.graph.as_mut().unwrap();
    graph.input[0] = ValueInfoProto::of_type(DataType::Int8, "x", Some(&Dim::batched([3, 2, 2])));
    let to_float = NodeProto {
        op_type: "Cast".into(),
        input: vec!["x".into()],
        output: vec!["float".into()],
        attribute: vec![AttributeProto {
            name: "to".into(),
            i: Some(DataType::Float as i64),
            r#type: AttributeType::Int as i32,
            ..AttributeProto::default()
        }],
        ..NodeProto::default()
    };
    graph.node[0].input[0] = "float".into();
    graph.node.insert(0, to_float);
    for engine in engines() {
        let model = load(&model, engine, declared());
        let image: Vec<f32> = [0.6_f32, 200.0, -200.0]
            .iter()
            .flat_map(|&v| [v; 4])
            .collect();
        let scores = model.run(&image, 1).unwrap();
        assert_eq!(scores.data, [5.0, 635.0, -640.0]);
    }
}

#[test]
fn axes_that_are_left_out_are_put_in() {
    let mut single = plain();
    let graph = single.graph.as_mut().unwrap();
    let axes = [3, 2, 2].map(Dim::Fixed);
    graph.input[0] = ValueInfoProto::of_floats("x", &axes);
    graph.output[0] = ValueInfoProto::of_floats("y", &[Dim::Fixed(3)]);
    graph.node[0] = mean(&[1, 2]);
    graph.node.remove(1);
    graph.node[1].input[0] = "pool".into();
    for engine in engines() {
        let model = load(&single, engine, declared());
        assert_eq!(model.spec().batch, Some(1));
        check(&model, &LOGITS, OutputKind::Logits);
    }
    // One channel without an axis of its own.
    let mut gray = GraphBuilder::new("gray");
    gray.input("x", Dim::batched([2, 2]))
        .output("y", Dim::batched([4]));
    gray.node("Flatten", "y", &["x"], "y");
    let gray = gray.finish().unwrap();
    for engine in engines() {
        let model = load(
            &gray,
            engine,
            Preprocessing::unit(2, 2, Channels::Gray).into(),
        );
        let scores = model.run(&IMAGES[..8], 2).unwrap();
        assert_eq!(scores.data, IMAGES[..8]);
    }
}

fn mean(axes: &[i64]) -> NodeProto {
    NodeProto {
        name: "pool".into(),
        op_type: "ReduceMean".into(),
        input: vec!["x".into()],
        output: vec!["pool".into()],
        attribute: vec![
            AttributeProto {
                name: "axes".into(),
                ints: axes.to_vec(),
                r#type: AttributeType::Ints as i32,
                ..AttributeProto::default()
            },
            AttributeProto {
                name: "keepdims".into(),
                i: Some(0),
                r#type: AttributeType::Int as i32,
                ..AttributeProto::default()
            },
        ],
        ..NodeProto::default()
    }
}

#[test]
fn one_score_becomes_two() {
    // The first channel's logit.
    let binary = |op: &'static str| {
        mean_of_channels(1, |graph| {
            graph.initializer("w", &[3, 1], vec![1.0_f32, 0.0, 0.0]);
            graph.node("MatMul", "one", &["logits", "w"], "one");
            graph.node(op, "y", &["one"], "y");
        })
    };
    let p = |logit: f32| 1.0 / (1.0 + (-logit).exp());
    for engine in engines() {
        let model = load(&binary("Sigmoid"), engine, declared());
        assert_eq!(model.labels(), ["negative", "positive"]);
        let [a, b] = [p(5.0), p(2.5)];
        check(&model, &[1.0 - a, a, 1.0 - b, b], OutputKind::Probabilities);
        let model = load(&binary("Identity"), engine, declared());
        check(&model, &[0.0, 5.0, 0.0, 2.5], OutputKind::Logits);
        let probabilities = model.run(&IMAGES, 2).unwrap().probabilities();
        assert!((probabilities[1] - a).abs() < 1e-6, "{probabilities:?}");
    }
}

#[test]
fn scores_that_test_images_show_to_be_probabilities_are_taken_for_them() {
    // x / sum(x) of numbers that are not negative, which no operator tells.
    let shares = mean_of_channels(3, |graph| {
        graph.initializer("little", &[1], vec![1e-3_f32]);
        graph.node("Add", "positive", &["logits", "little"], "positive");
        graph
            .node("ReduceL1", "sum", &["positive"], "sum")
            .ints("axes", [1]);
        graph.node("Div", "y", &["positive", "sum"], "y");
    });
    for engine in engines() {
        let model = load(&shares, engine, declared());
        assert_eq!(model.spec().origins.output, Origin::Values);
        let third = 2.5 / 3.75;
        let expected = [1.0, 0.0, 0.0, third, 1.0 - third, 0.0];
        check(&model, &expected, OutputKind::Probabilities);
        let model = load(&plain(), engine, declared());
        assert_eq!(model.spec().origins.output, Origin::Default);
    }
}

#[test]
fn probabilities_that_do_not_add_up_are_refused() {
    // A softmax over an axis of one: 1 for every class, without a word of the graph's.
    let wrong = mean_of_channels(3, |graph| {
        graph.initializer("shape", &[3], vec![0_i64, 3, 1]);
        graph.node("Reshape", "r", &["logits", "shape"], "r");
        graph.node("Softmax", "s", &["r"], "s").int("axis", 2);
        graph.node("Flatten", "y", &["s"], "y");
    });
    for engine in engines() {
        let model = load(&wrong, engine, declared());
        let error = model.run(&IMAGES, 2).unwrap_err();
        assert!(
            matches!(error, RunError::NoDistribution { index: 0, .. }),
            "{error}"
        );
    }
}

#[test]
fn the_output_that_fits_is_taken() {
    let mut two = mean_of_channels(3, |graph| {
        graph.node("Softmax", "y", &["logits"], "y").int("axis", 1);
    });
    let graph = two.graph.as_mut().unwrap();
    let pool = Dim::batched([3, 1, 1]);
    graph
        .output
        .insert(0, ValueInfoProto::of_floats("pool", &pool));
    for engine in engines() {
        let model = load(&two, engine, declared());
        assert_eq!(model.spec().output_name, "y");
        let e = 5.0_f32.exp();
        let [a, b] = [e / (e + 2.0), 1.0 / (e + 2.0)];
        let scores = model.run(&IMAGES[..12], 1).unwrap();
        assert!((scores.data[0] - a).abs() < 1e-6 && (scores.data[1] - b).abs() < 1e-6);
        let named = ModelOverrides {
            output_name: Some("pool".into()),
            output: Some(OutputKind::Logits),
            ..declared()
        };
        let scores = load(&two, engine, named).run(&IMAGES[..12], 1).unwrap();
        assert_eq!(scores.data, [1.0, 0.0, 0.0]);
    }
}

#[test]
fn a_batch_that_is_baked_in_is_run_image_by_image() {
    let mut baked = mean_of_channels(3, |graph| {
        graph.initializer("one row", &[2], vec![1_i64, -1]);
        graph.initializer(
            "w",
            &[3, 3],
            vec![1.0_f32, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        );
        graph.node("Reshape", "r", &["logits", "one row"], "r");
        graph.node("Gemm", "y", &["r", "w"], "y");
    });
    baked.producer_name = "traced with one image".into();
    for engine in engines() {
        let model = load(&baked, engine, declared());
        // tract makes runs of four, and one of those is enough to tell.
        let images = IMAGES.repeat(4);
        let scores = model.run(&images, 8).unwrap();
        assert!(model.runs_one_at_a_time(), "{engine}");
        for (found, expected) in scores.data.iter().zip(LOGITS.repeat(4)) {
            assert!((found - expected).abs() < 1e-5, "{:?}", scores.data);
        }
        assert!(!load(&plain(), engine, declared()).runs_one_at_a_time());
    }
}

#[test]
fn weights_beside_the_model_are_left_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    // Large enough not to be taken into the model.
    let weights: Vec<f32> = (0..1024)
        .map(|at| if at % 341 == 0 { 2.0 } else { 0.0 })
        .collect();
    let bytes: Vec<u8> = weights
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    fs::create_dir(folder.path().join("data")).unwrap();
    fs::write(folder.path().join("data/weights.bin"), bytes).unwrap();
    let mut model = mean_of_channels(3, |graph| {
        graph.initializer("w", &[3, 341], vec![0.0_f32; 1023]);
        graph.node("MatMul", "wide", &["logits", "w"], "wide");
        graph.initializer("starts", &[1], vec![0_i64]);
        graph.initializer("ends", &[1], vec![3_i64]);
        graph.initializer("axes", &[1], vec![1_i64]);
        graph.node("Slice", "y", &["wide", "starts", "ends", "axes"], "y");
    });
    let entry = |key: &str, value: &str| StringStringEntryProto {
        key: key.into(),
        value: value.into(),
    };
    let tensors = &mut model.graph.as_mut().unwrap().initializer;
    let tensor = tensors
        .iter_mut()
        .find(|tensor| tensor.name == "w")
        .unwrap();
    tensor.raw_data.clear();
    tensor.data_location = DataLocation::External as i32;
    tensor.external_data = vec![entry("location", "data/weights.bin"), entry("offset", "0")];
    fs::write(&path, encode(&model)).unwrap();
    for engine in engines() {
        let model = Model::open_with(&path, &options(engine, declared())).unwrap();
        // Row r of the weights has a 2 at column 0 only, and is 341 long.
        let scores = model.run(&IMAGES, 2).unwrap();
        assert_eq!(scores.data, [10.0, 0.0, 0.0, 7.5, 0.0, 0.0], "{engine}");
        // Bytes alone do not say where the others are.
        let error = Model::from_bytes(&fs::read(&path).unwrap(), &options(engine, declared()));
        assert!(
            error
                .unwrap_err()
                .to_string()
                .contains("keeps its values in another file, `data/weights.bin`")
        );
    }
}

#[test]
fn zeros_that_are_padded_before_a_pooling_stay_zeros() {
    // Every value is below zero but for the padding.
    let mut graph = GraphBuilder::new("padded");
    graph
        .input("x", Dim::batched([3, 2, 2]))
        .output("y", Dim::batched([3]));
    graph.initializer("pads", &[8], vec![0_i64, 0, 1, 1, 0, 0, 1, 1]);
    graph.initializer("one", &[1], vec![1.0_f32]);
    graph.node("Neg", "negative", &["x"], "negative");
    graph.node("Sub", "below", &["negative", "one"], "below");
    graph.node("Pad", "padded", &["below", "pads"], "padded");
    graph
        .node("MaxPool", "pooled", &["padded"], "pooled")
        .ints("kernel_shape", [2, 2])
        .ints("strides", [2, 2]);
    graph.node("GlobalMaxPool", "largest", &["pooled"], "largest");
    graph.node("Flatten", "y", &["largest"], "y");
    let padded = graph.finish().unwrap();
    for engine in engines() {
        let model = load(&padded, engine, declared());
        assert_eq!(model.run(&IMAGES, 2).unwrap().data, [0.0; 6], "{engine}");
    }
}

#[test]
fn a_strided_slice_takes_a_reshaped_value() {
    // Every second row of four, as in the attention of LeViT.
    let mut graph = GraphBuilder::new("strided");
    graph.opset(17);
    graph
        .input("x", Dim::batched([1, 4, 4]))
        .output("y", Dim::batched([4]));
    graph.initializer("sixteen", &[2], vec![0_i64, 16]);
    graph.initializer("square", &[4], vec![0_i64, 4, 4, 1]);
    graph.initializer("start", &[1], vec![0_i64]);
    graph.initializer("end", &[1], vec![4_i64]);
    graph.initializer("rows", &[1], vec![1_i64]);
    graph.initializer("columns", &[1], vec![2_i64]);
    graph.initializer("step", &[1], vec![2_i64]);
    graph.node("Reshape", "flat", &["x", "sixteen"], "flat");
    graph.node("Relu", "relu", &["flat"], "relu");
    graph.node("Reshape", "again", &["relu", "square"], "again");
    graph.node(
        "Slice",
        "some",
        &["again", "start", "end", "rows", "step"],
        "some",
    );
    graph.node(
        "Slice",
        "fewer",
        &["some", "start", "end", "columns", "step"],
        "fewer",
    );
    graph.node("Flatten", "y", &["fewer"], "y");
    let strided = graph.finish().unwrap();
    let image: Vec<f32> = (0..16_u8).map(f32::from).collect();
    for engine in engines() {
        let model = load(
            &strided,
            engine,
            Preprocessing::unit(4, 4, Channels::Gray).into(),
        );
        assert_eq!(
            model.run(&image, 1).unwrap().data,
            [0.0, 2.0, 8.0, 10.0],
            "{engine}"
        );
    }
}
