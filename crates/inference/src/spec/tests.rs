use kiln_model::{Preprocess, Steps};
use kiln_onnx::{DataType, GraphBuilder};

use super::*;
use crate::hint::Hint;

fn model(input: Vec<Dim>, output: Vec<Dim>, op: &str) -> ModelProto {
    let mut graph = GraphBuilder::new("g");
    graph.input("input", input).output("scores", output);
    graph.node(op, "last", &["input"], "scores");
    graph.finish().unwrap()
}

fn classifier() -> ModelProto {
    model(Dim::batched([1, 2, 2]), Dim::batched([2]), "Identity")
}

/// A model of another exporter, whose input has these axes after the batch; 0 is an open one.
fn third_party(axes: [usize; 3]) -> ModelProto {
    let axes = axes.map(|size| {
        if size == 0 {
            Dim::Unknown
        } else {
            Dim::Fixed(size)
        }
    });
    model(
        [vec![Dim::Unknown], axes.to_vec()].concat(),
        Dim::batched([2]),
        "Identity",
    )
}

fn declared() -> ModelOverrides {
    let labels = Some(vec!["a".into(), "b".into()]);
    ModelOverrides {
        labels,
        ..Preprocessing::unit(2, 2, Channels::Gray).into()
    }
}

fn torch() -> ModelOverrides {
    ModelOverrides {
        preprocess: Some(Preprocess::Torch),
        ..ModelOverrides::default()
    }
}

fn golden() -> kiln_onnx::Golden {
    let vector = kiln_onnx::GoldenVector {
        source: "a picture".into(),
        height: 1,
        width: 1,
        channels: 1,
        pixels: vec![7],
        scores: vec![0.5, 1.5],
        label: "b".into(),
        tolerance: 1e-4,
    };
    kiln_onnx::Golden {
        computed_by: "hand".into(),
        vectors: vec![vector],
    }
}

fn error(model: &ModelProto, declared: &ModelOverrides) -> String {
    ModelSpec::new(model, declared)
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default()
}

#[test]
fn what_is_declared_goes_before_the_file() {
    let mut model = classifier();
    model.set_metadata(&Metadata {
        preprocessing: Some(Preprocessing::raw(2, 2, Channels::Gray)),
        labels: Some(vec!["x".into(), "y".into()]),
        output: Some(OutputKind::Probabilities),
        ..Metadata::default()
    });
    let file = ModelSpec::new(&model, &ModelOverrides::default()).unwrap();
    assert_eq!(
        (file.labels[0].as_str(), file.output, file.batch),
        ("x", OutputKind::Probabilities, None)
    );
    let metadata = [
        file.origins.size,
        file.origins.channels,
        file.origins.normalization,
        file.origins.labels,
    ];
    assert_eq!(
        (metadata, file.origins.layout),
        ([Origin::Metadata; 4], Origin::Graph)
    );
    let given = ModelSpec::new(
        &model,
        &ModelOverrides {
            output: Some(OutputKind::Logits),
            ..declared()
        },
    )
    .unwrap();
    assert_eq!(
        (given.labels[0].as_str(), given.output),
        ("a", OutputKind::Logits)
    );
    assert_eq!(
        given.preprocessing,
        Preprocessing::unit(2, 2, Channels::Gray)
    );
    let only_labels = ModelOverrides {
        labels: Some(vec!["a".into(), "b".into()]),
        ..ModelOverrides::default()
    };
    let mixed = ModelSpec::new(&model, &only_labels).unwrap();
    assert_eq!(
        (mixed.labels[0].as_str(), mixed.preprocessing.scale),
        ("a", 1.0)
    );
    assert_eq!(
        (mixed.origins.labels, mixed.origins.normalization),
        (Origin::Declared, Origin::Metadata)
    );
}

#[test]
fn what_is_not_specified_is_an_error() {
    let labels_only = ModelOverrides {
        labels: declared().labels,
        ..ModelOverrides::default()
    };
    let preprocessing = error(&classifier(), &labels_only);
    assert!(
        preprocessing
            .contains("does not specify the preprocessing (metadata key `kiln.preprocessing`)")
    );
    let open = model(
        Dim::batched([1, 2, 2]),
        vec![Dim::Unknown, Dim::Unknown],
        "Identity",
    );
    let labels = error(
        &open,
        &ModelOverrides {
            labels: None,
            ..declared()
        },
    );
    assert!(
        labels.contains("does not specify the labels (metadata key `kiln.labels`)"),
        "{labels}"
    );
    let endless = model(Dim::batched([1, 2, 2]), Dim::batched([1 << 40]), "Identity");
    assert!(
        error(
            &endless,
            &ModelOverrides {
                labels: None,
                ..declared()
            }
        )
        .contains("does not specify the labels")
    );
    let size = error(&third_party([3, 0, 0]), &torch());
    assert!(
        size.contains("does not specify the size of the images"),
        "{size}"
    );
}

