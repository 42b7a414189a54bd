use kiln_assets::{Asset, Cache, Fetcher, Silent};
use kiln_model::Recipe;
use kiln_trainer::initial_weights;

use kiln_inference::OrtOptions;

use super::*;
use crate::CachedAssets;

#[test]
fn every_pair_is_compared_and_judged() {
    let outputs = vec![
        ("a", vec![1.0, 2.0]),
        ("b", vec![1.0, 2.00001]),
        ("c", vec![1.0, 2.1]),
    ];
    let compared = compare(&outputs, 1, 2, TOLERANCE).unwrap();
    let found: Vec<_> = compared
        .iter()
        .map(|c| (c.reference.as_ref(), c.other.as_ref(), c.passed))
        .collect();
    assert_eq!(
        found,
        [("a", "b", true), ("a", "c", false), ("b", "c", false)]
    );
}

fn parity(outputs: &[(&'static str, Vec<f32>)]) -> Parity {
    let comparisons = compare(outputs, 2, 2, TOLERANCE).unwrap();
    let passed = comparisons.iter().all(|comparison| comparison.passed);
    Parity {
        passed,
        tolerance: TOLERANCE,
        comparisons,
        left_out: Vec::new(),
        first_differences: Vec::new(),
    }
}

#[test]
fn another_top_class_is_a_tie_where_scores_agree() {
    let parity = parity(&[
        ("a", vec![1.0, 1.000_01, 3.0, 1.0]),
        ("b", vec![1.000_01, 1.0, 3.0, 1.0]),
    ]);
    assert!(parity.passed && parity.failures().is_empty());
    assert_eq!(
        parity.top_classes(),
        "the top class is the same for 1 of 2 images, with 1 tie within the tolerance"
    );
}

#[test]
fn another_top_class_fails_where_scores_differ() {
    let parity = parity(&[
        ("a", vec![1.0, 1.001, 40.0, 1.0]),
        ("b", vec![1.001, 1.0, 40.0003, 1.0]),
    ]);
    assert!(!parity.passed);
    let expected = "b and a differ at batch 2: 1 of 2 images differ by more than 1e-4, or 1.0e-5 of the image's largest \
                    score where that is more, by up to 1.000e-3 or 1.0e-3 of an image's largest score; the top class is \
                    the same for 1";
    assert_eq!(parity.failures(), [expected]);
}

#[test]
fn batch_sizes_are_named_once() {
    let trained = trained("export.softmax=false");
    let parity = gate(
        &trained,
        &kiln_onnx::encode(&trained.export().unwrap().proto),
    );
    assert_eq!(parity.batch_sizes(), "1, 2 and 5");
    let one = Parity {
        comparisons: compare(&[("a", vec![1.0]), ("b", vec![1.0])], 1, 1, TOLERANCE).unwrap(),
        ..parity
    };
    assert_eq!(one.batch_sizes(), "1");
}

const TOLERANCE: Tolerance = Tolerance {
    absolute: 1e-4,
    relative: 1e-5,
};

const RECIPE: &str = r#"layers = [
    { type = "conv2d", filters = 2, kernel_size = 3, strides = 2, padding = "same", activation = "relu" },
    { type = "batch_norm" },
    { type = "conv2d", name = "second", filters = 3, kernel_size = 3, use_bias = false },
    { type = "batch_norm" },
    { type = "relu" },
    { type = "max_pool" },
    { type = "dropout", rate = 0.5 },
    { type = "flatten" },
    { type = "dense", units = 10, activation = "softmax" },
]"#;

fn trained(change: &str) -> TrainedModel {
    let recipe = Recipe::parse(RECIPE, "small.toml", "small", &[change.to_string()]).unwrap();
    let model = recipe.model().clone();
    let mut weights = initial_weights(&model, 1);
    // As if trained: normalization that does nothing would hide mistakes.
    for (name, tensor) in &mut weights {
        if name.starts_with("batch_norm") {
            tensor
                .data
                .iter_mut()
                .enumerate()
                .for_each(|(at, x)| *x += 0.3 + 0.1 * at as f32);
        }
    }
    TrainedModel::new(recipe, model, weights)
}

/// The gate, which nothing cancels.
fn checked(
    trained: &TrainedModel,
    file: &[u8],
    models: &[(EngineId, Model)],
    pixels: &[f32],
) -> Parity {
    let assets = CachedAssets::new(Cache::at("no-cache"), true);
    let context = Context::new(&assets, &());
    let (options, patience) = (Options::default(), Duration::MAX);
    let checked = check(trained, file, models, pixels, &options, patience, &context);
    checked.unwrap().expect("nothing cancels the gate").parity
}

fn gate(trained: &TrainedModel, file: &[u8]) -> Parity {
    let pixels: Vec<f32> = (0..5 * 28 * 28)
        .map(|i| (i * 31 % 257) as f32 / 257.0)
        .collect();
    let models = vec![(
        EngineId::TRACT,
        Model::from_bytes(file, &Options::default()).unwrap(),
    )];
    checked(trained, file, &models, &pixels)
}

#[test]
fn an_honest_export_passes_at_every_batch_size() {
    for change in ["export.softmax=false", "export.softmax=true"] {
        let trained = trained(change);
        let parity = gate(
            &trained,
            &kiln_onnx::encode(&trained.export().unwrap().proto),
        );
        assert!(parity.passed, "{change}: {:?}", parity.failures());
        assert_eq!(
            parity
                .comparisons
                .iter()
                .map(|c| c.batch_size)
                .collect::<Vec<_>>(),
            [1, 2, 5]
        );
    }
}

#[test]
fn a_file_that_computes_something_else_fails_and_names_the_first_layer() {
    let trained = trained("export.softmax=false");
    for (tensor, layer) in [
        ("conv2d.weight", "conv2d"),
        ("second.weight", "batch_norm_1"),
        ("dense.bias", "dense"),
    ] {
        let mut proto = trained.export().unwrap().proto;
        let initializer = proto
            .graph
            .as_mut()
            .unwrap()
            .initializer
            .iter_mut()
            .find(|t| t.name == tensor)
            .unwrap();
        let values: Vec<f32> = initializer
            .to_f32()
            .unwrap()
            .iter()
            .map(|x| x + 0.05)
            .collect();
        let shape = initializer.shape().unwrap();
        *initializer = kiln_onnx::TensorProto::from_f32(tensor, &shape, &values);
        let parity = gate(&trained, &kiln_onnx::encode(&proto));
        assert!(!parity.passed);
        assert_eq!(parity.first_differences[0].layer, layer);
        assert!(
            parity
                .failures()
                .iter()
                .any(|line| line.contains(&format!("`{layer}`"))),
            "{:?}",
            parity.failures()
        );
    }
}

/// Every kind of layer, with settings at which implementations tend to differ: uneven padding,
/// windows that do not fit, sizes that do not divide.
const LAYERS: [&str; 33] = [
    r#"{ type = "conv2d", filters = 3, kernel_size = [3, 4], strides = 2, padding = "same" }"#,
    r#"{ type = "conv2d", filters = 4, kernel_size = [2, 3], dilation_rate = [2, 3], padding = "same" }"#,
    r#"{ type = "conv2d", filters = 6, kernel_size = 2, groups = 3, dilation_rate = 2 }"#,
    r#"{ type = "max_pool", pool_size = [3, 2], strides = [2, 3] }"#,
    r#"{ type = "avg_pool", pool_size = [3, 2], strides = [2, 3] }"#,
    r#"{ type = "max_pool", pool_size = [3, 2], strides = [2, 3], padding = "same" }"#,
    r#"{ type = "max_pool", pool_size = 3, strides = 1, padding = "same" }"#,
    r#"{ type = "avg_pool", pool_size = [3, 2], strides = [2, 3], padding = "same" }"#,
    r#"{ type = "avg_pool", pool_size = 4, strides = 2, padding = "same" }"#,
    r#"{ type = "conv2d", filters = 3, kernel_size = [3, 4], strides = 2, padding = [0, 1, 2, 1] }"#,
    r#"{ type = "max_pool", pool_size = 3, strides = 2, padding = 1, ceil_mode = true }"#,
    r#"{ type = "avg_pool", pool_size = 4, strides = 3, padding = [1, 2], ceil_mode = true }"#,
    r#"{ type = "avg_pool", pool_size = [3, 2], strides = 2, padding = 1, count_include_pad = true }"#,
    r#"{ type = "avg_pool", pool_size = 3, strides = 2, padding = [0, 1, 2, 1], count_include_pad = true }"#,
    r#"{ type = "global_max_pool" }"#,
    r#"{ type = "global_avg_pool" }"#,
    r#"{ type = "channel_max" }"#,
    r#"{ type = "reshape", target_shape = [1, 33, 9] }"#,
    r#"{ type = "reshape", target_shape = [297] }"#,
    r#"{ type = "resize", height = 7, width = 20 }"#,
    r#"{ type = "resize", height = 22, width = 5, interpolation = "nearest" }"#,
    r#"{ type = "batch_norm" }"#,
    r#"{ type = "relu" }"#,
    r#"{ type = "activation", activation = "leaky_relu" }"#,
    r#"{ type = "activation", activation = "sigmoid" }"#,
    r#"{ type = "activation", activation = "tanh" }"#,
    r#"{ type = "activation", activation = "gelu" }"#,
    r#"{ type = "activation", activation = "silu" }"#,
    r#"{ type = "activation", activation = "relu6" }"#,
    r#"{ type = "activation", activation = "hard_sigmoid" }"#,
    r#"{ type = "activation", activation = "hard_swish" }"#,
    r#"{ type = "conv2d", filters = 2, kernel_size = 3, activation = "gelu" }"#,
    r#"{ type = "dropout", rate = 0.5 }"#,
];

#[test]
#[ignore = "downloads ONNX Runtime"]
fn every_layer_gives_the_same_on_every_implementation() {
    let cancel = kiln_util::CancelToken::new();
    let fetcher = Fetcher::new(Cache::from_env().unwrap(), &Silent, &cancel);
    let asset = Asset::named("onnxruntime").unwrap();
    let library = fetcher
        .fetch(&asset)
        .unwrap_or_else(|error| panic!("{error}"))
        .files
        .remove(0);
    for layer in LAYERS {
        let vector = layer.contains("global") || layer.contains("[297]");
        let rest = if vector {
            ""
        } else {
            r#"{ type = "flatten" },"#
        };
        let text = format!(
            "layers = [{layer}, {rest} {{ type = \"dense\", units = 10, activation = \"softmax\" }}]\n\
             input = {{ height = 11, width = 9, channels = \"rgb\" }}"
        );
        let recipe = Recipe::parse(&text, "layer.toml", "layer", &[])
            .unwrap_or_else(|error| panic!("{layer}: {error}"));
        let model = recipe.model().clone();
        let mut weights = initial_weights(&model, 2);
        for tensor in weights
            .iter_mut()
            .map(|(_, tensor)| tensor)
            .filter(|tensor| tensor.shape.len() == 1)
        {
            tensor
                .data
                .iter_mut()
                .enumerate()
                .for_each(|(at, x)| *x += 0.3 + 0.1 * at as f32);
        }
        let trained = TrainedModel::new(recipe, model, weights);
        let file = kiln_onnx::encode(&trained.export().unwrap().proto);
        let pixels: Vec<f32> = (0..5 * 3 * 11 * 9)
            .map(|i| (i * 31 % 257) as f32 / 128.0 - 1.0)
            .collect();
        let ort = Options::default()
            .with_engine(EngineId::ORT)
            .with_ort(OrtOptions::default().with_library(library.path.clone()));
        let models = [Options::default(), ort]
            .map(|options| (options.engine, Model::from_bytes(&file, &options).unwrap()));
        let parity = checked(&trained, &file, &models, &pixels);
        assert!(parity.passed, "{layer}: {:?}", parity.failures());
        assert_eq!(parity.comparisons.len(), 9, "{layer}");
    }
}

#[test]
fn a_slow_model_is_compared_on_fewer_images_in_smaller_batches() {
    let trained = trained("export.softmax=false");
    let file = kiln_onnx::encode(&trained.export().unwrap().proto);
    let options = Options::default();
    let models = vec![(EngineId::TRACT, Model::from_bytes(&file, &options).unwrap())];
    let assets = CachedAssets::new(Cache::at("no-cache"), true);
    let context = Context::new(&assets, &());
    let pixels = vec![0.5; 5 * 28 * 28];
    let check = |patience, context: &Context<'_>| {
        let checked = check(
            &trained, &file, &models, &pixels, &options, patience, context,
        );
        checked.unwrap()
    };
    let checked = check(Duration::ZERO, &context).unwrap();
    assert_eq!(checked.parity.batch_sizes(), "1 and 2");
    assert_eq!(checked.parity.comparisons[0].agreement.images, 2);
    assert!(checked.for_one.len() == 1 && checked.for_one[0] > Duration::ZERO);
    context.cancel.cancel();
    assert!(check(Duration::MAX, &context).is_none());
}
