//! Train, export, verify, evaluate.

use std::fs;

use crate::kiln::{
    DIGITS, TEST_DIGITS, error, kiln, ok, online, onnxruntime, path, run, succeed, trained,
    trained_on_mnist,
};

const FILES: [&str; 16] = [
    "checkpoints",
    "checkpoints/best.safetensors",
    "checkpoints/last.safetensors",
    "confusion.svg",
    "curves.svg",
    "environment.json",
    "eval.json",
    "history.csv",
    "labels.json",
    "metrics.jsonl",
    "model.onnx",
    "parity.json",
    "predictions.csv",
    "recipe.toml",
    "report.html",
    "weights.safetensors",
];

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("valid JSON")
}

#[test]
fn a_run_leaves_every_file_and_nothing_else() {
    let found = |folder: &str| -> Vec<String> {
        let entries = fs::read_dir(trained().join(folder)).unwrap();
        let name = |entry: std::io::Result<fs::DirEntry>| {
            entry.unwrap().file_name().into_string().unwrap()
        };
        entries
            .map(name)
            .map(|n| {
                if folder.is_empty() {
                    n
                } else {
                    format!("{folder}/{n}")
                }
            })
            .collect()
    };
    let mut all = [found(""), found("checkpoints")].concat();
    all.sort();
    assert_eq!(all, FILES);
}

#[test]
fn two_implementations_agree_on_the_exported_file() {
    let parity = json(&fs::read_to_string(trained().join("parity.json")).unwrap());
    assert_eq!(parity["passed"], true);
    let comparisons = parity["comparisons"].as_array().unwrap();
    let batches: Vec<u64> = comparisons
        .iter()
        .filter(|c| c["reference"] == "Burn" && c["other"] == "tract")
        .map(|c| c["batch_size"].as_u64().unwrap())
        .collect();
    assert_eq!(batches, [1, 2, 32]);
    for comparison in comparisons {
        assert!(
            comparison["max_absolute"].as_f64().unwrap() <= 1e-4,
            "{comparison}"
        );
    }
}