#[test]
fn the_graph_says_what_its_shapes_say() {
    for (axes, layout, origin) in [
        ([3, 4, 5], Layout::Nchw, Origin::Graph),
        ([4, 5, 3], Layout::Nhwc, Origin::Graph),
        ([3, 4, 3], Layout::Nchw, Origin::Default),
    ] {
        let spec = ModelSpec::new(&third_party(axes), &torch()).unwrap();
        assert_eq!(
            (spec.layout, spec.origins.layout),
            (layout, origin),
            "{axes:?}"
        );
        assert_eq!(layout.image_shape(spec.preprocessing.shape()), axes);
        assert_eq!(spec.labels, ["0", "1"]);
        let origins = [spec.origins.size, spec.origins.labels, spec.origins.output];
        assert_eq!(origins, [Origin::Graph, Origin::Default, Origin::Default]);
    }
    let open = ModelOverrides {
        size: Some([4, 5]),
        layout: Some(Layout::Nhwc),
        ..torch()
    };
    let spec = ModelSpec::new(&third_party([0, 0, 0]), &open).unwrap();
    assert_eq!(
        (spec.layout, spec.preprocessing),
        (Layout::Nhwc, Preprocessing::torch(4, 5))
    );
    let unit = ModelOverrides {
        preprocess: Some(Preprocess::Unit),
        ..ModelOverrides::default()
    };
    let gray = ModelSpec::new(&third_party([28, 28, 1]), &unit).unwrap();
    assert_eq!(
        (gray.preprocessing.channels, gray.layout),
        (Channels::Gray, Layout::Nhwc)
    );
}

#[test]
fn what_is_put_together_is_enough_in_the_file() {
    let mut model = third_party([4, 5, 3]);
    let labels = Some(vec!["a".into(), "b".into()]);
    let first = ModelSpec::new(&model, &ModelOverrides { labels, ..torch() }).unwrap();
    let provenance = [("seed".to_owned(), "7".to_owned())].into();
    let metadata = first.to_metadata(&Metadata {
        provenance,
        ..Metadata::default()
    });
    assert_eq!(metadata.provenance["seed"], "7");
    model.set_metadata(&metadata);
    let second = ModelSpec::new(&model, &ModelOverrides::default()).unwrap();
    assert_eq!(
        ModelSpec {
            origins: first.origins,
            ..second
        },
        first
    );
    // Golden vectors go where images are prepared otherwise, or classes called otherwise.
    let golden = golden();
    let file = Metadata {
        golden: Some(golden.clone()),
        ..metadata
    };
    assert_eq!(first.to_metadata(&file).golden, Some(golden));
    for other in [
        ModelOverrides {
            steps: Steps {
                antialias: Some(true),
                ..Steps::default()
            },
            ..torch()
        },
        ModelOverrides {
            labels: declared().labels,
            ..torch()
        },
    ] {
        let labels = other
            .labels
            .map(|labels| labels.into_iter().rev().collect());
        let changed = ModelSpec::new(&model, &ModelOverrides { labels, ..other }).unwrap();
        assert_eq!(changed.to_metadata(&file).golden, None);
    }
    // Numbers are not written as if they were names.
    let nameless = ModelSpec::new(&third_party([4, 5, 3]), &torch()).unwrap();
    assert_eq!(nameless.to_metadata(&Metadata::default()).labels, None);
}

#[test]
fn a_last_softmax_means_probabilities() {
    let softmax = model(Dim::batched([1, 2, 2]), Dim::batched([2]), "Softmax");
    assert_eq!(
        ModelSpec::new(&softmax, &declared()).unwrap().output,
        OutputKind::Probabilities
    );
    assert_eq!(
        ModelSpec::new(&classifier(), &declared()).unwrap().output,
        OutputKind::Logits
    );
    let mut graph = GraphBuilder::new("g");
    graph
        .input("input", Dim::batched([1, 2, 2]))
        .output("scores", Dim::batched([2]));
    graph.node("Softmax", "softmax", &["input"], "p");
    graph.node("Identity", "rename", &["p"], "scores");
    let renamed = ModelSpec::new(&graph.finish().unwrap(), &declared()).unwrap();
    assert_eq!(
        (renamed.output, renamed.origins.output),
        (OutputKind::Probabilities, Origin::Graph)
    );
}

