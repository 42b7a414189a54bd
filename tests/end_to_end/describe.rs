//! Models without kiln's metadata: options, a sidecar, and `kiln describe`.

use std::fs;
use std::path::Path;

use crate::kiln::{digits, error, kiln, ok, path, run, trained};

/// The trained model as another exporter would have written it, and a digit; with the folder that
/// holds both.
fn third_party() -> (tempfile::TempDir, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut model = kiln_onnx::load(trained().join("model.onnx")).unwrap();
    model.metadata_props.clear();
    let file = path(folder.path(), "bare.onnx");
    fs::write(&file, kiln_onnx::encode(&model)).unwrap();
    let digit = path(folder.path(), "digit.png");
    fs::copy(&digits("test", 7)[0], &digit).unwrap();
    (folder, file, digit)
}

/// What `kiln predict` says about the digit as JSON, with more arguments.
#[track_caller]
fn predict(model: &str, digit: &str, more: &[&str]) -> serde_json::Value {
    let ended = ok(&[&["predict", model, digit, "--json"], more].concat());
    // After the line that says what it ran on.
    serde_json::from_str(ended.stdout.lines().nth(1).unwrap()).unwrap()
}

fn items(description: &serde_json::Value) -> Vec<(String, String, String)> {
    let text = |item: &serde_json::Value, key: &str| item[key].as_str().unwrap().to_owned();
    let items = description["image"]["items"].as_array().unwrap().iter();
    items
        .map(|item| (text(item, "name"), text(item, "value"), text(item, "from")))
        .collect()
}

fn describe(args: &[&str]) -> serde_json::Value {
    serde_json::from_str(&ok(&[&["describe", "--json"], args].concat()).stdout).unwrap()
}

#[test]
fn options_stand_in_for_metadata() {
    let (folder, bare, digit) = third_party();
    let message = error(&mut kiln(&["predict", &bare, &digit]));
    assert!(
        message.contains("does not specify the preprocessing\n")
            && message.contains("help: give --preprocess raw|caffe|torch|tf|unit"),
        "{message}"
    );
    let expected = predict(&path(trained(), "model.onnx"), &digit, &[]);
    let found = predict(&bare, &digit, &["--preprocess", "unit"]);
    assert_eq!(
        (&found["index"], &found["probability"]),
        (&expected["index"], &expected["probability"])
    );
    // The same by its parts.
    let parts = [
        "--scale",
        "1/255",
        "--mean",
        "0",
        "--size",
        "28x28",
        "--channels",
        "gray",
        "--layout",
        "nchw",
    ];
    assert_eq!(predict(&bare, &digit, &parts), found);
    let noted = run(&mut kiln(&[
        "predict",
        &bare,
        &digit,
        "--preprocess",
        "unit",
    ]))
    .stderr;
    assert!(
        noted.contains("called by their numbers from 0 (--labels FILE.txt)"),
        "{noted}"
    );
    assert!(
        noted.contains("taken for logits (--output logits|probabilities|sigmoid)"),
        "{noted}"
    );
    let said = run(&mut kiln(&[
        "predict",
        &bare,
        &digit,
        "--preprocess",
        "unit",
        "--output",
        "logits",
    ]))
    .stderr;
    assert!(!said.contains("taken for logits"), "{said}");
    // Before an error, what is assumed is of no interest.
    error(&mut kiln(&[
        "predict",
        &bare,
        &path(folder.path(), "nothing.png"),
        "--preprocess",
        "unit",
    ]));
    let labels = path(folder.path(), "twice.txt");
    fs::write(&labels, "0\n1\n2\n3\n4\n5\n6\n7\n8\n3\n").unwrap();
    let noted = run(&mut kiln(&[
        "predict",
        &bare,
        &digit,
        "--preprocess",
        "unit",
        "--labels",
        &labels,
    ]))
    .stderr;
    assert!(
        noted.contains("classes 3 and 9 are both called `3`"),
        "{noted}"
    );
    let wrong = error(&mut kiln(&[
        "predict",
        &bare,
        &digit,
        "--preprocess",
        "unit",
        "--size",
        "32",
    ]));
    assert!(
        wrong.contains("expected one float32 input [batch, 1, 32, 32], found `input`"),
        "{wrong}"
    );
    assert!(
        error(&mut kiln(&[
            "predict",
            &bare,
            &digit,
            "--preprocess",
            "torhc"
        ]))
        .contains("expected one of `raw`")
    );
}