#[test]
#[ignore = "downloads MNIST and ONNX Runtime"]
fn three_implementations_agree_on_the_exported_file() {
    let parity = json(&fs::read_to_string(trained_on_mnist().join("parity.json")).unwrap());
    assert_eq!(parity["passed"], true);
    let comparisons = parity["comparisons"].as_array().unwrap();
    let names = |c: &serde_json::Value| {
        [&c["reference"], &c["other"]].map(|n| n.as_str().unwrap().to_string())
    };
    let at = |batch: u64| -> Vec<[String; 2]> {
        comparisons
            .iter()
            .filter(|c| c["batch_size"] == batch && c["images"] == 128)
            .map(names)
            .collect()
    };
    let pairs = [
        ["Burn", "tract"],
        ["Burn", "ONNX Runtime"],
        ["tract", "ONNX Runtime"],
    ];
    for batch in [1, 2, 128] {
        assert_eq!(
            at(batch),
            pairs.map(|pair| pair.map(String::from)),
            "batch {batch}"
        );
    }
    let all = comparisons
        .iter()
        .find(|c| c["images"] == 10_000)
        .expect("the engines are compared on all test images");
    assert_eq!(
        (names(all), all["same_top"].as_u64()),
        (["tract", "ONNX Runtime"].map(String::from), Some(10_000))
    );
    for comparison in comparisons {
        assert!(
            comparison["max_absolute"].as_f64().unwrap() <= 1e-4,
            "{comparison}"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_weights_and_the_same_file() {
    let runs = tempfile::tempdir().unwrap();
    let train = |seed: &str| {
        let args = [
            "train",
            "models/quickstart.toml",
            "--runs",
            runs.path().to_str().unwrap(),
        ];
        let set = [
            "--set",
            "training.epochs=1",
            "--set",
            "data.limit=300",
            "--set",
            seed,
        ];
        let ended = ok(&[&args[..], &DIGITS, &set].concat());
        fs::read(path(ended.stdout.trim().as_ref(), "weights.safetensors")).unwrap()
    };
    let (first, second, other) = (
        train("training.seed=7"),
        train("training.seed=7"),
        train("training.seed=8"),
    );
    assert!(first == second, "the same seed gave other weights");
    assert!(first != other, "another seed gave the same weights");
    let export = |run: &str| {
        let file = path(runs.path(), &format!("{run}.onnx"));
        ok(&["export", &path(runs.path(), run), "-o", &file]);
        fs::read(file).unwrap()
    };
    assert!(
        export("quickstart") == export("quickstart-2"),
        "the same weights gave another file"
    );
}

#[test]
fn training_learns() {
    let history = fs::read_to_string(trained().join("history.csv")).unwrap();
    let losses: Vec<f64> = history
        .lines()
        .skip(1)
        .map(|l| l.split(',').nth(1).unwrap().parse().unwrap())
        .collect();
    assert_eq!(losses.len(), 2);
    assert!(losses[1] < losses[0] * 0.8, "{losses:?}");
}

#[test]
#[ignore = "downloads MNIST and ONNX Runtime"]
fn both_engines_evaluate_to_the_same_figures_and_predictions() {
    let folder = tempfile::tempdir().unwrap();
    let model = path(trained_on_mnist(), "model.onnx");
    let evaluate = |engine: &str| {
        let (json_file, csv) = (
            path(folder.path(), "eval.json"),
            path(folder.path(), "predictions.csv"),
        );
        let args = [
            "eval",
            &model,
            "--data",
            "mnist:test",
            "--engine",
            engine,
            "--json",
            &json_file,
            "--predictions",
            &csv,
        ];
        let ended = succeed(&mut online(&args));
        assert!(
            ended.stdout.contains("precision") && ended.stdout.contains("weighted avg"),
            "{}",
            ended.stdout
        );
        (
            json(&fs::read_to_string(json_file).unwrap()),
            fs::read_to_string(csv).unwrap(),
        )
    };
    let (tract, tract_csv) = evaluate("tract");
    let (ort, ort_csv) = evaluate("ort");
    assert_eq!(
        (&tract["runtime"]["engine"], &ort["runtime"]["engine"]),
        (&"tract".into(), &"ort".into())
    );
    assert_eq!(tract["accuracy"], ort["accuracy"]);
    assert_eq!(tract["confusion"], ort["confusion"]);
    let predicted = |csv: &str| -> Vec<String> {
        csv.lines()
            .skip(1)
            .map(|line| line.split(',').take(3).collect::<Vec<_>>().join(","))
            .collect()
    };
    assert_eq!(predicted(&tract_csv).len(), 10_000);
    assert_eq!(predicted(&tract_csv), predicted(&ort_csv));
    let right = predicted(&tract_csv)
        .iter()
        .filter(|l| l.split(',').nth(1) == l.split(',').nth(2))
        .count();
    assert!((tract["accuracy"].as_f64().unwrap() - right as f64 / 1e4).abs() < 1e-12);
}

#[test]
fn json_on_standard_output_is_all_there_is() {
    let model = path(trained(), "model.onnx");
    let ended = ok(&["eval", &model, "--data", TEST_DIGITS, "--json", "-"]);
    assert_eq!(json(&ended.stdout)["images"], 100);
}

#[test]
fn an_exported_softmax_gives_probabilities() {
    let folder = tempfile::tempdir().unwrap();
    let file = path(folder.path(), "softmax.onnx");
    ok(&[
        "export",
        trained().to_str().unwrap(),
        "--softmax",
        "-o",
        &file,
    ]);
    let ended = ok(&["eval", &file, "--data", TEST_DIGITS, "--json", "-"]);
    let logits = ok(&[
        "eval",
        &path(trained(), "model.onnx"),
        "--data",
        TEST_DIGITS,
        "--json",
        "-",
    ]);
    let (a, b) = (json(&ended.stdout), json(&logits.stdout));
    assert_eq!(a["accuracy"], b["accuracy"]);
    assert!((a["loss"].as_f64().unwrap() - b["loss"].as_f64().unwrap()).abs() < 1e-4);
}

#[test]
#[ignore = "downloads ONNX Runtime"]
fn a_gpu_that_is_not_there_is_an_error_and_no_fallback() {
    onnxruntime();
    let model = path(trained(), "model.onnx");
    let message = error(&mut online(&[
        "eval",
        &model,
        "--data",
        TEST_DIGITS,
        "--engine",
        "ort",
        "--device",
        "cuda",
    ]));
    assert!(message.to_lowercase().contains("cuda"), "{message}");
}

#[test]
fn tract_has_no_gpu() {
    let model = path(trained(), "model.onnx");
    let message = error(&mut kiln(&[
        "eval",
        &model,
        "--data",
        TEST_DIGITS,
        "--device",
        "cuda",
    ]));
    assert!(
        message.contains("the engine `tract` cannot use the device `cuda`")
            && message.contains("help: use --engine ort, or --device cpu"),
        "{message}"
    );
}

#[cfg(unix)]
#[test]
fn an_interrupted_training_keeps_the_best_weights() {
    use std::io::{BufRead, BufReader};
    let runs = tempfile::tempdir().unwrap();
    let args = [
        "train",
        "models/quickstart.toml",
        "--runs",
        runs.path().to_str().unwrap(),
    ];
    let mut command = kiln(&[&args[..], &DIGITS, &["--set", "training.epochs=1000"]].concat());
    let mut child = command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    assert!(lines.any(|line| line.contains("Epoch") && line.contains("1/1000")));
    let killed = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let folder = path(runs.path(), "quickstart");
    assert!(
        rest.last()
            .unwrap()
            .contains(&format!("kiln export {folder}")),
        "{rest:?}"
    );
    ok(&["export", &folder]);
}

#[test]
fn a_run_that_diverges_says_where_and_exits_with_2() {
    let runs = tempfile::tempdir().unwrap();
    let args = [
        "train",
        "models/quickstart.toml",
        "--runs",
        runs.path().to_str().unwrap(),
    ];
    let set = ["--set", "training.optimizer.learning_rate=1e30"];
    let ended = run(&mut kiln(&[&args[..], &DIGITS, &set].concat()));
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("of epoch 1 with learning rate") && ended.stderr.contains("lower"),
        "{}",
        ended.stderr
    );
}