#[test]
fn what_only_moves_or_converts_values_may_follow_a_softmax() {
    for op in [
        "Identity",
        "Cast",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
    ] {
        let mut graph = GraphBuilder::new("g");
        graph
            .input("input", Dim::batched([1, 2, 2]))
            .output("scores", Dim::batched([2]));
        graph.node("Softmax", "softmax", &["input"], "p");
        graph.node(op, "after", &["p"], "scores");
        let spec = ModelSpec::new(&graph.finish().unwrap(), &declared()).unwrap();
        assert_eq!(
            (spec.output, spec.origins.output),
            (OutputKind::Probabilities, Origin::Graph),
            "{op}"
        );
    }
}

/// A model whose scores go through these operators, one after another.
fn ending(operators: &[&str], classes: usize) -> ModelProto {
    let mut graph = GraphBuilder::new("g");
    graph
        .input("input", Dim::batched([1, 2, 2]))
        .output("scores", Dim::batched([classes]));
    let mut value = "input".to_owned();
    for (at, op) in operators.iter().enumerate() {
        let next = if at + 1 == operators.len() {
            "scores".to_owned()
        } else {
            format!("v{at}")
        };
        graph.node(op, &next, &[&value], &next);
        value = next;
    }
    graph.finish().unwrap()
}

#[test]
fn the_graph_says_what_its_scores_are() {
    use OutputKind::{LogProbabilities, Logits, Probabilities, Sigmoid};

    let kind = |operators: &[&str]| {
        let spec = ModelSpec::new(&ending(operators, 2), &declared()).unwrap();
        (spec.output, spec.origins.output, spec.scores.is_quantized)
    };
    for (operators, expected) in [
        (&["Flatten"][..], (Logits, Origin::Default, false)),
        (&["Sigmoid"], (Sigmoid, Origin::Graph, false)),
        (&["Sigmoid", "Cast"], (Sigmoid, Origin::Graph, false)),
        (&["LogSoftmax"], (LogProbabilities, Origin::Graph, false)),
        (
            &["Softmax", "Log"],
            (LogProbabilities, Origin::Graph, false),
        ),
        (
            &["Softmax", "QuantizeLinear", "DequantizeLinear"],
            (Probabilities, Origin::Graph, true),
        ),
        (
            &["Softmax", "Reshape", "Slice", "Cast"],
            (Probabilities, Origin::Graph, false),
        ),
        (&["Softmax", "Relu"], (Logits, Origin::Default, false)),
    ] {
        assert_eq!(kind(operators), expected, "{operators:?}");
    }
}

#[test]
fn a_sigmoid_gives_probabilities_of_no_distribution() {
    let model = ending(&["Sigmoid"], 2);
    for (said, expected) in [
        (OutputKind::Probabilities, OutputKind::Sigmoid),
        (OutputKind::Sigmoid, OutputKind::Sigmoid),
        (OutputKind::Logits, OutputKind::Logits),
    ] {
        let said = ModelOverrides {
            output: Some(said),
            ..declared()
        };
        assert_eq!(ModelSpec::new(&model, &said).unwrap().output, expected);
    }
}

/// The probabilities of `scores` in a graph by its own nodes.
fn written_out(nodes: &[(&str, &[&str], &str)]) -> Option<OutputKind> {
    let mut graph = GraphBuilder::new("g");
    graph
        .input("input", Dim::batched([1, 2, 2]))
        .output("scores", Dim::batched([2]));
    graph.initializer("one", &[1], vec![1.0_f32]);
    graph.initializer("half", &[1], vec![0.5_f32]);
    for (op, inputs, output) in nodes {
        graph.node(op, output, inputs, output);
    }
    let spec = ModelSpec::new(&graph.finish().unwrap(), &declared()).unwrap();
    (spec.origins.output == Origin::Graph).then_some(spec.output)
}

#[test]
fn functions_that_are_written_out_are_known() {
    let softmax: &[(&str, &[&str], &str)] = &[
        ("ReduceMax", &["input"], "m"),
        ("Sub", &["input", "m"], "d"),
        ("Exp", &["d"], "e"),
        ("ReduceSum", &["e"], "s"),
        ("Div", &["e", "s"], "scores"),
    ];
    assert_eq!(written_out(softmax), Some(OutputKind::Probabilities));
    let other: &[(&str, &[&str], &str)] = &[
        ("Exp", &["input"], "e"),
        ("Exp", &["input"], "f"),
        ("ReduceSum", &["f"], "s"),
        ("Div", &["e", "s"], "scores"),
    ];
    assert_eq!(written_out(other), None);
    let logistic = |constant| {
        written_out(&[
            ("Neg", &["input"], "n"),
            ("Exp", &["n"], "e"),
            ("Add", &["e", constant], "s"),
            ("Div", &["one", "s"], "scores"),
        ])
    };
    assert_eq!(logistic("one"), Some(OutputKind::Sigmoid));
    assert_eq!(logistic("half"), None);
    let log: &[(&str, &[&str], &str)] = &[
        ("Exp", &["input"], "e"),
        ("ReduceSum", &["e"], "s"),
        ("Log", &["s"], "l"),
        ("Sub", &["input", "l"], "scores"),
    ];
    assert_eq!(written_out(log), Some(OutputKind::LogProbabilities));
}

