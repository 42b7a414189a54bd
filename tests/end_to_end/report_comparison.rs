//! The page that compares runs.

use std::fs;
use std::path::Path;

use crate::kiln::{DIGITS, TEST_DIGITS, error, kiln, ok, path, trained};

/// Another run than [`trained`], of fewer steps.
fn other(folder: &Path, more: &[&str]) -> String {
    let runs = folder.to_str().unwrap();
    let set = [
        "--set",
        "training.epochs=1",
        "--set",
        "training.batch_size=32",
        "--set",
        "training.seed=5",
    ];
    let run = ["run", "models/quickstart.toml", "--runs", runs, "--quiet"];
    ok(&[&run[..], &DIGITS, &set, more].concat());
    path(folder, "quickstart")
}

fn compare(runs: &[&str], folder: &Path) -> String {
    let page = path(folder, "page.html");
    let ended = ok(&[&["report"], runs, &["-o", &page]].concat());
    assert_eq!(ended.stdout.trim(), page);
    fs::read_to_string(page).unwrap()
}

#[test]
fn two_runs_are_compared_as_kiln_compare_does() {
    let folder = tempfile::tempdir().unwrap();
    let other = other(folder.path(), &[]);
    let first = trained().to_str().unwrap();
    let page = compare(&[first, &other], folder.path());

    let models = [trained(), Path::new(&other)].map(|run| path(run, "model.onnx"));
    let json = [
        "compare",
        &models[0],
        &models[1],
        "--data",
        TEST_DIGITS,
        "--json",
    ];
    let record: serde_json::Value = serde_json::from_str(&ok(&json).stdout).unwrap();
    let count = |key: &str| record[key].as_u64().unwrap();
    let cell = "</td><td class=\"number\">";
    for (name, key) in [
        ("both right", "both_right"),
        ("only A right", "only_first"),
        ("only B right", "only_second"),
        ("both wrong", "both_wrong"),
    ] {
        let row = format!("<td>{name}{cell}{}{cell}", count(key));
        assert!(page.contains(&row), "{row}");
    }
    let p = record["p_value"].as_f64().unwrap();
    let p = if p < 0.001 {
        "p &lt; 0.001".to_owned()
    } else {
        format!("p = {p:.3}")
    };
    let points = record["accuracy_change"].as_f64().unwrap() * 100.0;
    let verdict = format!("{points:+.2} points; McNemar's exact test of equal accuracy: {p}");
    assert!(page.contains(&verdict), "{verdict}");
    // The images: at most twelve each way.
    let shown = count("only_first").min(12) + count("only_second").min(12);
    assert_eq!(page.matches("<img ").count() as u64, shown);
    assert!(shown > 0, "the runs are too alike to test anything");

    // Only what differs.
    for (key, [a, b]) in [
        ("training.epochs", ["2", "1"]),
        ("training.seed", ["0", "5"]),
    ] {
        let row = format!("<td>{key}{cell}{a}{cell}{b}</td>");
        assert!(page.contains(&row), "{row}");
    }
    assert!(page.contains("The recipes differ in 2 keys."));
    assert!(!page.contains("training.batch_size"));
    assert_eq!(page.matches("<svg ").count(), 2, "loss and accuracy");
    let accuracies = [0, 1].map(|at| &record["models"][at]["accuracy"]);
    for (letter, accuracy) in ["A", "B"].iter().zip(accuracies) {
        let fact = format!(
            "<dt>{letter}: test accuracy</dt><dd>{:.2} %</dd>",
            accuracy.as_f64().unwrap() * 100.0
        );
        assert!(page.contains(&fact), "{fact}");
    }
    assert!(page.contains("<td>95 % interval"));
    assert!(!page.contains("<script") && !page.contains("url("));
}

#[test]
fn runs_on_other_images_are_not_compared_image_by_image() {
    let folder = tempfile::tempdir().unwrap();
    let other = other(folder.path(), &["--set", "data.test_limit=50"]);
    let first = trained().to_str().unwrap();
    let page = compare(&[first, &other, first], folder.path());
    assert!(page.contains("evaluated on different images"));
    // The third is the first again.
    assert!(page.contains("A and C on the same images") && page.contains("p = 1.000"));
    assert!(page.contains("data.test_limit"));
    assert!(page.contains(">largest difference of F1</th>"));
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = trained().to_str().unwrap();
    let report = |runs: &[&str]| error(&mut kiln(&[&["report"], runs].concat()));
    let message = report(&[first; 7]);
    assert!(message.contains("expected 2 to 6 runs"), "{message}");
    let message = report(&[first, folder.path().to_str().unwrap()]);
    assert!(message.contains("is not a run directory"), "{message}");
    // A page does not replace what it is made of.
    let page = path(trained(), "report.html");
    let message = report(&[first, first, "-o", &page]);
    assert!(message.contains("would replace"), "{message}");
    let sweep = folder.path().join("sweep");
    fs::create_dir(&sweep).unwrap();
    fs::write(sweep.join("sweep.json"), "{}").unwrap();
    let message = report(&[first, sweep.to_str().unwrap()]);
    assert!(message.contains("is a sweep"), "{message}");
}
