//! A file proves by itself that a machine computes it correctly.

use std::fs;
use std::path::Path;
use std::process::Command;

use kiln_onnx::{Metadata, ModelProto, TensorProto};
use serde_json::Value;

use crate::kiln::{
    TEST_DIGITS, digits, error, kiln, mnist, ok, online, onnxruntime, path, run, succeed, trained,
    trained_on_mnist, unread,
};

fn model() -> String {
    path(trained(), "model.onnx")
}

fn report(file: &str) -> (Option<i32>, Value) {
    report_of(&mut kiln(&["verify", file, "--json"]))
}

fn report_of(command: &mut Command) -> (Option<i32>, Value) {
    let ended = run(command);
    (
        ended.code,
        serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{}", ended.stderr)),
    )
}

/// The model's file with a change.
fn changed(folder: &Path, name: &str, change: impl FnOnce(&mut ModelProto)) -> String {
    let mut model = kiln_onnx::load(model()).unwrap();
    change(&mut model);
    let file = path(folder, name);
    fs::write(&file, kiln_onnx::encode(&model)).unwrap();
    file
}

fn change_metadata(model: &mut ModelProto, change: impl FnOnce(&mut Metadata)) {
    let mut metadata = model.metadata().unwrap();
    change(&mut metadata);
    model.set_metadata(&metadata);
}

#[test]
fn a_file_is_replayed_on_tract() {
    let replay = ["verify", &model(), "--json", "--engine", "tract"];
    replays(&mut kiln(&replay), &["tract"]);
}

#[test]
#[ignore = "downloads ONNX Runtime"]
fn a_file_is_replayed_on_every_engine() {
    onnxruntime();
    replays(
        &mut online(&["verify", &model(), "--json"]),
        &["tract", "ort"],
    );
    let ended = succeed(&mut online(&["verify", &model(), "--engine", "ort"]));
    let line = ended.stdout.trim_end();
    assert!(
        line.starts_with("ONNX Runtime 1.")
            && line.contains("(cpu): 10 golden vectors, largest difference "),
        "{line}"
    );
    assert!(
        line.ends_with(": passed") && line.lines().count() == 1,
        "{line}"
    );
}

fn replays(command: &mut Command, expected: &[&str]) {
    let (code, report) = report_of(command);
    assert_eq!((code, &report["passed"]), (Some(0), &Value::Bool(true)));
    let engines = report["engines"].as_array().unwrap();
    assert_eq!(
        engines
            .iter()
            .map(|e| e["runtime"]["engine"].as_str().unwrap())
            .collect::<Vec<_>>(),
        expected
    );
    for engine in engines {
        assert!(engine["computed_by"].as_str().unwrap().contains("Burn"));
        let vectors = engine["vectors"].as_array().unwrap();
        assert_eq!(vectors.len(), 10);
        for vector in vectors {
            // Three implementations that agreed to the last bit would be one.
            let (difference, tolerance) = (
                vector["difference"].as_f64().unwrap(),
                vector["tolerance"].as_f64().unwrap(),
            );
            assert!(
                difference <= tolerance && (1e-4..1e-3).contains(&tolerance),
                "{vector}"
            );
        }
    }
}

#[test]
fn golden_inputs_are_the_images_own_pixels() {
    let golden = kiln_onnx::load(model())
        .unwrap()
        .metadata()
        .unwrap()
        .golden
        .unwrap();
    assert_eq!(golden.vectors.len(), 10);
    for vector in &golden.vectors {
        let number: usize = vector
            .source
            .strip_prefix("tests/fixtures/digits:test, image ")
            .unwrap_or_else(|| panic!("{}", vector.source))
            .parse()
            .unwrap();
        // Ten of each class.
        let image = image::open(&digits("test", number / 10)[number % 10]).unwrap();
        assert_eq!(vector.pixels, image.into_luma8().into_raw());
        assert_eq!([vector.height, vector.width, vector.channels], [28, 28, 1]);
    }
}

#[test]
#[ignore = "downloads MNIST and ONNX Runtime"]
fn golden_inputs_are_the_data_sets_own_pixels() {
    let model = path(trained_on_mnist(), "model.onnx");
    let images = fs::read(mnist().join("t10k-images-idx3-ubyte")).unwrap();
    let golden = kiln_onnx::load(&model)
        .unwrap()
        .metadata()
        .unwrap()
        .golden
        .unwrap();
    for vector in &golden.vectors {
        let number: usize = vector
            .source
            .strip_prefix("mnist:test, image ")
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(vector.pixels, images[16 + number * 784..][..784]);
        assert_eq!([vector.height, vector.width, vector.channels], [28, 28, 1]);
    }
}