#[test]
fn a_softmax_over_the_batch_is_refused() {
    let over = |axis: Option<i64>| {
        let mut model = ending(&["Flatten", "Softmax", "Cast"], 2);
        let node = &mut model.graph.as_mut().unwrap().node[1];
        node.attribute
            .extend(axis.map(|axis| kiln_onnx::AttributeProto {
                name: "axis".into(),
                i: Some(axis),
                ..Default::default()
            }));
        error(&model, &declared())
    };
    for axis in [0, -2] {
        let message = over(Some(axis));
        assert!(
            message.contains("(Softmax) is taken over the batch"),
            "{message}"
        );
    }
    for axis in [None, Some(1), Some(-1)] {
        assert_eq!(over(axis), "");
    }
}

#[test]
fn random_numbers_are_refused() {
    let message = error(&ending(&["RandomUniformLike", "Flatten"], 2), &declared());
    assert_eq!(
        message,
        "node `v0` (RandomUniformLike) draws random numbers: scores would differ from run to run"
    );
}

#[test]
fn one_score_is_that_of_the_second_of_two_classes() {
    let binary = ending(&["Sigmoid"], 1);
    let with = |labels: Option<&[&str]>| ModelOverrides {
        labels: labels.map(|labels| labels.iter().map(|&label| label.to_owned()).collect()),
        ..declared()
    };
    let spec = ModelSpec::new(&binary, &with(None)).unwrap();
    assert!(spec.scores.is_binary);
    assert_eq!(spec.labels, ["negative", "positive"]);
    let spec = ModelSpec::new(&binary, &with(Some(&["no", "yes"]))).unwrap();
    assert_eq!(spec.kind_of_scores(), OutputKind::Probabilities);
    for labels in [&["yes"][..], &["a", "b", "c"]] {
        let message = error(&binary, &with(Some(labels)));
        assert!(
            message.contains("one score for each image, which takes 2 labels"),
            "{message}"
        );
    }
    let open = model(
        Dim::batched([1, 2, 2]),
        vec![Dim::Unknown, Dim::Unknown],
        "Identity",
    );
    assert!(error(&open, &with(Some(&["yes"]))).contains("takes 2 labels, found 1"));
}

/// A model with the outputs `features`, of 16, and `scores`, of 2 classes.
fn two_outputs(op: &str) -> ModelProto {
    let mut graph = GraphBuilder::new("g");
    graph
        .input("input", Dim::batched([1, 2, 2]))
        .output("features", Dim::batched([16]))
        .output("scores", Dim::batched([2]));
    graph.node("Relu", "a", &["input"], "features");
    graph.node(op, "b", &["input"], "scores");
    graph.finish().unwrap()
}

#[test]
fn the_output_with_the_scores_is_found_or_named() {
    let found = |op: &str, declared: &ModelOverrides| {
        let spec = ModelSpec::new(&two_outputs(op), declared).unwrap();
        (
            spec.output_name,
            spec.origins.output_name,
            spec.labels.len(),
        )
    };
    // By the labels.
    let expected = ("scores".to_owned(), Origin::Graph, 2);
    assert_eq!(found("Relu", &declared()), expected);
    // As the only one that is known to be probabilities.
    let unlabeled = ModelOverrides {
        labels: None,
        ..declared()
    };
    assert_eq!(found("Softmax", &unlabeled), expected);
    // Else the first, as ever.
    let first = ("features".to_owned(), Origin::Default, 16);
    assert_eq!(found("Relu", &unlabeled), first);
    let named = |name: &str| ModelOverrides {
        output_name: Some(name.to_owned()),
        ..unlabeled.clone()
    };
    let expected = ("scores".to_owned(), Origin::Declared, 2);
    assert_eq!(found("Relu", &named("scores")), expected);
    let message = error(&two_outputs("Relu"), &named("logits"));
    assert_eq!(
        message,
        "the graph has no output `logits`, but `features`, `scores`"
    );
    // A copy says it.
    let spec = ModelSpec::new(&two_outputs("Relu"), &named("scores")).unwrap();
    let metadata = spec.to_metadata(&Metadata::default());
    assert_eq!(metadata.output_name.as_deref(), Some("scores"));
}

