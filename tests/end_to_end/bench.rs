//! `kiln bench`.

use std::fs;

use std::process::Command;

use crate::kiln::{error, kiln, ok, online, onnxruntime, path, succeed, trained};

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("valid JSON")
}

#[test]
fn tract_is_measured_at_every_batch_size() {
    measures(&["tract"], kiln);
}

#[test]
#[ignore = "downloads ONNX Runtime"]
fn every_engine_present_is_measured_at_every_batch_size() {
    onnxruntime();
    let record = measures(&["tract", "ort"], online);
    let ort = &record["engines"][1]["runtime"];
    assert!(
        ort["library"].as_str().unwrap().contains("onnxruntime")
            && ort["nodes"]["CPUExecutionProvider"].as_u64() > Some(3)
    );
}

/// Measures a model on these engines and returns the record.
fn measures(expected: &[&str], kiln: fn(&[&str]) -> Command) -> serde_json::Value {
    let folder = tempfile::tempdir().unwrap();
    let (model, file, plot) = (
        path(trained(), "model.onnx"),
        path(folder.path(), "bench.json"),
        path(folder.path(), "bench.svg"),
    );
    let args = [
        "bench",
        &model,
        "--batch-size",
        "4,1",
        "--runs",
        "12",
        "--json",
        &file,
        "--plot",
        &plot,
        "--threads",
        "2",
    ];
    let with_ort = expected.contains(&"ort");
    let args = [
        &args[..],
        if with_ort {
            &[]
        } else {
            &["--engine", "tract"]
        },
    ];
    let ended = succeed(&mut kiln(&args.concat()));
    let words = ["tract", "p99", "images/s", "first run", "2 threads"];
    let of_ort = ["ONNX Runtime", "CPUExecutionProvider"];
    let of_ort = of_ort.iter().filter(|_| with_ort);
    for word in words.iter().chain(of_ort) {
        assert!(ended.stdout.contains(word), "{word}\n{}", ended.stdout);
    }
    assert!(
        ended.stderr.contains("Measured batch 1 on tract"),
        "{}",
        ended.stderr
    );

    let record = json(&fs::read_to_string(file).unwrap());
    assert_eq!(record["input"]["shape"], serde_json::json!([1, 28, 28]));
    assert_eq!(
        record["model"]["bytes"].as_u64(),
        Some(fs::metadata(&model).unwrap().len())
    );
    let engines = record["engines"].as_array().unwrap();
    let names: Vec<_> = engines
        .iter()
        .map(|engine| engine["runtime"]["engine"].as_str().unwrap())
        .collect();
    assert_eq!(names, expected);
    for engine in engines {
        assert_eq!(engine["runtime"]["threads"], 2);
        assert!(engine["load_ms"].as_f64().unwrap() > 0.0);
        let batches = engine["batches"].as_array().unwrap();
        assert_eq!(
            batches
                .iter()
                .map(|batch| batch["batch"].as_u64().unwrap())
                .collect::<Vec<_>>(),
            [1, 4]
        );
        for batch in batches {
            let value = |key: &str| {
                batch[key]
                    .as_f64()
                    .unwrap_or_else(|| panic!("{key} in {batch}"))
            };
            assert_eq!(batch["calls"], 12);
            let ordered = ["min_ms", "p50_ms", "p90_ms", "p95_ms", "p99_ms", "max_ms"].map(value);
            assert!(ordered.is_sorted() && ordered[0] > 0.0, "{batch}");
            assert!(value("first_run_ms") > 0.0);
            // One caller: the time between its runs is short.
            let rate = value("batch") / value("mean_ms") * 1e3;
            assert!(
                (0.5..1.001).contains(&(value("images_per_second") / rate)),
                "{batch}"
            );
        }
    }

    let plot = fs::read_to_string(plot).unwrap();
    assert!(
        plot.starts_with("<svg")
            && plot.contains("batch size")
            && plot.contains("ONNX Runtime") == with_ort
    );
    record
}

#[test]
fn an_engine_may_be_chosen_and_json_is_all_there_is() {
    let model = path(trained(), "model.onnx");
    let ended = ok(&[
        "bench",
        &model,
        "--engine",
        "tract",
        "--batch-size",
        "2",
        "--duration",
        "0.05",
        "--json",
        "-",
        "--quiet",
    ]);
    let engines = json(&ended.stdout)["engines"].as_array().unwrap().clone();
    assert_eq!((engines.len(), ended.stderr.as_str()), (1, ""));
    assert!(engines[0]["batches"][0]["calls"].as_u64() >= Some(3));
}

