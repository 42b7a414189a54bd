//! `kiln compare`.

use std::fs;

use crate::kiln::{error, kiln, ok, path, run, trained};

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("valid JSON")
}

/// A model with fewer epochs behind it than [`trained`].
fn worse(folder: &std::path::Path) -> String {
    let runs = folder.to_str().unwrap();
    let set = ["--set", "training.epochs=1", "--set", "data.limit=256"];
    ok(&[&["train", "models/quickstart.toml", "--runs", runs][..], &set].concat());
    ok(&["export", &path(folder, "quickstart")]);
    path(&folder.join("quickstart"), "model.onnx")
}

#[test]
fn a_model_is_as_good_as_itself() {
    let model = path(trained(), "model.onnx");
    let ended = ok(&["compare", &model, &model, "--data", "mnist:test", "--max-drop", "0", "--json", "-"]);
    let record = json(&ended.stdout);
    assert_eq!((&record["agreement"], &record["p_value"], &record["passed"]), (&1.0.into(), &1.0.into(), &true.into()));
    assert_eq!(record["differences"], serde_json::json!([]));
}

#[test]
fn two_models_are_told_apart_image_by_image() {
    let folder = tempfile::tempdir().unwrap();
    let (better, worse, file) = (path(trained(), "model.onnx"), worse(folder.path()), path(folder.path(), "c.json"));
    let args = ["compare", &better, &worse, "--data", "mnist:test", "--show", "3", "--json", &file];
    let ended = ok(&args);
    for word in ["only A", "only B", "p = ", "the first 3 of", "margin of A", "images/s at 1"] {
        assert!(ended.stdout.contains(word), "{word}\n{}", ended.stdout);
    }
    let record = json(&fs::read_to_string(&file).unwrap());
    let count = |key: &str| record[key].as_u64().unwrap();
    assert_eq!(["both_right", "only_first", "only_second", "both_wrong"].map(count).iter().sum::<u64>(), 10_000);

    // The same figures as from evaluating each.
    let evaluated = [&better, &worse].map(|model| {
        let csv = path(folder.path(), "p.csv");
        let ended = ok(&["eval", model, "--data", "mnist:test", "--json", "-", "--predictions", &csv]);
        let lines = fs::read_to_string(csv).unwrap();
        let cells = lines.lines().skip(1).map(|line| line.split(',').map(String::from).collect::<Vec<_>>());
        (json(&ended.stdout)["accuracy"].as_f64().unwrap(), cells.collect::<Vec<_>>())
    });
    let [(a, a_lines), (b, b_lines)] = evaluated;
    let accuracy = |at: usize| record["models"][at]["accuracy"].as_f64().unwrap();
    assert_eq!([accuracy(0), accuracy(1)].map(f64::to_bits), [a, b].map(f64::to_bits));
    assert!((record["accuracy_change"].as_f64().unwrap() - (b - a)).abs() < 1e-12 && b < a - 0.01, "{a} {b}");
    let differences = record["differences"].as_array().unwrap();
    let differ: Vec<usize> = (0..10_000).filter(|&at| a_lines[at][2] != b_lines[at][2]).collect();
    assert_eq!(differences.len(), differ.len());
    for difference in differences {
        let at = difference["index"].as_u64().unwrap() as usize;
        let said = [&difference["label"], &difference["first"]["predicted"], &difference["second"]["predicted"]];
        let cells = [&a_lines[at][1], &a_lines[at][2], &b_lines[at][2]];
        assert_eq!(said.map(|value| value.as_str().unwrap()), cells.map(String::as_str));
    }
    let margin = |d: &serde_json::Value| {
        ["first", "second"].map(|m| d[m]["margin"].as_f64().unwrap()).into_iter().fold(2.0, f64::min)
    };
    assert!(differences.windows(2).all(|pair| margin(&pair[0]) >= margin(&pair[1])) && margin(&differences[0]) > 0.0);

    // More is lost than may be: exit code 1, after all is said.
    let ended = run(&mut kiln(&[&args[..5], &["--max-drop", "0.001"]].concat()));
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stdout.contains("FAILED: at most 0.10 points"), "{}", ended.stdout);
    assert_eq!(
        run(&mut kiln(&["compare", &worse, &better, "--data", "mnist:test", "--max-drop", "0.001"])).code,
        Some(0)
    );
}

#[test]
fn models_of_other_classes_are_refused_with_the_first_difference() {
    let folder = tempfile::tempdir().unwrap();
    let model = path(trained(), "model.onnx");
    let bytes = fs::read(&model).unwrap();
    let mut other = kiln_onnx::decode(&bytes).unwrap();
    let labels = other.metadata_props.iter_mut().find(|entry| entry.key == "kiln.labels").unwrap();
    labels.value = labels.value.replace("\"3\"", "\"three\"");
    let file = path(folder.path(), "other.onnx");
    fs::write(&file, kiln_onnx::encode(&other)).unwrap();
    let message = error(&mut kiln(&["compare", &model, &file, "--data", "mnist:test"]));
    assert!(message.contains("class 3 of ") && message.contains("is `3`") && message.contains("`three`"), "{message}");
}