#[test]
fn a_fixed_batch_is_found_and_bounded() {
    let fixed = |batch| {
        model(
            [batch, 1, 2, 2].map(Dim::Fixed).to_vec(),
            Dim::batched([2]),
            "Identity",
        )
    };
    assert_eq!(
        ModelSpec::new(&fixed(4), &declared()).unwrap().batch,
        Some(4)
    );
    assert!(error(&fixed(0), &declared()).contains("[0, 1, 2, 2]: a batch of 0 images"));
    assert!(error(&fixed(1 << 40), &declared()).contains("a batch takes over 1 GiB"));
}

#[test]
fn an_input_of_another_shape_is_refused() {
    for shape in [vec![3, 2, 2], vec![1, 2, 3], vec![2, 3, 1]] {
        let message = error(
            &model(Dim::batched(shape), Dim::batched([2]), "Identity"),
            &declared(),
        );
        assert!(
            message.contains("expected one float32 input [batch, ")
                && message.contains("found `input` float [")
        );
    }
    let message = error(
        &model(Dim::batched([1, 2, 3]), Dim::batched([2]), "Identity"),
        &declared(),
    );
    assert!(
        message.contains("[batch, 1, 2, 2], found `input` float [batch, 1, 2, 3]"),
        "{message}"
    );
    let message = error(
        &model(Dim::batched([4]), Dim::batched([2]), "Identity"),
        &declared(),
    );
    assert!(
        message.contains("[batch, channels, height, width], found `input` float [batch, 4]"),
        "{message}"
    );
}

#[test]
fn several_inputs_are_refused() {
    let mut graph = GraphBuilder::new("g");
    graph
        .input("a", Dim::batched([1, 2, 2]))
        .input("b", Dim::batched([1]))
        .output("y", Dim::batched([2]));
    graph.node("Sum", "sum", &["a", "b"], "y");
    let error = ModelSpec::new(&graph.finish().unwrap(), &declared()).unwrap_err();
    assert_eq!(error.hint(), Some(Hint::ImageInput));
    assert!(
        error
            .to_string()
            .contains("expected one float32 input [batch, channels, height, width], found `a` float [batch, 1, 2, 2], `b` float [batch, 1]")
    );
}

#[test]
fn as_many_labels_as_classes() {
    let message = error(
        &classifier(),
        &ModelOverrides {
            labels: Some(vec!["only".into()]),
            ..declared()
        },
    );
    assert!(
        message.contains("[batch, 1] for 1 label, found `scores` float [batch, 2]"),
        "{message}"
    );
    let flat = model(Dim::batched([1, 2, 2]), Dim::batched([]), "Identity");
    assert!(ModelSpec::new(&flat, &declared()).unwrap().scores.is_binary);
    let pooled = model(Dim::batched([1, 2, 2]), Dim::batched([2, 1, 1]), "Identity");
    assert!(ModelSpec::new(&pooled, &declared()).is_ok());
}

#[test]
fn pixels_take_what_the_graph_says_and_nothing_else_is_done_to_them() {
    let pixels = |shape: [usize; 3]| {
        let mut graph = GraphBuilder::new("g");
        graph
            .input_of(DataType::Uint8, "input", Dim::batched(shape))
            .output("scores", Dim::batched([2]));
        graph
            .node("Cast", "last", &["input"], "scores")
            .int("to", DataType::Float as i64);
        graph.finish().unwrap()
    };
    let spec = ModelSpec::new(&pixels([2, 4, 3]), &ModelOverrides::default()).unwrap();
    assert_eq!((spec.input, spec.layout), (InputKind::Pixels, Layout::Nhwc));
    assert_eq!(spec.preprocessing, Preprocessing::raw(2, 4, Channels::Rgb));
    let raw = Preprocessing::raw(2, 3, Channels::Rgb).into();
    let message = error(
        &pixels([3, 2, 3]),
        &ModelOverrides {
            layout: Some(Layout::Nhwc),
            ..raw
        },
    );
    assert!(
        message
            .contains("expected one uint8 input [batch, 2, 3, 3], found `input` uint8 [batch, 3,"),
        "{message}"
    );
    let scaled = Preprocessing::unit(2, 3, Channels::Rgb).into();
    assert!(
        error(&pixels([2, 3, 3]), &scaled)
            .contains("takes uint8 pixels, but the preprocessing scales or shifts")
    );
}
