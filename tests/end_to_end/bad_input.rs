//! What users get wrong: one clear error each, exit code 2, nothing half-written.

use std::fs;
use std::path::Path;

use std::process::Command;

use crate::kiln::{
    DIGITS, TEST_DIGITS, error, kiln, mnist, ok, online, onnxruntime, path, trained,
};

fn recipe(folder: &Path, from: &str, to: &str) -> String {
    let text = fs::read_to_string(crate::kiln::root().join("models/quickstart.toml")).unwrap();
    assert!(text.contains(from));
    let file = path(folder, "recipe.toml");
    fs::write(&file, text.replacen(from, to, 1)).unwrap();
    file
}

/// A cache whose MNIST is a copy that can be damaged.
fn own_cache() -> tempfile::TempDir {
    let cache = tempfile::tempdir().unwrap();
    let from = mnist().to_str().unwrap();
    let ended = crate::kiln::run(
        online(&["fetch", "mnist", "--from", from]).env("KILN_CACHE", cache.path()),
    );
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    cache
}

#[test]
fn a_recipe_with_a_wrong_key_names_the_line_and_the_nearest_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = recipe(folder.path(), "filters = 32", "filtres = 32");
    let line = fs::read_to_string(&file)
        .unwrap()
        .lines()
        .position(|l| l.contains("filtres"))
        .unwrap()
        + 1;
    let runs = path(folder.path(), "runs");
    let message = error(&mut kiln(&["run", &file, "--runs", &runs]));
    assert!(
        message.contains(&format!("recipe.toml:{line}: unknown key `filtres`")),
        "{message}"
    );
    assert!(message.contains("did you mean `filters`?"), "{message}");
    assert!(!Path::new(&runs).exists());
}

#[test]
fn a_layer_that_does_not_fit_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = recipe(folder.path(), "pool_size = 2", "pool_size = 30");
    let message = error(&mut kiln(&["train", &file]));
    assert!(
        message.contains("(`max_pool`): a 30x30 window does not fit"),
        "{message}"
    );
}

#[test]
fn a_recipe_that_is_not_there_or_no_text() {
    let message = error(&mut kiln(&["run", "models/nothing.toml"]));
    assert!(message.contains("models/nothing.toml"), "{message}");
    let folder = tempfile::tempdir().unwrap();
    let file = path(folder.path(), "binary.toml");
    fs::write(&file, [0xff, 0xfe, 0]).unwrap();
    assert!(error(&mut kiln(&["run", &file])).contains("not UTF-8"));
}

#[test]
#[ignore = "downloads MNIST"]
fn a_damaged_data_file_is_fetched_anew_or_refused() {
    for damage in [truncate as fn(&Path), corrupt] {
        let cache = own_cache();
        let file = find(cache.path(), "t10k-labels-idx1-ubyte");
        damage(&file);
        let mut command = online(&[
            "eval",
            &path(trained(), "model.onnx"),
            "--data",
            "mnist:test",
            "--offline",
        ]);
        let message = error(command.env("KILN_CACHE", cache.path()));
        assert!(
            message.contains("t10k-labels-idx1-ubyte") && message.contains("--from"),
            "{message}"
        );
    }
}

fn truncate(file: &Path) {
    let bytes = fs::read(file).unwrap();
    fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
}

fn corrupt(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    bytes[2] = 0;
    fs::write(file, bytes).unwrap();
}

fn find(folder: &Path, name: &str) -> std::path::PathBuf {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .filter_map(|path| {
            if path.is_dir() {
                Some(find(&path, name))
            } else {
                (path.file_name()? == name).then_some(path)
            }
        })
        .find(|path| !path.as_os_str().is_empty())
        .unwrap_or_default()
}

#[test]
fn a_model_file_that_is_no_model() {
    refuses_what_is_no_model("tract", kiln);
    let message = error(&mut kiln(&["eval", "nowhere.onnx", "--data", TEST_DIGITS]));
    assert!(message.contains("nowhere.onnx"), "{message}");
}

#[test]
#[ignore = "downloads ONNX Runtime"]
fn a_model_file_that_is_no_model_on_onnx_runtime() {
    onnxruntime();
    refuses_what_is_no_model("ort", online);
}