/// The model's file with another weight.
fn other_weight(folder: &Path) -> String {
    changed(folder, "weight.onnx", |model| {
        let initializers = &mut model.graph.as_mut().unwrap().initializer;
        let tensor = initializers
            .iter_mut()
            .find(|tensor| tensor.name == "dense.weight")
            .unwrap();
        let (mut values, shape) = (tensor.to_f32().unwrap(), tensor.shape().unwrap());
        // One of some hundred thousand; of a row that matters, whatever the training made of it.
        let largest = (0..values.len())
            .max_by(|&a, &b| values[a].abs().total_cmp(&values[b].abs()))
            .unwrap();
        values[largest] += 0.5;
        *tensor = TensorProto::from_f32("dense.weight", &shape, &values);
    })
}

#[track_caller]
fn fails_times(command: &mut Command, count: usize) {
    let ended = run(command);
    assert_eq!(
        (ended.code, ended.stdout.matches("FAILED").count()),
        (Some(1), count),
        "{}{}",
        ended.stdout,
        ended.stderr
    );
}

#[test]
#[ignore = "downloads ONNX Runtime"]
fn a_weight_that_changed_is_found_by_every_engine() {
    let folder = tempfile::tempdir().unwrap();
    onnxruntime();
    let file = other_weight(folder.path());
    fails_times(&mut online(&["verify", &file]), 2);
}

#[test]
fn a_weight_that_changed_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = other_weight(folder.path());
    fails_times(&mut kiln(&["verify", &file, "--engine", "tract"]), 1);
    let (code, report) = report(&file);
    assert_eq!((code, &report["passed"]), (Some(1), &Value::Bool(false)));
    // Whether or not anyone reads why.
    assert_eq!(
        unread(&mut kiln(&["verify", &file])),
        (Some(1), String::new())
    );
    assert_eq!(unread(&mut kiln(&["verify", &file, "--json"])).0, Some(1));
    assert_eq!(unread(&mut kiln(&["verify", &model()])).0, Some(0));
}

#[test]
fn preprocessing_that_changed_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = changed(folder.path(), "scale.onnx", |model| {
        change_metadata(model, |metadata| {
            metadata.preprocessing.as_mut().unwrap().scale = 1.0 / 256.0;
        });
    });
    assert_eq!(report(&file).0, Some(1));
}

#[test]
fn labels_that_changed_places_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = changed(folder.path(), "labels.onnx", |model| {
        change_metadata(model, |metadata| {
            metadata.labels.as_mut().unwrap().reverse();
        });
    });
    let ended = run(&mut kiln(&["verify", &file, "--engine", "tract"]));
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.stdout.contains("which the model calls"),
        "{}",
        ended.stdout
    );
}

#[test]
fn what_a_file_says_cannot_command_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let clear = "\u{1b}[2J\u{9b}1A\r\n\u{202e}";
    let file = changed(folder.path(), "labels.onnx", |model| {
        change_metadata(model, |metadata| {
            metadata
                .labels
                .iter_mut()
                .flatten()
                .for_each(|label| label.insert_str(0, clear));
            metadata
                .golden
                .iter_mut()
                .flat_map(|golden| &mut golden.vectors)
                .for_each(|vector| vector.source = clear.into());
        });
    });
    let digits = folder.path().join("digits");
    fs::create_dir_all(&digits).unwrap();
    for class in 0..10 {
        image::GrayImage::new(28, 28)
            .save(digits.join(format!("{class}.png")))
            .unwrap();
    }
    let list = path(folder.path(), "list.csv");
    // Every label, so that some are mistakes.
    let lines = (0..10).map(|class| format!("digits/{class}.png,\"{clear}{class}\"\n"));
    fs::write(&list, format!("path,label\n{}", lines.collect::<String>())).unwrap();
    let unknown = path(folder.path(), "unknown.csv");
    fs::write(&unknown, format!("path,label\ndigits/0.png,\"{clear}x\"\n")).unwrap();
    for (args, code) in [
        (&["verify", &file, "--engine", "tract"][..], 1),
        (
            &["predict", &file, digits.to_str().unwrap(), "--top-k", "10"],
            0,
        ),
        (&["eval", &file, "--data", &list], 0),
        (&["eval", &file, "--data", &unknown], 2),
        (&["describe", &file], 0),
    ] {
        let ended = run(&mut kiln(args));
        assert_eq!(ended.code, Some(code), "{args:?} {ended:?}");
        let unsafe_char = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        let text = [ended.stdout, ended.stderr].concat();
        assert!(
            !text.contains(unsafe_char) && text.contains('\u{fffd}'),
            "{args:?} {text:?}"
        );
    }
}

