use std::collections::BTreeSet;

use kiln_model::{Param, Recipe};
use kiln_run::Tensor;

use super::*;

fn model(layers: &str) -> Model {
    let size = ["input.height=6".to_string(), "input.width=6".to_string()];
    Recipe::parse(layers, "test.toml", "test", &size)
        .unwrap()
        .model()
        .clone()
}

/// Weights that are all different, variances positive.
fn weights(model: &Model) -> Weights {
    let tensor = |p: &Param| {
        let data = (0..p.len()).map(|i| 0.5 + i as f32 / 64.0).collect();
        (
            p.name.clone(),
            Tensor {
                shape: p.shape.clone(),
                data,
            },
        )
    };
    model.params().map(tensor).collect()
}

fn options() -> Options {
    Options {
        labels: (0..10).map(|digit| digit.to_string()).collect(),
        ..Options::default()
    }
}

const REPORT: &str = r#"
[[layers]]
type = "conv2d"
filters = 2
kernel_size = 3
activation = "relu"
[[layers]]
type = "batch_norm"
[[layers]]
type = "max_pool"
[[layers]]
type = "dropout"
rate = 0.5
[[layers]]
type = "flatten"
[[layers]]
type = "dense"
units = 10
activation = "softmax"
"#;

fn nodes(exported: &Exported) -> Vec<(String, String, String)> {
    let graph = exported.proto.graph.as_ref().unwrap();
    graph
        .node
        .iter()
        .map(|n| (n.op_type.clone(), n.name.clone(), n.output[0].clone()))
        .collect()
}

fn triple(op: &str, name: &str, output: &str) -> (String, String, String) {
    (op.into(), name.into(), output.into())
}

#[test]
fn nodes_and_values_carry_the_layers_names() {
    let model = model(REPORT);
    let exported = export(&model, &weights(&model), &options()).unwrap();
    assert_eq!(
        nodes(&exported),
        [
            triple("Conv", "conv2d", "conv2d.linear"),
            triple("Relu", "conv2d.relu", "conv2d"),
            triple("BatchNormalization", "batch_norm", "batch_norm"),
            triple("MaxPool", "max_pool", "max_pool"),
            triple("Flatten", "flatten", "flatten"),
            triple("Gemm", "dense", "logits"),
        ]
    );
    let names: Vec<_> = exported
        .layers
        .iter()
        .map(|(layer, value)| (layer.as_str(), value.as_str()))
        .collect();
    assert_eq!(names[0], ("conv2d", "conv2d"));
    assert_eq!(names[4], ("dense", "logits"));
    let graph = exported.proto.graph.as_ref().unwrap();
    let initializers: BTreeSet<_> = graph.initializer.iter().map(|t| t.name.clone()).collect();
    assert_eq!(
        initializers,
        model.params().map(|p| p.name.clone()).collect()
    );
}

#[test]
fn the_file_says_how_to_classify_an_image() {
    let model = model(REPORT);
    let exported = export(&model, &weights(&model), &options()).unwrap();
    let metadata = exported.proto.metadata().unwrap();
    assert_eq!(metadata.preprocessing.as_ref(), Some(model.preprocessing()));
    assert_eq!(metadata.labels, Some(options().labels));
    assert_eq!(metadata.output, Some(OutputKind::Logits));
}

#[test]
fn scores_by_themselves_end_in_a_sigmoid_where_that_is_asked_for() {
    let text = "layers = [{ type = \"flatten\" }, { type = \"dense\", units = 1 }]\n\
                [data]\nfolder = \"x\"\n[training]\nloss = \"binary_crossentropy\"";
    let recipe = Recipe::parse(text, "test.toml", "test", &[]).unwrap();
    let model = recipe.model();
    let of = |output, labels: &[&str]| {
        let options = Options {
            output,
            labels: labels.iter().map(ToString::to_string).collect(),
            ..Options::default()
        };
        export(model, &weights(model), &options)
    };
    let sigmoid = of(OutputKind::Sigmoid, &["no", "yes"]).unwrap();
    assert_eq!(
        nodes(&sigmoid).last(),
        Some(&triple("Sigmoid", "probabilities", "probabilities"))
    );
    let logits = of(OutputKind::SigmoidLogits, &["no", "yes"]).unwrap();
    assert_eq!(nodes(&logits).last().unwrap().0, "Gemm");
    let metadata = logits.proto.metadata().unwrap();
    assert_eq!(metadata.output, Some(OutputKind::SigmoidLogits));
    for (output, labels) in [
        (OutputKind::SigmoidLogits, &["yes"][..]),
        (OutputKind::Logits, &["no", "yes"]),
    ] {
        let error = of(output, labels).unwrap_err();
        assert!(matches!(error, ExportError::Labels { .. }), "{error}");
    }
}