fn refuses_what_is_no_model(engine: &str, kiln: fn(&[&str]) -> Command) {
    let folder = tempfile::tempdir().unwrap();
    let whole = fs::read(trained().join("model.onnx")).unwrap();
    for (name, bytes) in [
        ("empty.onnx", Vec::new()),
        ("text.onnx", b"<!DOCTYPE html><html>404</html>".to_vec()),
        ("truncated.onnx", whole[..whole.len() / 2].to_vec()),
    ] {
        let file = path(folder.path(), name);
        fs::write(&file, bytes).unwrap();
        let message = error(&mut kiln(&[
            "eval",
            &file,
            "--data",
            TEST_DIGITS,
            "--engine",
            engine,
        ]));
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn an_operator_that_tract_does_not_know_is_named() {
    names_the_operator("tract", kiln);
}

#[test]
#[ignore = "downloads ONNX Runtime"]
fn an_operator_that_onnx_runtime_does_not_know_is_named() {
    onnxruntime();
    names_the_operator("ort", online);
}

fn names_the_operator(engine: &str, kiln: fn(&[&str]) -> Command) {
    let folder = tempfile::tempdir().unwrap();
    let mut model = kiln_onnx::load(trained().join("model.onnx")).unwrap();
    let graph = model.graph.as_mut().unwrap();
    graph
        .node
        .iter_mut()
        .find(|node| node.op_type == "Relu")
        .unwrap()
        .op_type = "Frobnicate".into();
    let file = path(folder.path(), "odd.onnx");
    fs::write(&file, kiln_onnx::encode(&model)).unwrap();
    let message = error(&mut kiln(&[
        "eval",
        &file,
        "--data",
        TEST_DIGITS,
        "--engine",
        engine,
    ]));
    assert!(message.contains("Frobnicate"), "{engine}: {message}");
}

#[test]
fn a_library_that_is_missing_lists_the_places_tried() {
    let folder = tempfile::tempdir().unwrap();
    let model = path(trained(), "model.onnx");
    let args = ["eval", &model, "--data", TEST_DIGITS, "--engine", "ort"];
    let message = error(&mut kiln(&args));
    assert!(message.contains("kiln fetch onnxruntime"), "{message}");
    // A library that was asked for by name is never ignored.
    let quick = [
        "run",
        "models/quickstart.toml",
        "--runs",
        folder.path().to_str().unwrap(),
    ];
    let set = ["--set", "data.limit=128", "--set", "training.epochs=1"];
    let quick = [&quick[..], &DIGITS, &set].concat();
    for args in [&args[..], &quick] {
        let ended = crate::kiln::run(kiln(args).env("KILN_ORT_LIB", "/no/such/libonnxruntime.so"));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
        assert!(
            ended.stderr.contains("/no/such/libonnxruntime.so"),
            "{}",
            ended.stderr
        );
    }
    let text = path(folder.path(), "libonnxruntime.so");
    fs::write(&text, "not a library").unwrap();
    let message = error(&mut kiln(&[&args[..], &["--ort-lib", &text]].concat()));
    assert!(message.contains(&text), "{message}");
}

#[test]
fn an_output_that_cannot_be_written_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = path(folder.path(), "file");
    fs::write(&file, "").unwrap();
    // Below a file there can be no folder, whoever runs the test; permissions do not stop root.
    let below = path(folder.path(), "file/runs");
    let train = [
        "train",
        "models/quickstart.toml",
        "--runs",
        &below,
        "--quiet",
    ];
    let message = error(&mut kiln(&[&train[..], &DIGITS].concat()));
    assert!(message.contains("cannot write"), "{message}");
    let message = error(&mut kiln(&[
        "export",
        trained().to_str().unwrap(),
        "-o",
        &path(folder.path(), "file/m.onnx"),
    ]));
    assert!(message.contains("cannot write"), "{message}");
    let (model, csv) = (path(trained(), "model.onnx"), path(folder.path(), "p.csv"));
    let args = [
        "eval",
        &model,
        "--data",
        TEST_DIGITS,
        "--predictions",
        &csv,
        "--json",
        &below,
    ];
    let message = error(&mut kiln(&args));
    assert!(message.contains("cannot write"), "{message}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_run_that_is_none_or_unfinished() {
    let folder = tempfile::tempdir().unwrap();
    let message = error(&mut kiln(&["export", folder.path().to_str().unwrap()]));
    assert!(message.contains("is not a run directory"), "{message}");
    fs::copy(
        trained().join("recipe.toml"),
        folder.path().join("recipe.toml"),
    )
    .unwrap();
    let message = error(&mut kiln(&["export", folder.path().to_str().unwrap()]));
    assert!(message.contains("its training did not finish"), "{message}");
    fs::write(folder.path().join("weights.safetensors"), "nonsense").unwrap();
    let message = error(&mut kiln(&["export", folder.path().to_str().unwrap()]));
    assert!(
        message.contains("weights.safetensors: not a safetensors file"),
        "{message}"
    );
}

#[test]
fn usage_errors_come_from_the_argument_parser() {
    let message = error(&mut kiln(&[
        "eval",
        "model.onnx",
        "--data",
        "mnist",
        "--engine",
        "tensorrt",
    ]));
    assert!(
        message.contains("tract") && message.contains("ort"),
        "{message}"
    );
    let message = error(&mut kiln(&[
        "eval",
        &path(trained(), "model.onnx"),
        "--data",
        "cifar",
    ]));
    assert!(message.contains("unknown dataset `cifar`"), "{message}");
    assert!(ok(&["--version"]).stdout.starts_with("kiln "));
}

#[test]
fn a_bad_recipe_fails_before_training_starts() {
    let folder = tempfile::tempdir().unwrap();
    let runs = path(folder.path(), "runs");
    let train = ["train", "models/quickstart.toml", "--runs", &runs];
    for (set, expected) in [
        (
            "layers.dropout.rate=1.5",
            "must be a number of at least 0 and below 1, found 1.5",
        ),
        (
            "training.label_smoothing=2",
            "must be a number of at least 0 and below 1, found 2",
        ),
        (
            "training.schedule={type=\"linear\"}",
            "cannot be \"linear\". Valid values: constant, step,",
        ),
        (
            "training.schedule={type=\"piecewise_constant\", boundaries=[2], values=[1]}",
            "expected one less than values",
        ),
        (
            "training.optimizer={type=\"adam\", clipnorm=1, global_clipnorm=1}",
            "exclude one another",
        ),
        (
            "data.validation_split=0",
            "must be a number above 0 and below 1, found 0",
        ),
        ("data.limit=1", "there are no"),
        ("layers.max_pool.padding=sam", "did you mean `same`?"),
        (
            "augmentation.channel_shift_range=300",
            "must be a number from 0 to 255, found 300",
        ),
        ("augmentation.mixup=0", "must be a number above 0, found 0"),
        (
            "augmentation={cutmix=1.0, views=2}",
            "`mixup` and `cutmix` mix those of a batch",
        ),
    ] {
        let message = error(&mut kiln(
            &[&train[..], &DIGITS, &["--set", set, "--quiet"]].concat(),
        ));
        assert!(message.contains(expected), "{set}: {message}");
        assert!(!Path::new(&runs).exists(), "{set}");
    }
    for class in ["images/cat", "images/dog"] {
        fs::create_dir_all(folder.path().join(class)).unwrap();
    }
    image::GrayImage::new(8, 8)
        .save(folder.path().join("images/cat/1.png"))
        .unwrap();
    let images = format!("data.folder={}", path(folder.path(), "images"));
    let set = [
        "--set",
        "data.dataset=",
        "--set",
        &images,
        "--set",
        "layers.dense_1.units=2",
    ];
    let message = error(&mut kiln(&[&train[..], &set].concat()));
    assert!(
        message.contains("expected at least one image for each class of")
            && message.contains("found none of `dog`"),
        "{message}"
    );
    assert!(!Path::new(&runs).exists());
}

#[test]
fn a_loss_that_is_no_number_stops_with_epoch_step_and_rate() {
    let folder = tempfile::tempdir().unwrap();
    let args = [
        "train",
        "models/quickstart.toml",
        "--runs",
        folder.path().to_str().unwrap(),
    ];
    let set = [
        "--set",
        "training.optimizer={type=\"sgd\", learning_rate=1e30}",
    ];
    let ended = crate::kiln::run(&mut kiln(&[&args[..], &DIGITS, &set].concat()));
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(2), ""),
        "{}",
        ended.stderr
    );
    let error = ended.stderr.lines().rev().nth(1).unwrap();
    assert!(
        error.starts_with("error: the loss became ")
            && error.contains(" at step 2 of epoch 1 with"),
        "{error}"
    );
    assert!(
        error.contains("learning rate 1e30") && ended.stderr.contains("\nhelp: lower "),
        "{error}"
    );
}