#[test]
fn a_weight_that_is_no_number_is_a_difference() {
    let folder = tempfile::tempdir().unwrap();
    let file = changed(folder.path(), "nan.onnx", |model| {
        let initializers = &mut model.graph.as_mut().unwrap().initializer;
        let tensor = initializers
            .iter_mut()
            .find(|tensor| tensor.name == "conv2d.bias")
            .unwrap();
        let (mut values, shape) = (tensor.to_f32().unwrap(), tensor.shape().unwrap());
        values[0] = f32::NAN;
        *tensor = TensorProto::from_f32("conv2d.bias", &shape, &values);
    });
    let (code, report) = report(&file);
    assert_eq!(code, Some(1), "{report}");
}

#[test]
fn a_file_without_golden_vectors_cannot_be_verified() {
    let folder = tempfile::tempdir().unwrap();
    let file = path(folder.path(), "plain.onnx");
    ok(&[
        "export",
        trained().to_str().unwrap(),
        "--no-golden",
        "-o",
        &file,
    ]);
    let message = error(&mut kiln(&["verify", &file]));
    assert!(
        message.contains("plain.onnx") && message.contains("kiln.golden"),
        "{message}"
    );
    assert!(fs::read(&file).unwrap() != fs::read(model()).unwrap());
}

#[test]
fn an_export_is_not_named_like_another_format() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["model.torchscript", "model.pt", "model.tflite"] {
        let file = path(folder.path(), name);
        let message = error(&mut kiln(&[
            "export",
            trained().to_str().unwrap(),
            "-o",
            &file,
        ]));
        assert!(message.contains("does not end in .onnx"), "{message}");
        assert!(!Path::new(&file).exists());
    }
}

#[test]
#[ignore = "downloads MNIST and ONNX Runtime"]
fn without_the_data_set_there_are_no_golden_vectors() {
    let folder = tempfile::tempdir().unwrap();
    let file = path(folder.path(), "plain.onnx");
    let run_dir = trained_on_mnist().to_str().unwrap();
    ok(&["export", run_dir, "--no-golden", "-o", &file]);
    // Exporting fetches nothing: where the dataset is not at hand, it says what that means.
    let other = path(folder.path(), "other.onnx");
    let mut command = online(&["export", run_dir, "-o", &other]);
    let ended = run(command.env("KILN_CACHE", folder.path().join("cache")));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("kiln fetch mnist"),
        "{}",
        ended.stderr
    );
    assert!(fs::read(&file).unwrap() == fs::read(other).unwrap());
    let model = trained_on_mnist().join("model.onnx");
    assert!(fs::read(&file).unwrap() != fs::read(model).unwrap());
}

#[test]
#[ignore = "downloads MNIST and ONNX Runtime"]
fn a_verified_file_is_not_replaced_by_one_that_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let run_dir = folder.path().join("run");
    fs::create_dir(&run_dir).unwrap();
    for entry in fs::read_dir(trained_on_mnist())
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.path().is_file())
    {
        fs::copy(entry.path(), run_dir.join(entry.file_name())).unwrap();
    }
    let (dir, verified) = (
        run_dir.to_str().unwrap(),
        fs::read(run_dir.join("model.onnx")).unwrap(),
    );
    let weights = fs::read(run_dir.join("weights.safetensors")).unwrap();
    let printed = succeed(&mut online(&["export", dir, "--no-golden"])).stdout;
    assert!(
        printed.trim_end().ends_with("model-no-golden.onnx"),
        "{printed}"
    );
    assert!(
        run(&mut online(&["verify", printed.trim_end()]))
            .stderr
            .contains("kiln.golden")
    );
    // Without the dataset, the vectors cannot be made again.
    let mut command = online(&["export", dir]);
    let message = error(command.env("KILN_CACHE", folder.path().join("cache")));
    assert!(
        message.contains("model.onnx has golden vectors") && message.contains("kiln fetch mnist"),
        "{message}"
    );
    succeed(&mut online(&["export", dir, "--softmax"]));
    let message = error(&mut online(&["export", dir, "--softmax", "--no-golden"]));
    assert!(
        message.contains("model-softmax.onnx has golden vectors") && message.contains("-o"),
        "{message}"
    );
    for taken in ["weights.safetensors", "model.onnx"] {
        let file = path(&run_dir, taken);
        let message = error(&mut online(&["export", dir, "--softmax", "-o", &file]));
        assert!(
            message.contains("--output would replace `") && message.contains(taken),
            "{message}"
        );
    }
    let message = error(&mut online(&[
        "report",
        dir,
        "-o",
        &path(&run_dir, "weights.safetensors"),
    ]));
    assert!(message.contains("--output would replace `"), "{message}");
    assert!(fs::read(run_dir.join("model.onnx")).unwrap() == verified);
    assert!(fs::read(run_dir.join("weights.safetensors")).unwrap() == weights);
    // With it they are the same again.
    succeed(&mut online(&["export", dir]));
    assert!(fs::read(run_dir.join("model.onnx")).unwrap() == verified);
}