#[test]
fn softmax_is_there_only_when_asked_for() {
    let model = model(REPORT);
    let exported = export(
        &model,
        &weights(&model),
        &Options {
            output: OutputKind::Probabilities,
            ..options()
        },
    )
    .unwrap();
    assert_eq!(
        nodes(&exported).last(),
        Some(&triple("Softmax", "probabilities", "probabilities"))
    );
    assert_eq!(
        exported.proto.metadata().unwrap().output,
        Some(OutputKind::Probabilities)
    );
    let outputs: Vec<_> = exported
        .proto
        .graph
        .unwrap()
        .output
        .into_iter()
        .map(|o| o.name)
        .collect();
    assert_eq!(outputs, ["probabilities"]);
}

#[test]
fn every_layers_shape_is_written_down() {
    let model = model(REPORT);
    let exported = export(&model, &weights(&model), &options()).unwrap();
    let shapes: Vec<_> = exported
        .proto
        .graph
        .unwrap()
        .value_info
        .into_iter()
        .map(|value| value.name)
        .collect();
    assert_eq!(shapes, ["conv2d", "batch_norm", "max_pool", "flatten"]);
}

#[test]
fn normalization_is_folded_where_nothing_stands_between() {
    let layers = "layers = [{ type = \"flatten\" }, { type = \"dense\", units = 10, use_bias = false }, { type = \"batch_norm\" }]";
    let model = model(layers);
    let weights = weights(&model);
    let exported = export(&model, &weights, &options()).unwrap();
    assert_eq!(
        nodes(&exported),
        [
            triple("Flatten", "flatten", "flatten"),
            triple("Gemm", "dense", "logits")
        ]
    );
    assert_eq!(
        exported.layers.last(),
        Some(&("batch_norm".to_string(), "logits".to_string()))
    );
    // One input, by hand: all ones through the original two layers and through the folded one.
    let graph = exported.proto.graph.unwrap();
    let floats = |name: &str| {
        let tensor = graph.initializer.iter().find(|t| t.name == name).unwrap();
        let (bytes, _) = tensor.raw_data.as_chunks::<4>();
        bytes
            .iter()
            .map(|b| f64::from(f32::from_le_bytes(*b)))
            .collect::<Vec<_>>()
    };
    let folded: Vec<f64> = floats("dense.weight")
        .chunks(36)
        .zip(floats("dense.bias"))
        .map(|(row, b)| row.iter().sum::<f64>() + b)
        .collect();
    let get = |name: &str| {
        weights
            .get(name)
            .unwrap()
            .data
            .iter()
            .map(|&x| f64::from(x))
            .collect::<Vec<_>>()
    };
    let (gamma, beta) = (get("batch_norm.weight"), get("batch_norm.bias"));
    let (mean, var) = (
        get("batch_norm.running_mean"),
        get("batch_norm.running_var"),
    );
    for (at, row) in get("dense.weight").chunks(36).enumerate() {
        let y = row.iter().sum::<f64>();
        let expected = (y - mean[at]) / (var[at] + 1e-3).sqrt() * gamma[at] + beta[at];
        assert!(
            (folded[at] - expected).abs() < 1e-4,
            "{} {expected}",
            folded[at]
        );
    }
}

#[test]
fn an_activation_between_keeps_normalization_apart() {
    let layers = "layers = [{ type = \"flatten\" }, { type = \"dense\", units = 10, activation = \"relu\" }, { type = \"batch_norm\" }]";
    let model = model(layers);
    let exported = export(&model, &weights(&model), &options()).unwrap();
    assert_eq!(
        nodes(&exported).last(),
        Some(&triple("BatchNormalization", "batch_norm", "logits"))
    );
}

