use kiln_model::{Arithmetic, CropRounding, Resize};
use kiln_onnx::{Dim, GraphBuilder, StringStringEntryProto};

use super::*;

fn object(text: &str) -> Config {
    match serde_json::from_str(text).unwrap() {
        Value::Object(object) => object,
        other => panic!("{other}"),
    }
}

fn record(overrides: &ModelOverrides) -> Preprocessing {
    overrides
        .preprocessing(Some([224; 2]), Channels::Rgb)
        .unwrap()
}

fn pillow(fit: Fit, size: Option<[u32; 2]>, filter: Filter) -> Resize {
    Resize {
        fit,
        size,
        filter,
        antialias: true,
        arithmetic: Arithmetic::Pillow,
        crop_rounding: CropRounding::Down,
        ..Resize::default()
    }
}

#[test]
fn processors_of_hugging_face_are_read() {
    // `google/vit-base-patch16-224`, `openai/clip-vit-base-patch32` and `facebook/convnext-tiny-224`.
    let vit = r#"{"do_normalize": true, "do_resize": true, "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "ViTImageProcessor", "image_std": [0.5, 0.5, 0.5], "size": 224}"#;
    let clip = r#"{"crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "do_convert_rgb": true,
        "do_normalize": true, "do_rescale": true, "do_resize": true, "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711], "resample": 3, "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": 224}}"#;
    let convnext = r#"{"crop_pct": 0.875, "do_normalize": true, "do_resize": true,
        "feature_extractor_type": "ConvNextFeatureExtractor", "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225], "resample": 3, "size": {"shortest_edge": 224}}"#;
    for (text, resize, mean) in [
        (vit, pillow(Fit::Stretch, None, Filter::Bilinear), 0.5),
        (
            clip,
            pillow(Fit::Shorter, None, Filter::Bicubic),
            0.481_454_66,
        ),
        (
            convnext,
            pillow(Fit::Shorter, Some([256; 2]), Filter::Bicubic),
            0.485,
        ),
    ] {
        let found = record(&hugging_face(&object(text)).unwrap());
        assert_eq!(found.resize, resize, "{text}");
        assert_eq!((found.scale, found.mean[0]), (1.0 / 255.0, mean));
        assert_eq!((found.height, found.width), (224, 224));
        assert!(found.orientation);
    }
    let plain = hugging_face(&object(r#"{"do_normalize": false, "do_rescale": false}"#)).unwrap();
    assert!(record(&plain).keeps_pixels());
}

#[test]
fn configs_that_kiln_cannot_follow_are_refused() {
    for (text, expected) in [
        (r#"{"resample": 4}"#, "`resample` is 4: expected 0"),
        (
            r#"{"image_processor_type": "PerceiverImageProcessor"}"#,
            "no `PerceiverImageProcessor`",
        ),
        (r#"{"size_divisor": 32}"#, "no `size_divisor`"),
        (
            r#"{"do_resize": false, "do_center_crop": true, "crop_size": 4}"#,
            "does not crop without resizing",
        ),
        (r#"{"size": {"height": 3}}"#, "`size` must be a number"),
        (
            r#"{"size": {"height": 3, "width": 0}}"#,
            "from 1 to 8192, found 0",
        ),
        (r#"{"image_mean": ["a"]}"#, "`image_mean` must be numbers"),
        (
            r#"{"do_rescale": 1}"#,
            "`do_rescale` must be true or false, found 1",
        ),
    ] {
        let problem = hugging_face(&object(text)).unwrap_err();
        assert!(problem.contains(expected), "{problem}");
    }
    for (text, expected) in [
        (r#"{"pretrained_cfg": 1}"#, "must be an object"),
        (
            r#"{"pretrained_cfg": {"interpolation": "box"}}"#,
            "`interpolation` is `box`",
        ),
        (
            r#"{"pretrained_cfg": {"crop_mode": "x"}}"#,
            "`crop_mode` is `x`",
        ),
        (
            r#"{"pretrained_cfg": {"input_size": [4, 1, 1]}}"#,
            "1 or 3 channels, found 4",
        ),
        (r#"{"pretrained_cfg": {"crop_pct": 2}}"#, "`crop_pct` is 2"),
    ] {
        let problem = timm(&object(text)).unwrap_err();
        assert!(problem.contains(expected), "{problem}");
    }
}

#[test]
fn configs_of_timm_are_read() {
    let text = r#"{"architecture": "resnet50", "num_classes": 2, "label_names": ["cat", "dog"],
        "pretrained_cfg": {"input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.95,
        "crop_mode": "center", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}}"#;
    let found = timm(&object(text)).unwrap();
    assert_eq!(found.labels, Some(vec!["cat".into(), "dog".into()]));
    let expected = Preprocessing {
        resize: Resize {
            crop_rounding: CropRounding::Even,
            ..pillow(Fit::Shorter, Some([235; 2]), Filter::Bicubic)
        },
        ..Preprocess::Timm.record(224, 224, Channels::Rgb)
    };
    assert_eq!(record(&found), expected);
    let border = text.replace("center", "border");
    let found = record(&timm(&object(&border)).unwrap());
    assert_eq!(
        (found.resize.fit, found.resize.padding),
        (Fit::Longer, [124, 116, 104])
    );
}

fn model() -> ModelProto {
    let mut graph = GraphBuilder::new("g");
    graph
        .input("images", Dim::batched([3, 224, 224]))
        .output("y", Dim::batched([2]));
    graph.node("Identity", "n", &["images"], "y");
    graph.finish().unwrap()
}

fn from_ultralytics() -> ModelProto {
    let mut proto = model();
    for (key, value) in [
        ("author", "Ultralytics"),
        ("task", "classify"),
        ("imgsz", "[224, 192]"),
        ("names", "{0: 'cat', 1: \"dog's\"}"),
    ] {
        proto.metadata_props.push(StringStringEntryProto {
            key: key.into(),
            value: value.into(),
        });
    }
    proto
}

#[test]
fn metadata_of_ultralytics_are_read() {
    let found = ultralytics(&from_ultralytics()).unwrap();
    assert_eq!(found.size, Some([224, 192]));
    assert_eq!(found.labels, Some(vec!["cat".into(), "dog's".into()]));
    assert_eq!(
        record(&found),
        Preprocess::Ultralytics.record(224, 192, Channels::Rgb)
    );
    assert_eq!(ultralytics(&model()), None);
    for text in [
        "{}",
        "{1: 'a'}",
        "{0: 'a}",
        "{0: a}",
        "['a']",
        "{0: 'a', 2: 'b'}",
    ] {
        assert_eq!(python_names(text), None, "{text}");
    }
    let escaped = python_names(r"{0: 'it\'s', 1: 'a:b, {c}'}").unwrap();
    assert_eq!(escaped, ["it's", "a:b, {c}"]);
}

#[test]
fn files_are_found_beside_the_model_and_above_onnx() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("onnx");
    std::fs::create_dir(&inner).unwrap();
    let (beside, below) = (folder.path().join("m.onnx"), inner.join("m.onnx"));
    assert!(find(&beside, &model()).unwrap().is_none());
    // Any program has a file of this name.
    let config = folder.path().join(CONFIG);
    std::fs::write(&config, r#"{"id2label": {"1": "dog", "0": "cat"}}"#).unwrap();
    assert!(find(&beside, &model()).unwrap().is_none());
    let path = folder.path().join(HUGGING_FACE);
    std::fs::write(&path, r#"{"size": 8}"#).unwrap();
    for model_file in [&beside, &below] {
        let (found, overrides) = find(model_file, &model()).unwrap().unwrap();
        assert_eq!(found, Found::HuggingFace(path.clone()));
        assert_eq!(overrides.labels, Some(vec!["cat".into(), "dog".into()]));
    }
    let (found, _) = find(&beside, &from_ultralytics()).unwrap().unwrap();
    assert_eq!(found, Found::Ultralytics);
    std::fs::write(&path, "[]").unwrap();
    let error = find(&beside, &model()).unwrap_err().to_string();
    assert!(error.contains("expected a JSON object"), "{error}");
}

/// What `make_photographs.py` writes, whose records `kiln-preprocess` compares with the peers.
#[derive(serde::Deserialize)]
struct Photographs {
    /// Configurations as transformers writes them, all defaults included.
    processors: Vec<Config>,
    rows: Vec<PhotographsRow>,
}

#[derive(serde::Deserialize)]
struct PhotographsRow {
    pipeline: String,
    #[serde(default)]
    config: Option<Config>,
    #[serde(default)]
    record: Option<Preprocessing>,
}

fn photographs() -> Photographs {
    let text = include_str!("../../../preprocess/tests/pipelines/photographs.json");
    serde_json::from_str(text).unwrap()
}

#[test]
fn configs_make_the_records_that_are_compared_with_the_peers() {
    let mut compared = 0;
    for row in photographs().rows {
        let Some(config) = row.config else { continue };
        let overrides = if config.contains_key("pretrained_cfg") {
            timm(&config).unwrap()
        } else {
            hugging_face(&config).unwrap()
        };
        let expected = row.record.unwrap();
        let size = [expected.height, expected.width];
        let found = overrides.preprocessing(Some(size), Channels::Rgb).unwrap();
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6;
        assert!(found.mean.iter().zip(&expected.mean).all(near), "{found:?}");
        assert!(found.std.iter().zip(&expected.std).all(near), "{found:?}");
        let with_values = Preprocessing {
            mean: expected.mean.clone(),
            std: expected.std.clone(),
            ..found
        };
        assert_eq!(with_values, expected, "{}", row.pipeline);
        compared += 1;
    }
    assert_eq!(compared, 40);
}

#[test]
fn what_a_processor_does_by_default_need_not_be_in_its_config() {
    let processors = photographs().processors;
    assert_eq!(processors.len(), 14);
    for mut config in processors {
        let complete = hugging_face(&config).unwrap();
        config.retain(|key, _| key == "image_processor_type");
        assert_eq!(hugging_face(&config).unwrap(), complete, "{config:?}");
    }
}

#[test]
fn a_number_as_size_means_what_the_processor_means() {
    // As `facebook/deit-base-patch16-224` and feature extractors of old have it.
    let deit = r#"{"feature_extractor_type": "DeiTFeatureExtractor", "size": 256, "crop_size": 224, "do_center_crop": true,
        "resample": 3, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}"#;
    let found = record(&hugging_face(&object(deit)).unwrap()).resize;
    let expected = pillow(Fit::Stretch, Some([256; 2]), Filter::Bicubic);
    assert_eq!((found.fit, found.size), (expected.fit, expected.size));
    let levit = deit.replace("DeiT", "Levit").replace("256", "224");
    let found = record(&hugging_face(&object(&levit)).unwrap()).resize;
    assert_eq!((found.fit, found.size), (Fit::Shorter, Some([256; 2])));
}