#[test]
#[ignore = "downloads ONNX Runtime"]
fn several_callers_share_a_model() {
    onnxruntime();
    let model = path(trained(), "model.onnx");
    let args = [
        "bench",
        &model,
        "--batch-size",
        "1",
        "--runs",
        "61",
        "--callers",
        "3",
        "--threads",
        "2",
        "--json",
        "-",
    ];
    let record = json(&succeed(&mut online(&args)).stdout);
    assert_eq!(record["callers"], 3);
    let [tract, ort] = record["engines"].as_array().unwrap().as_slice() else {
        panic!("{record}")
    };
    assert_eq!(
        [&tract["batches"][0]["calls"], &ort["batches"][0]["calls"]],
        [61, 61]
    );
    // One run at a time for each thread; tract's runs are on the callers' threads.
    assert_eq!(
        (
            &ort["runtime"]["parallel_runs"],
            &tract["runtime"]["parallel_runs"]
        ),
        (&2.into(), &().into())
    );
}

#[test]
fn a_model_that_says_nothing_about_images_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let model = path(folder.path(), "bare.onnx");
    let mut proto = kiln_onnx::load(trained().join("model.onnx")).unwrap();
    proto.metadata_props.clear();
    fs::write(&model, kiln_onnx::encode(&proto)).unwrap();
    let args = [
        "bench",
        &model,
        "--engine",
        "tract",
        "--batch-size",
        "1",
        "--runs",
        "2",
    ];
    let ended = ok(&args);
    assert!(
        ended.stderr.contains("preprocessing is not specified"),
        "{}",
        ended.stderr
    );
    // What is said of it counts.
    let told = ok(&[&args[..], &["--scale", "1/255"]].concat());
    assert!(!told.stderr.contains("nothing says"), "{}", told.stderr);
    let message = error(&mut kiln(&["predict", &model, "x.png"]));
    assert!(
        message.contains("does not specify the preprocessing"),
        "{message}"
    );
}

#[test]
fn what_cannot_be_measured_is_said_before_the_work() {
    let model = path(trained(), "model.onnx");
    let args = ["bench", &model, "--engine", "tract"];
    let with = |more: &[&str]| error(&mut kiln(&[&args[..], more].concat()));
    assert!(with(&["--batch-size", "0"]).contains("0 is not in 1..=65536"));
    assert!(with(&["--duration", "0"]).contains("above 0"));
    assert!(
        with(&["--plot", "plot.pdf"]).contains("expected a file name that ends in .png or .svg")
    );
    assert!(with(&["--json", "/dev/null/x.json"]).contains("/dev/null/x.json"));
    assert!(
        with(&["--device", "cuda"]).contains("the engine `tract` cannot use the device `cuda`")
    );
}

#[test]
fn a_profile_lists_the_steps_of_a_graph() {
    let model = path(trained(), "model.onnx");
    let text = ok(&[
        "bench",
        &model,
        "--profile",
        "--engine",
        "tract",
        "--runs",
        "3",
        "--json",
    ])
    .stdout;
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    let steps = found["steps"].as_array().unwrap();
    let names: Vec<&str> = steps
        .iter()
        .map(|step| step["step"].as_str().unwrap())
        .collect();
    assert_eq!(names[0], "conv 3x3, 1 to 32, 28x28");
    assert!(
        names.iter().any(|name| name.starts_with("dense, ")),
        "{names:?}"
    );
    let sum: f64 = steps.iter().map(|step| step["ms"].as_f64().unwrap()).sum();
    let whole = found["ms"].as_f64().unwrap();
    assert!(sum > 0.0 && sum <= whole, "{sum} of {whole}");
    for rate in ["peak_gflops", "peak_gb_per_s"] {
        assert!(found[rate].as_f64().unwrap() > 0.0, "{text}");
    }
    let table = ok(&[
        "bench",
        &model,
        "--profile",
        "--engine",
        "tract",
        "--runs",
        "1",
    ])
    .stdout;
    assert!(table.contains("of the roofline"), "{table}");
}