#[test]
fn same_padding_is_written_out() {
    let layers = "layers = [{ type = \"conv2d\", filters = 1, kernel_size = [3, 2], strides = 2, padding = \"same\" }, { type = \"flatten\" }, { type = \"dense\", units = 10 }]";
    let model = model(layers);
    let exported = export(&model, &weights(&model), &options()).unwrap();
    let graph = exported.proto.graph.unwrap();
    let pads = graph.node[0]
        .attribute
        .iter()
        .find(|a| a.name == "pads")
        .unwrap();
    assert_eq!(pads.ints, [0, 0, 1, 0]);
}

#[test]
fn weights_or_labels_that_do_not_fit_are_refused() {
    let model = model(REPORT);
    let good = weights(&model);
    let mut infinite = good.clone();
    infinite.get_mut("conv2d.bias").unwrap().data[0] = f32::INFINITY;
    let error = export(&model, &infinite, &options())
        .unwrap_err()
        .to_string();
    assert!(error.contains("`conv2d.bias`"), "{error}");
    let error = export(&model, &good, &Options::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("10 classes, but there are 0 labels"),
        "{error}"
    );
    let mut missing = good;
    missing.remove("dense.weight");
    assert!(export(&model, &missing, &options()).is_err());
}

fn of_pixels(preprocess: &str) -> Exported {
    let head = "layers = [{ type = \"flatten\" }, { type = \"dense\", units = 10 }]\n";
    let input = format!("[input]\nheight = 4\nwidth = 5\npreprocess = \"{preprocess}\"");
    let model = Recipe::parse(&format!("{head}{input}"), "test.toml", "test", &[])
        .unwrap()
        .model()
        .clone();
    export(
        &model,
        &weights(&model),
        &Options {
            uint8_input: true,
            output: OutputKind::Probabilities,
            ..options()
        },
    )
    .unwrap()
}

#[test]
fn pixels_are_prepared_in_as_few_nodes_as_there_are_things_to_do() {
    let operators = |preprocess: &str| -> Vec<String> {
        let names = nodes(&of_pixels(preprocess))
            .into_iter()
            .map(|(op, _, _)| op);
        names.take_while(|op| op != "Flatten").collect()
    };
    assert_eq!(operators("raw"), ["Cast", "Transpose"]);
    assert_eq!(operators("unit"), ["Cast", "Transpose", "Mul"]);
    assert_eq!(operators("caffe"), ["Cast", "Transpose", "Gather", "Add"]);
    assert_eq!(operators("torch"), ["Cast", "Transpose", "Mul", "Add"]);
}

#[test]
fn a_graph_of_pixels_says_that_it_takes_them() {
    let exported = of_pixels("caffe");
    let [input] = exported.proto.inputs().try_into().unwrap();
    assert_eq!(
        (input.name.as_str(), input.data_type),
        ("input", Some(kiln_onnx::DataType::Uint8))
    );
    assert_eq!(input.shape, Some(Dim::batched([4, 5, 3])));
    let metadata = exported.proto.metadata().unwrap();
    // Turning a photograph upright is left to whoever decodes it.
    let left = Preprocessing {
        orientation: true,
        ..Preprocessing::raw(4, 5, kiln_model::Channels::Rgb)
    };
    assert_eq!(metadata.preprocessing, Some(left));
    assert_eq!(metadata.output, Some(OutputKind::Probabilities));
}

#[test]
fn features_are_no_pixels() {
    let model = model(REPORT);
    let options = Options {
        first_layer: 4,
        uint8_input: true,
        ..options()
    };
    let error = export(&model, &weights(&model), &options)
        .unwrap_err()
        .to_string();
    assert!(error.contains("begins with layer 4"), "{error}");
}

const BLOCKS: &str = r#"
layers = [
  { type = "residual", name = "layer1_0", activation = "relu", drop_rate = 0.2, layers = [
    { type = "conv2d", name = "conv1", filters = 2, kernel_size = 3, padding = 1, use_bias = false },
    { type = "batch_norm", name = "bn1" },
    { type = "relu" },
    { type = "dropout", rate = 0.5 },
    { type = "conv2d", name = "conv2", filters = 2, kernel_size = 1 },
  ], shortcut = [{ type = "conv2d", name = "downsample", filters = 2, kernel_size = 1 }, { type = "batch_norm" }] },
  { type = "depthwise_conv2d", kernel_size = 3 },
  { type = "batch_norm" },
  { type = "branches", join = "concatenate", branches = [[], [{ type = "batch_norm" }]] },
  { type = "sequential", layers = [{ type = "flatten" }, { type = "dropout", rate = 0.5 }] },
  { type = "dense", units = 10 },
]
"#;

