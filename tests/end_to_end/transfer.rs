//! A frozen VGG16: features once, frozen for certain, refused if it is another network.

use std::collections::BTreeMap;
use std::fs;

use crate::kiln::{error, kiln, mnist, ok, path, run};

#[test]
fn the_summary_shows_what_is_frozen() {
    let text = ok(&["summary", "models/vgg16-frozen.toml"]).stdout;
    let counts = "Total params: 14,782,154\nTrainable params: 67,210\nNon-trainable params: 14,714,944\n";
    assert!(text.contains(counts), "{text}");
    assert_eq!(text.lines().filter(|line| line.contains(" frozen ")).count(), 18, "{text}");
}

#[test]
fn features_are_computed_once_and_frozen_tensors_stay_as_they_were() {
    // A cache of its own: one without features, which takes up none afterwards.
    let cache = tempfile::tempdir().unwrap();
    let ok = |args: &[&str]| {
        let ended = run(kiln(args).env("KILN_CACHE", cache.path()));
        assert_eq!(ended.code, Some(0), "{args:?}\n{}\n{}", ended.stdout, ended.stderr);
        ended
    };
    ok(&["fetch", "mnist", "--from", mnist().to_str().unwrap()]);
    ok(&["fetch", "vgg16", "--from", crate::kiln::ok(&["fetch", "vgg16"]).stdout.trim()]);
    let runs = tempfile::tempdir().unwrap();
    let args = ["train", "models/vgg16-frozen.toml", "--runs", runs.path().to_str().unwrap()];
    let set = ["--set", "training.epochs=2", "--set", "data.limit=100", "--set", "data.test_limit=60"];
    let args = [&args[..], &set].concat();
    let first = ok(&args);
    assert!(first.stderr.contains("Computing features of 100 images behind flatten"), "{}", first.stderr);
    let second = ok(&args);
    assert!(second.stderr.contains("Reusing features of 100 images"), "{}", second.stderr);
    let weights = |run: &str| fs::read(path(run.trim().as_ref(), "weights.safetensors")).unwrap();
    assert!(weights(&first.stdout) == weights(&second.stdout), "kept features gave other weights");

    let frozen: BTreeMap<String, String> =
        serde_json::from_str(&fs::read_to_string(path(first.stdout.trim().as_ref(), "frozen.json")).unwrap()).unwrap();
    assert_eq!(frozen.len(), 26);
    let model = path(runs.path(), "model.onnx");
    ok(&["export", first.stdout.trim(), "-o", &model]);
    let provenance = kiln_onnx::load(&model).unwrap().metadata().unwrap().provenance;
    for (tensor, checksum) in frozen {
        assert_eq!(provenance.get(&format!("frozen:{tensor}")), Some(&checksum));
    }
    assert!(fs::metadata(&model).unwrap().len() < 60_000_000);
}

#[test]
fn another_network_is_refused_with_the_first_difference() {
    let folder = tempfile::tempdir().unwrap();
    let cnn = path(crate::kiln::trained(), "model.onnx");
    let weights = format!("backbone.weights={cnn}");
    let runs = path(folder.path(), "runs");
    let message = error(&mut kiln(&["train", "models/vgg16-frozen.toml", "--runs", &runs, "--set", &weights]));
    assert!(message.contains("model.onnx is not vgg16: "), "{message}");
    let message = error(&mut kiln(&["train", "models/vgg16-frozen.toml", "--set", "backbone.weights=no.onnx"]));
    assert!(message.contains("no.onnx"), "{message}");
    assert!(!std::path::Path::new(&runs).exists());
    let ended = run(&mut kiln(&["summary", "models/vgg16-frozen.toml", "--set", "training.unfreeze=[\"block6\"]"]));
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("`block6` matches no layer: did you mean `block"), "{}", ended.stderr);
}