#[test]
fn what_is_guessed_of_the_output_is_said_and_a_sigmoid_is_known() {
    let (folder, bare, digit) = third_party();
    let output = |more: &[&str]| {
        let found = items(&describe(
            &[&[bare.as_str(), "--set", "preprocess=unit"], more].concat(),
        ));
        found
            .into_iter()
            .find(|item| item.0 == "output")
            .map(|item| (item.1, item.2))
            .unwrap()
    };
    assert_eq!(
        output(&[]),
        (
            "logits, a guess: nobody specifies it".into(),
            "default".into()
        )
    );
    assert_eq!(
        output(&["--set", "output=logits"]),
        ("logits".into(), "--set output".into())
    );
    let copy = path(folder.path(), "copy.onnx");
    let noted = ok(&["describe", &bare, "--set", "preprocess=unit", "-o", &copy]).stderr;
    assert!(
        noted.contains("written as logits (--set output=probabilities)"),
        "{noted}"
    );

    let mut model = kiln_onnx::load(&bare).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let scores = graph.output[0].name.clone();
    graph.output[0].name = "sigmoid".into();
    graph.node.push(kiln_onnx::NodeProto {
        op_type: "Sigmoid".into(),
        input: vec![scores],
        output: vec!["sigmoid".into()],
        ..Default::default()
    });
    let model_path = path(folder.path(), "sigmoid.onnx");
    fs::write(&model_path, kiln_onnx::encode(&model)).unwrap();
    let predicted = ok(&["predict", &model_path, &digit, "--preprocess", "unit"]);
    assert!(
        predicted
            .stderr
            .contains("it ends in a sigmoid, so each class has a probability by itself"),
        "{}",
        predicted.stderr
    );
}

#[test]
fn a_sidecar_is_found_beside_the_model_and_options_go_before_it() {
    let (folder, bare, digit) = third_party();
    let names: Vec<String> = (0..10).map(|class| format!("class {class}")).collect();
    fs::write(folder.path().join("names.txt"), names.join("\n")).unwrap();
    fs::write(
        folder.path().join("bare.toml"),
        "preprocess = \"raw\"\nlabels = \"names.txt\"\n",
    )
    .unwrap();
    let found = predict(&bare, &digit, &["--preprocess", "unit"]);
    let expected = predict(&path(trained(), "model.onnx"), &digit, &[]);
    assert_eq!(
        found["label"],
        format!("class {}", expected["label"].as_str().unwrap())
    );
    assert_eq!(found["probability"], expected["probability"]);
    let items = items(&describe(&[&bare, "--set", "preprocess=unit"]));
    let from = |name: &str| items.iter().find(|item| item.0 == name).unwrap();
    assert_eq!(
        (from("values").1.as_str(), from("values").2.as_str()),
        ("p / 255", "--set preprocess")
    );
    assert!(
        from("labels").2.ends_with("bare.toml") && from("size").2 == "graph",
        "{items:?}"
    );
    fs::write(folder.path().join("bare.toml"), "preproces = \"unit\"").unwrap();
    let message = error(&mut kiln(&["predict", &bare, &digit]));
    assert!(
        message.contains("bare.toml:1: unknown key `preproces`: did you mean `preprocess`?"),
        "{message}"
    );
    let text = path(folder.path(), "names.txt");
    let message = error(&mut kiln(&["predict", &bare, &digit, "--sidecar", &text]));
    assert!(message.contains("names.txt:1: not valid TOML"), "{message}");
}