#[test]
fn layers_of_layers_are_written_node_by_node() {
    let model = model(BLOCKS);
    let weights = weights(&model);
    let exported = export(&model, &weights, &options()).unwrap();
    assert_eq!(
        nodes(&exported),
        [
            // Normalization is folded, and what only training has is left out.
            triple("Conv", "layer1_0.conv1", "layer1_0.bn1"),
            triple("Relu", "layer1_0.relu", "layer1_0.relu"),
            triple("Conv", "layer1_0.conv2", "layer1_0.conv2"),
            triple("Conv", "layer1_0.downsample", "layer1_0.batch_norm"),
            triple("Add", "layer1_0.add", "layer1_0.add"),
            triple("Relu", "layer1_0.relu_1", "layer1_0"),
            // Past the end of a layer too.
            triple("Conv", "depthwise_conv2d", "batch_norm"),
            triple(
                "BatchNormalization",
                "branches.batch_norm",
                "branches.batch_norm"
            ),
            triple("Concat", "branches.concat", "branches"),
            triple("Flatten", "sequential.flatten", "sequential"),
            triple("Gemm", "dense", "logits"),
        ]
    );
    let layers: Vec<_> = exported.layers.iter().map(|(layer, _)| layer).collect();
    assert_eq!(
        layers,
        ["layer1_0", "batch_norm", "branches", "sequential", "dense"]
    );
    let graph = exported.proto.graph.as_ref().unwrap();
    let shapes: Vec<_> = graph.value_info.iter().map(|value| &value.name).collect();
    assert_eq!(shapes, ["layer1_0", "batch_norm", "branches", "sequential"]);
    let inputs = |name: &str| {
        let node = graph.node.iter().find(|node| node.name == name).unwrap();
        node.input.clone()
    };
    assert_eq!(
        inputs("layer1_0.conv1"),
        ["input", "layer1_0.conv1.weight", "layer1_0.conv1.bias"]
    );
    assert_eq!(
        inputs("layer1_0.add"),
        ["layer1_0.conv2", "layer1_0.batch_norm"]
    );
    assert_eq!(
        inputs("branches.concat"),
        ["batch_norm", "branches.batch_norm"]
    );
}

/// A convolution whose output two nodes take is not changed by the normalization that one of them is.
#[test]
fn normalization_of_a_value_that_others_take_stays() {
    let text = "layers = [{ type = \"conv2d\", filters = 2, kernel_size = 3 }, \
                { type = \"residual\", layers = [{ type = \"batch_norm\" }] }, { type = \"flatten\" }, \
                { type = \"dense\", units = 10 }]";
    let model = model(text);
    let exported = export(&model, &weights(&model), &options()).unwrap();
    let operators: Vec<_> = nodes(&exported).into_iter().map(|(op, _, _)| op).collect();
    assert_eq!(
        operators,
        ["Conv", "BatchNormalization", "Add", "Flatten", "Gemm"]
    );
}

#[test]
fn every_activation_is_an_operator_of_opset_18() {
    for (word, expected) in [
        ("relu6", &["Clip"][..]),
        ("hard_sigmoid", &["HardSigmoid"]),
        ("hard_swish", &["HardSwish"]),
        ("silu", &["Sigmoid", "Mul"]),
        ("gelu", &["Div", "Erf", "Add", "Mul", "Mul"]),
    ] {
        let text = format!(
            "layers = [{{ type = \"activation\", activation = \"{word}\" }}, {{ type = \"flatten\" }}, \
             {{ type = \"dense\", units = 10 }}]"
        );
        let model = model(&text);
        let exported = export(&model, &weights(&model), &options()).unwrap();
        let operators: Vec<_> = nodes(&exported).into_iter().map(|(op, _, _)| op).collect();
        assert_eq!(operators[..expected.len()], *expected);
    }
}
