//! `kiln quantize`.

use std::fs;
use std::path::Path;

use crate::graph_backbone::classifier;
use crate::kiln::{self, TEST_DIGITS, error, kiln, ok, path, run, trained};

/// The digits with their subsets.
const DIGITS: &str = "tests/fixtures/digits";

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("valid JSON")
}

/// The trained model, and the smaller one to write.
fn files(folder: &Path) -> [String; 2] {
    [path(trained(), "model.onnx"), path(folder, "small.onnx")]
}

fn size(file: &str) -> u64 {
    fs::metadata(file).unwrap().len()
}

fn accuracy(model: &str, engine: &[&str]) -> f64 {
    let ended = ok(&[
        &["eval", model, "--data", TEST_DIGITS, "--json", "-"],
        engine,
    ]
    .concat());
    json(&ended.stdout)["accuracy"].as_f64().unwrap()
}

#[test]
fn a_small_model_passes_the_gate_and_proves_itself() {
    let folder = tempfile::tempdir().unwrap();
    let [model, small] = files(folder.path());
    let ended = ok(&[
        "quantize",
        &model,
        "--data",
        DIGITS,
        "-o",
        &small,
        "--images",
        "100",
        "--max-drop",
        "0.05",
        "--json",
        "-",
    ]);
    let record = json(&ended.stdout);
    assert_eq!(record["output"], small.as_str());
    assert_eq!(
        record["summary"],
        "8-bit integers, mse, 100 calibration images"
    );
    let comparison = &record["comparison"];
    assert_eq!(
        (&comparison["passed"], &comparison["images"]),
        (&true.into(), &100.into())
    );
    assert_eq!(record["bytes"][1].as_u64().unwrap(), size(&small));
    assert!(size(&small) * 2 < size(&model), "{record}");
    let described = json(&ok(&["describe", &small, "--json"]).stdout);
    let operators = &described["operators"];
    assert!(
        operators["QuantizeLinear"].as_u64().unwrap() >= 3,
        "{operators}"
    );
    assert_eq!(operators["BatchNormalization"], serde_json::Value::Null);
    let quantized = described["metadata"].to_string();
    assert!(
        quantized.contains("8-bit integers, mse, 100 calibration images; kiln "),
        "{quantized}"
    );
    // The golden vectors hold, with the tolerance that was found.
    ok(&["verify", &small]);
    assert!(
        (accuracy(&small, &[]) - comparison["models"][1]["accuracy"].as_f64().unwrap()).abs()
            < 1e-12
    );
}

/// Without images to measure on, the model is written and that is said.
#[test]
fn weights_alone_need_no_images() {
    let folder = tempfile::tempdir().unwrap();
    let model = path(trained(), "model.onnx");
    for (option, share) in [("--fp16", 0.75), ("--weights-only", 0.6)] {
        let small = path(folder.path(), &format!("{}.onnx", &option[2..]));
        let ended = ok(&["quantize", &model, "-o", &small, option]);
        assert!(
            ended.stderr.contains("what it costs was not measured"),
            "{}",
            ended.stderr
        );
        assert!(
            (size(&small) as f64) < share * size(&model) as f64,
            "{option}: {}",
            ended.stdout
        );
        ok(&["verify", &small]);
        assert!((accuracy(&small, &[]) - accuracy(&model, &[])).abs() < 0.02);
    }
}

#[test]
fn a_gate_that_fails_writes_nothing_and_layers_left_in_float_pass_it() {
    let folder = tempfile::tempdir().unwrap();
    let [model, small] = files(folder.path());
    // A twelfth of all values is clipped, the largest.
    let spoilt = [
        "quantize",
        &model,
        "--data",
        DIGITS,
        "-o",
        &small,
        "--images",
        "50",
        "--method",
        "percentile=92",
    ];
    let ended = run(&mut kiln(&[&spoilt[..], &["--max-drop", "0.1"]].concat()));
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        ended
            .stdout
            .contains("FAILED: at most 10.00 points may be lost"),
        "{}",
        ended.stdout
    );
    assert!(
        ended
            .stderr
            .contains("was not written: `--auto` finds the layers to leave in float"),
        "{}",
        ended.stderr
    );
    assert!(!Path::new(&small).exists());
    let ended = ok(&[&spoilt[..], &["--auto", "--max-drop", "0.1", "--json", "-"]].concat());
    let record = json(&ended.stdout);
    assert_eq!(record["comparison"]["passed"], true);
    let (kept, layers) = (
        record["kept"].as_array().unwrap(),
        record["layers"].as_array().unwrap(),
    );
    assert!(!kept.is_empty() && kept.len() < layers.len(), "{record}");
    // Those that cost most, in order.
    assert_eq!(kept[0], layers[0]["layer"]);
    let noise: Vec<f64> = layers
        .iter()
        .map(|layer| layer["noise"].as_f64().unwrap())
        .collect();
    assert!(noise.windows(2).all(|pair| pair[0] >= pair[1]), "{noise:?}");
    ok(&["verify", &small]);
}