#[test]
fn a_copy_with_metadata_needs_nothing_beside_it() {
    let (folder, bare, digit) = third_party();
    let before = fs::read(&bare).unwrap();
    let labels = path(folder.path(), "labels.txt");
    fs::write(&labels, "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n").unwrap();
    let copy = path(folder.path(), "copy.onnx");
    let set = [
        "--set",
        "preprocess=unit",
        "--set",
        &format!("labels={labels}"),
    ];
    assert_eq!(
        ok(&[&["describe", &bare, "-o", &copy], &set[..]].concat()).stdout,
        format!("{copy}\n")
    );
    assert_eq!(fs::read(&bare).unwrap(), before);
    let expected = predict(
        &bare,
        &digit,
        &["--preprocess", "unit", "--labels", &labels],
    );
    assert_eq!(predict(&copy, &digit, &[]), expected);
    let description = describe(&[&copy]);
    assert_eq!(description["image"]["labels_known"], true);
    assert!(
        items(&description).iter().all(|item| item.2 == "metadata"),
        "{description}"
    );
    // Never in place, by whatever name.
    let message = error(&mut kiln(&[
        "describe",
        &copy,
        "--set",
        "antialias=true",
        "-o",
        &copy,
    ]));
    assert!(
        message.contains("is the model itself, which is never changed in place"),
        "{message}"
    );
    let message = error(&mut kiln(&[
        "describe",
        &bare,
        "-o",
        &path(folder.path(), "none.onnx"),
    ]));
    assert!(
        message.contains("does not specify the preprocessing\n")
            && message.contains("--set preprocess=raw|caffe|torch|tf|unit"),
        "{message}"
    );
    assert!(!folder.path().join("none.onnx").exists());
}

#[test]
fn what_is_in_a_file_is_shown() {
    let model = path(trained(), "model.onnx");
    let description = describe(&[&model]);
    let counted = ok(&["summary", "models/quickstart.toml", "--json"]).stdout;
    let counted: serde_json::Value = serde_json::from_str(&counted).unwrap();
    assert_eq!(description["opsets"]["ai.onnx"], 18);
    assert_eq!(
        description["inputs"][0]["shape"],
        serde_json::json!(["batch", 1, 28, 28])
    );
    assert_eq!(description["outputs"][0]["name"], "logits");
    assert_eq!(description["bytes"], fs::metadata(&model).unwrap().len());
    // Batch normalization after a convolution may have been folded into it; nothing is ever added.
    let (found, all) = (&description["parameters"], &counted["total_parameters"]);
    assert!(
        found.as_u64().unwrap() <= all.as_u64().unwrap() && found.as_u64().unwrap() > 0,
        "{found} {all}"
    );
    let text = ok(&["describe", &model]).stdout;
    for part in [
        "opset 18",
        "Conv",
        "[batch, 1, 28, 28]",
        "kiln.preprocessing",
        "p / 255",
        "logits",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (_folder, bare, _) = third_party();
    let text = ok(&["describe", &bare]).stdout;
    assert!(
        text.contains("kiln cannot classify images with it yet") && !text.contains("kiln.format"),
        "{text}"
    );
}

#[test]
fn other_servers_get_files_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| path(folder.path(), name);
    let model = path(trained(), "model.onnx");
    ok(&[
        "describe",
        &model,
        "--huggingface",
        &at("preprocessor_config.json"),
        "--triton",
        &at("config.pbtxt"),
    ]);
    let config: serde_json::Value =
        serde_json::from_slice(&fs::read(at("preprocessor_config.json")).unwrap()).unwrap();
    assert_eq!(
        config["size"],
        serde_json::json!({ "height": 28, "width": 28 })
    );
    assert_eq!(config["rescale_factor"], 1.0 / 255.0);
    let triton = fs::read_to_string(at("config.pbtxt")).unwrap();
    assert!(
        triton.contains("dims: [ 1, 28, 28 ]") && triton.contains("label_filename: \"labels.txt\""),
        "{triton}"
    );
    assert_eq!(
        fs::read_to_string(at("labels.txt"))
            .unwrap()
            .lines()
            .count(),
        10
    );
    assert_eq!(fs::read_dir(Path::new(folder.path())).unwrap().count(), 3);
    // What was named is replaced, what was not is kept.
    fs::write(at("labels.txt"), "shopping list").unwrap();
    let message = error(&mut kiln(&[
        "describe",
        &model,
        "--triton",
        &at("config.pbtxt"),
    ]));
    assert!(
        message.contains("labels.txt` is there already and holds something else"),
        "{message}"
    );
    assert_eq!(
        fs::read_to_string(at("labels.txt")).unwrap(),
        "shopping list"
    );
}
