//! A frozen VGG16: features once, frozen for certain, refused if it is another network.

use std::collections::BTreeMap;
use std::fs;

use crate::kiln::{DIGITS, error, kiln, mnist, ok, online, path, run, succeed};

#[test]
fn the_summary_shows_what_is_frozen() {
    let text = ok(&["summary", "models/vgg16-frozen.toml"]).stdout;
    let counts =
        "Total params: 14,782,154\nTrainable params: 67,210\nNon-trainable params: 14,714,944\n";
    assert!(text.contains(counts), "{text}");
    assert_eq!(
        text.lines()
            .filter(|line| line.contains(" frozen "))
            .count(),
        18,
        "{text}"
    );
}

#[test]
#[ignore = "downloads MNIST and VGG16"]
fn features_are_computed_once_and_frozen_tensors_stay_as_they_were() {
    // A cache of its own: one without features, which takes up none afterwards.
    let cache = tempfile::tempdir().unwrap();
    let ok = |args: &[&str]| {
        let ended = run(online(args).env("KILN_CACHE", cache.path()));
        assert_eq!(
            ended.code,
            Some(0),
            "{args:?}\n{}\n{}",
            ended.stdout,
            ended.stderr
        );
        ended
    };
    ok(&["fetch", "mnist", "--from", mnist().to_str().unwrap()]);
    ok(&[
        "fetch",
        "vgg16",
        "--from",
        succeed(&mut online(&["fetch", "vgg16"])).stdout.trim(),
    ]);
    let runs = tempfile::tempdir().unwrap();
    let args = [
        "train",
        "models/vgg16-frozen.toml",
        "--runs",
        runs.path().to_str().unwrap(),
    ];
    let set = [
        "--set",
        "training.epochs=2",
        "--set",
        "data.limit=100",
        "--set",
        "data.test_limit=60",
    ];
    let args = [&args[..], &set].concat();
    let first = ok(&args);
    assert!(
        first
            .stderr
            .contains("Computing features of 100 images after flatten"),
        "{}",
        first.stderr
    );
    let second = ok(&args);
    assert!(
        second.stderr.contains("Reusing features of 100 images"),
        "{}",
        second.stderr
    );
    let weights = |run: &str| fs::read(path(run.trim().as_ref(), "weights.safetensors")).unwrap();
    assert!(
        weights(&first.stdout) == weights(&second.stdout),
        "kept features gave other weights"
    );

    let frozen: BTreeMap<String, String> = serde_json::from_str(
        &fs::read_to_string(path(first.stdout.trim().as_ref(), "frozen.json")).unwrap(),
    )
    .unwrap();
    assert_eq!(frozen.len(), 26);
    let model = path(runs.path(), "model.onnx");
    ok(&["export", first.stdout.trim(), "-o", &model]);
    let provenance = kiln_onnx::load(&model)
        .unwrap()
        .metadata()
        .unwrap()
        .provenance;
    for (tensor, checksum) in frozen {
        assert_eq!(provenance.get(&format!("frozen:{tensor}")), Some(&checksum));
    }
    assert!(fs::metadata(&model).unwrap().len() < 60_000_000);

    let head = ok(&["export", first.stdout.trim(), "--head-only"]).stdout;
    assert!(head.trim().ends_with("head.onnx"), "{head}");
    let described = ok(&["describe", head.trim()]).stdout;
    assert!(
        described.contains("head.onnx` holds only the layers after `flatten`"),
        "{described}"
    );
    for command in [
        &["verify", head.trim()][..],
        &["predict", head.trim(), "x.png"],
    ] {
        let message = error(&mut kiln(command));
        assert!(
            message.contains("head.onnx` holds only the layers after `flatten`"),
            "{message}"
        );
    }
    let (whole, head) = (
        kiln_onnx::load(&model).unwrap(),
        kiln_onnx::load(head.trim()).unwrap(),
    );
    let metadata = head.metadata().unwrap();
    assert_eq!(
        (
            metadata.preprocessing,
            metadata.provenance["features"].as_str()
        ),
        (None, "flatten")
    );
    // Node by node and weight by weight it is the end of the whole file.
    let (whole, head) = (whole.graph.unwrap(), head.graph.unwrap());
    assert_eq!(head.input[0].name, "features");
    let (mut nodes, at) = (
        head.node,
        whole
            .node
            .iter()
            .position(|node| node.op_type == "Flatten")
            .unwrap()
            + 1,
    );
    nodes[0].input[0].clone_from(&whole.node[at].input[0]);
    assert_eq!(nodes, whole.node[at..]);
    assert_eq!(head.initializer.len(), 8);
    assert!(
        head.initializer
            .iter()
            .all(|tensor| whole.initializer.contains(tensor))
    );
}

#[test]
fn a_run_without_frozen_layers_has_no_head() {
    let message = error(&mut kiln(&[
        "export",
        crate::kiln::trained().to_str().unwrap(),
        "--head-only",
    ]));
    assert!(message.contains("help: leave out --head-only"), "{message}");
}

#[test]
fn another_network_is_refused_with_the_first_difference() {
    let folder = tempfile::tempdir().unwrap();
    let cnn = path(crate::kiln::trained(), "model.onnx");
    let weights = format!("backbone.weights={cnn}");
    let runs = path(folder.path(), "runs");
    let train = ["train", "models/vgg16-frozen.toml", "--runs", &runs];
    let message = error(&mut kiln(
        &[&train[..], &DIGITS, &["--set", &weights, "--quiet"]].concat(),
    ));
    assert!(message.contains("model.onnx is not vgg16 "), "{message}");
    let set = ["--set", "backbone.weights=no.onnx", "--quiet"];
    let message = error(&mut kiln(&[&train[..], &DIGITS, &set].concat()));
    assert!(message.contains("no.onnx"), "{message}");
    assert!(!std::path::Path::new(&runs).exists());
    let ended = run(&mut kiln(&[
        "summary",
        "models/vgg16-frozen.toml",
        "--set",
        "training.unfreeze=[\"block6\"]",
    ]));
    assert_eq!(ended.code, Some(2));
    assert!(
        ended
            .stderr
            .contains("`block6` matches no layer: did you mean `block"),
        "{}",
        ended.stderr
    );
}