#[test]
fn wrong_input_gets_one_clear_answer() {
    let folder = tempfile::tempdir().unwrap();
    let [model, small] = files(folder.path());
    let refused = |args: &[&str]| error(&mut kiln(&[&["quantize"], args].concat()));
    let message = refused(&[&model, "-o", &small]);
    assert!(message.contains("--data <DATA>"), "{message}");
    let message = refused(&[&model, "--data", DIGITS, "-o", &model]);
    assert!(
        message.contains("which the command works from"),
        "{message}"
    );
    let empty = path(folder.path(), "empty");
    fs::create_dir(&empty).unwrap();
    let message = refused(&[&model, "--data", &empty, "-o", &small]);
    assert!(message.contains("empty"), "{message}");
    let message = refused(&[
        &model, "--data", DIGITS, "-o", &small, "--images", "10", "--keep", "conv2e",
    ]);
    assert!(
        message.contains("no layer `conv2e` is put into 8 bits")
            && message.contains("did you mean `conv2d"),
        "{message}"
    );
    let message = refused(&[&model, "--data", DIGITS, "-o", &small, "--method", "median"]);
    assert!(
        message.contains("expected `mse`, `minmax`, `entropy`"),
        "{message}"
    );
    let message = refused(&[&model, "--fp16", "-o", &small, "--max-drop", "0.1"]);
    assert!(message.contains("name them with --eval"), "{message}");
    assert!(!Path::new(&small).exists());
    ok(&[
        "quantize", &model, "--data", DIGITS, "-o", &small, "--images", "10",
    ]);
    let again = path(folder.path(), "again.onnx");
    let message = refused(&[&small, "--data", DIGITS, "-o", &again]);
    assert!(
        message.contains("the model is quantized already: node `"),
        "{message}"
    );
}

/// Images of one class alone are few values, but no error: the gate tells what comes of them.
#[test]
fn one_class_alone_is_measured_like_all() {
    let folder = tempfile::tempdir().unwrap();
    let [model, small] = files(folder.path());
    let one = "tests/fixtures/digits/train/3";
    let ended = ok(&[
        "quantize",
        &model,
        "--data",
        one,
        "-o",
        &small,
        "--eval",
        TEST_DIGITS,
    ]);
    assert!(
        ended.stdout.contains("McNemar's exact test"),
        "{}",
        ended.stdout
    );
}

/// Runs the quickstart's recipe on the digits, with a smaller copy.
fn flow(folder: &Path, settings: &[&str]) -> std::process::Output {
    let runs = folder.to_str().expect("UTF-8");
    let args = ["run", "models/quickstart.toml", "--runs", runs, "--json"];
    let set = [
        "--set",
        "training.epochs=2",
        "--set",
        "training.batch_size=32",
    ];
    let all = [&args[..], &set, &kiln::DIGITS, settings].concat();
    kiln(&all).output().expect("kiln starts")
}

#[test]
fn a_recipe_asks_for_a_smaller_copy_which_is_verified_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let copy = [
        "--set",
        "export.quantize=int8",
        "--set",
        "export.max_drop=0.05",
    ];
    let ended = flow(folder.path(), &copy);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let run = folder.path().join("quickstart");
    let small = path(&run, "model-int8.onnx");
    let printed = json(std::str::from_utf8(&ended.stdout).unwrap());
    let written = json(&fs::read_to_string(run.join("quantized.json")).unwrap());
    assert_eq!(printed["smaller"], written);
    assert_eq!(written["file"], "model-int8.onnx");
    assert_eq!(written["bytes"][1], size(&small));
    assert!(written["bytes"][0].as_u64().unwrap() > 2 * size(&small));
    // Its figures are those of an evaluation of the file.
    let engines = written["engines"].as_array().unwrap();
    assert_eq!(engines[0]["engine"], "tract");
    let measured = accuracy(&small, &["--engine", "tract"]);
    assert_eq!(
        engines[0]["figures"][1]["value"],
        format!("{:.2} %", 100.0 * measured)
    );
    let float = accuracy(&path(&run, "model.onnx"), &["--engine", "tract"]);
    let paired = &engines[0]["paired"];
    let count = |key: &str| paired[key].as_f64().unwrap();
    let change = (count("only_second") - count("only_first")) / 100.0;
    assert!((measured - float - change).abs() < 1e-9, "{written}");
    assert_eq!(engines[0]["golden"]["passed"], true);
    ok(&["verify", &small]);
    assert_eq!(written["bound"]["passed"], true);
    assert!(!written["layers"].as_array().unwrap().is_empty());
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("Smaller model") && page.contains("this layer alone in 8 bits"));
    // It is made anew from the run's files.
    ok(&["report", run.to_str().unwrap()]);
    let again = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(again.contains("model-int8.onnx"));
}

#[test]
fn a_copy_that_cannot_be_made_is_an_error_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut old = classifier();
    old.opset_import[0].version = 11;
    let weights = path(folder.path(), "old.onnx");
    fs::write(&weights, kiln_onnx::encode(&old)).unwrap();
    let recipe = path(folder.path(), "old.toml");
    let text = format!(
        "[backbone]\nweights = \"{weights}\"\n[input]\nheight = 28\nwidth = 28\nchannels = \"gray\"\npreprocess = \"unit\"\n\
         [data]\nfolder = \"{DIGITS}\"\n[training]\nepochs = 1\n[[layers]]\ntype = \"dense\"\n[export]\nquantize = \"int8\"\n"
    );
    fs::write(&recipe, text).unwrap();
    let runs = path(folder.path(), "runs");
    let ended = run(&mut kiln(&["run", &recipe, "--runs", &runs]));
    let message = &ended.stderr;
    assert_eq!(ended.code, Some(2), "{message}");
    assert!(message.contains("opset 13 or later is needed"), "{message}");
    let run = folder.path().join("runs/old");
    for file in ["model.onnx", "eval.json", "parity.json", "report.html"] {
        assert!(run.join(file).exists(), "{file}");
    }
    assert!(!run.join("quantized.json").exists() && !run.join("model-int8.onnx").exists());
}
