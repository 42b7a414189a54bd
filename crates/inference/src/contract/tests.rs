use kiln_onnx::GraphBuilder;
use kiln_spec::{Channels, Preprocessing};

use super::*;

fn model(input: Vec<Dim>, output: Vec<Dim>, op: &str) -> ModelProto {
    let mut graph = GraphBuilder::new("g");
    graph.input("input", input).output("scores", output);
    graph.node(op, "last", &["input"], "scores");
    graph.finish().unwrap()
}

fn classifier() -> ModelProto {
    model(Dim::batched([1, 2, 2]), Dim::batched([2]), "Identity")
}

fn options() -> Options {
    Options {
        preprocessing: Some(Preprocessing::unit(2, 2, Channels::Gray)),
        labels: Some(vec!["a".into(), "b".into()]),
        ..Options::default()
    }
}

fn error(model: &ModelProto, options: &Options) -> String {
    Contract::new(model, options).err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn the_options_go_before_the_file() {
    let mut model = classifier();
    model.set_metadata(&Metadata {
        preprocessing: Some(Preprocessing::raw(2, 2, Channels::Gray)),
        labels: Some(vec!["x".into(), "y".into()]),
        output: Some(OutputKind::Probabilities),
        ..Metadata::default()
    });
    let file = Contract::new(&model, &Options::default()).unwrap();
    assert_eq!((file.labels[0].as_str(), file.output_kind, file.batch), ("x", OutputKind::Probabilities, None));
    let given = Contract::new(&model, &Options { output: Some(OutputKind::Logits), ..options() }).unwrap();
    assert_eq!((given.labels[0].as_str(), given.output_kind), ("a", OutputKind::Logits));
    assert_eq!(given.preprocessor.record(), &Preprocessing::unit(2, 2, Channels::Gray));
}

#[test]
fn what_nobody_says_is_an_error() {
    let preprocessing = error(&classifier(), &Options { preprocessing: None, ..options() });
    assert!(preprocessing.contains("does not say the preprocessing (metadata key `kiln.preprocessing`)"));
    let labels = error(&classifier(), &Options { labels: None, ..options() });
    assert!(labels.contains("does not say the labels (metadata key `kiln.labels`)"), "{labels}");
}

#[test]
fn a_last_softmax_means_probabilities() {
    let softmax = model(Dim::batched([1, 2, 2]), Dim::batched([2]), "Softmax");
    assert_eq!(Contract::new(&softmax, &options()).unwrap().output_kind, OutputKind::Probabilities);
    assert_eq!(Contract::new(&classifier(), &options()).unwrap().output_kind, OutputKind::Logits);
}

#[test]
fn a_fixed_batch_is_found() {
    let fixed = [4, 1, 2, 2].map(Dim::Fixed).to_vec();
    let model = model(fixed, Dim::batched([2]), "Identity");
    assert_eq!(Contract::new(&model, &options()).unwrap().batch, Some(4));
}

#[test]
fn an_input_of_another_shape_is_refused() {
    for shape in [vec![3, 2, 2], vec![1, 2, 3], vec![2, 2, 1], vec![4]] {
        let message = error(&model(Dim::batched(shape), Dim::batched([2]), "Identity"), &options());
        assert!(message.contains("expected one float32 input [batch, 1, 2, 2], found `input` float ["), "{message}");
    }
    let empty = model([0, 1, 2, 2].map(Dim::Fixed).to_vec(), Dim::batched([2]), "Identity");
    assert!(error(&empty, &options()).contains("[0, 1, 2, 2]"));
}

#[test]
fn several_inputs_are_refused() {
    let mut graph = GraphBuilder::new("g");
    graph.input("a", Dim::batched([1, 2, 2])).input("b", Dim::batched([1])).output("y", Dim::batched([2]));
    graph.node("Sum", "sum", &["a", "b"], "y");
    let message = error(&graph.finish().unwrap(), &options());
    assert!(message.contains("`a` float [batch, 1, 2, 2], `b` float [batch, 1]: kiln runs models with a single input"));
}

#[test]
fn as_many_labels_as_classes() {
    let message = error(&classifier(), &Options { labels: Some(vec!["only".into()]), ..options() });
    assert!(message.contains("[batch, 1] for 1 labels, found `scores` float [batch, 2]"), "{message}");
    let flat = model(Dim::batched([1, 2, 2]), Dim::batched([]), "Identity");
    assert!(error(&flat, &options()).contains("found `scores` float [batch]"));
}

#[test]
fn pixels_are_nhwc_and_nothing_else_is_done_to_them() {
    let pixels = |shape: [usize; 3]| {
        let mut graph = GraphBuilder::new("g");
        graph.input_of(DataType::Uint8, "input", Dim::batched(shape)).output("scores", Dim::batched([2]));
        graph.node("Cast", "last", &["input"], "scores").int("to", DataType::Float as i64);
        graph.finish().unwrap()
    };
    let raw = Options { preprocessing: Some(Preprocessing::raw(2, 3, Channels::Rgb)), ..options() };
    assert_eq!(Contract::new(&pixels([2, 3, 3]), &raw).unwrap().input, InputKind::Pixels);
    let message = error(&pixels([3, 2, 3]), &raw);
    assert!(message.contains("expected one uint8 input [batch, 2, 3, 3], found `input` uint8 [batch, 3,"), "{message}");
    let scaled = Options { preprocessing: Some(Preprocessing::unit(2, 3, Channels::Rgb)), ..options() };
    assert!(error(&pixels([2, 3, 3]), &scaled).contains("takes uint8 pixels, but the preprocessing scales or shifts"));
}