#[test]
fn the_file_says_where_it_comes_from() {
    let environment: Value =
        serde_json::from_slice(&fs::read(trained().join("environment.json")).unwrap()).unwrap();
    let provenance = kiln_onnx::load(model())
        .unwrap()
        .metadata()
        .unwrap()
        .provenance;
    for key in [
        "kiln",
        "recipe",
        "dataset",
        "seed",
        "epoch",
        "val_accuracy",
        "platform",
        "device",
    ] {
        assert!(provenance.contains_key(key), "{key}: {provenance:?}");
    }
    for (file, checksum) in environment["data"].as_object().unwrap() {
        assert_eq!(
            Some(provenance[&format!("data:{file}")].as_str()),
            checksum.as_str()
        );
    }
}

#[test]
fn a_graph_that_takes_pixels_gives_the_same_answers() {
    takes_pixels(trained(), TEST_DIGITS, 100, &["tract"], kiln);
}

#[test]
#[ignore = "downloads MNIST and ONNX Runtime"]
fn a_graph_that_takes_pixels_gives_the_same_answers_on_every_engine() {
    let engines = ["ort", "tract"];
    takes_pixels(trained_on_mnist(), "mnist:test", 10_000, &engines, online);
}

/// Compares all engines on both graphs with the first of the engines on values.
fn takes_pixels(
    trained: &Path,
    data: &str,
    images: usize,
    engines: &[&str],
    kiln: fn(&[&str]) -> Command,
) {
    let ok = |args: &[&str]| succeed(&mut kiln(args));
    let folder = tempfile::tempdir().unwrap();
    let [pixels, values] = ["pixels.onnx", "values.onnx"].map(|name| path(folder.path(), name));
    ok(&[
        "export",
        trained.to_str().unwrap(),
        "--uint8-input",
        "-o",
        &pixels,
    ]);
    ok(&[
        "export",
        trained.to_str().unwrap(),
        "--softmax",
        "-o",
        &values,
    ]);
    let (code, _) = report_of(&mut kiln(&["verify", &pixels, "--json"]));
    assert_eq!(code, Some(0));
    let rows = |model: &str, engine: &str| -> Vec<(String, Vec<f64>)> {
        let ended = ok(&[
            "eval",
            model,
            "--data",
            data,
            "--engine",
            engine,
            "--predictions",
            "-",
        ]);
        let mut reader = csv(&ended.stdout).into_iter();
        let header = reader.next().unwrap();
        let at = |name: &str| header.iter().position(|column| column == name).unwrap();
        let (predicted, scores) = (at("predicted"), at("p_0"));
        reader
            .map(|row| {
                (
                    row[predicted].clone(),
                    row[scores..].iter().map(|p| p.parse().unwrap()).collect(),
                )
            })
            .collect()
    };
    let expected = rows(&values, engines[0]);
    assert_eq!(expected.len(), images);
    for engine in engines {
        for ((class, found), (expected_class, expected)) in
            rows(&pixels, engine).iter().zip(&expected)
        {
            assert_eq!(class, expected_class);
            assert!(
                found
                    .iter()
                    .zip(expected)
                    .all(|(a, b)| (a - b).abs() < 1e-5),
                "{found:?} {expected:?}"
            );
        }
    }
    // An image of another size and with colors, which kiln brings to what the graph takes.
    let picture = path(folder.path(), "picture.png");
    let pixel = |x: u32, y: u32| image::Rgb([(x * 3) as u8, (y * 5) as u8, 0]);
    image::RgbImage::from_fn(61, 40, pixel)
        .save(&picture)
        .unwrap();
    let predict = |model: &str, engine: &str| {
        let ended = ok(&["predict", model, &picture, "--engine", engine, "--json"]);
        // After the line that says what it ran on.
        let found: Value = serde_json::from_str(ended.stdout.lines().nth(1).unwrap()).unwrap();
        (
            found["label"].clone(),
            found["probability"].as_f64().unwrap(),
        )
    };
    let (label, probability) = predict(&pixels, "tract");
    let other = predict(&pixels, engines[0]);
    assert!(
        other.0 == label && (other.1 - probability).abs() < 1e-5,
        "{other:?} {probability}"
    );
    // Resized pixels are rounded to 8 bits: half of 1/255 here and there.
    let exact = predict(&values, "tract");
    assert!(
        exact.0 == label && (exact.1 - probability).abs() < 0.02,
        "{exact:?} {probability}"
    );
}

fn csv(text: &str) -> Vec<Vec<String>> {
    text.lines()
        .map(|line| line.split(',').map(String::from).collect())
        .collect()
}

#[test]
fn features_are_not_pixels() {
    let ended = run(&mut kiln(&[
        "export",
        "runs/x",
        "--uint8-input",
        "--head-only",
    ]));
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("cannot be used with"),
        "{}",
        ended.stderr
    );
}
