//! Sweeps that are halved: what goes on ends as without it, whatever interrupts the sweep.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::kiln::{error, kiln, ok, path, run};

/// Rates that span the six epochs, and random numbers in every epoch.
const RECIPE: &str = r#"
layers = [
    { type = "conv2d", filters = 4, kernel_size = 3, activation = "relu" },
    { type = "max_pool" },
    { type = "flatten" },
    { type = "dropout", rate = 0.2 },
    { type = "dense", units = 10 },
]
augmentation = { rotation_range = 5 }

[data]
folder = "tests/fixtures/digits"

[training]
epochs = 6
batch_size = 32
optimizer = { type = "adam" }
schedule = { type = "cosine", warmup_steps = 20 }

[sweep]
halving = { factor = 2 }
"training.optimizer.learning_rate" = [1e-6, 0.003, 1e-5, 0.001]
"#;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("small.toml"), RECIPE).unwrap();
    folder
}

/// The arguments of a sweep of the recipe into a folder of runs.
fn args<'a>(recipe: &'a str, runs: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let first = ["sweep", recipe, "--runs", runs, "--threads", "2"];
    [&first[..], more].concat()
}

/// The lines of a sweep's results, by learning rate, without the times.
fn results(runs: &str) -> BTreeMap<String, Vec<String>> {
    let file = path(runs.as_ref(), "small-sweep/results.csv");
    let mut reader = csv::Reader::from_path(file).unwrap();
    let header = reader.headers().unwrap().clone();
    let at = |name: &str| header.iter().position(|column| column == name).unwrap();
    let (rate, seconds) = (at("learning_rate"), at("seconds"));
    let line = |record: csv::StringRecord| {
        let values = record.iter().enumerate().filter(|(at, _)| *at != seconds);
        let values = values.map(|(_, value)| value.to_owned()).collect();
        (record[rate].to_owned(), values)
    };
    reader
        .records()
        .map(|record| line(record.unwrap()))
        .collect()
}

/// The state of each combination and its epochs.
fn states(runs: &str) -> Vec<(String, String)> {
    let lines = results(runs).into_values();
    lines
        .map(|line| (line[1].clone(), line[4].clone()))
        .collect()
}

fn weights(runs: &str, rate: &str) -> Vec<u8> {
    let file = format!("small-sweep/learning_rate-{rate}/weights.safetensors");
    fs::read(Path::new(runs).join(file)).unwrap()
}

#[test]
fn what_goes_on_ends_as_without_halving_to_the_last_bit() {
    let folder = folder();
    let recipe = path(folder.path(), "small.toml");
    let [halved, whole] = ["halved", "whole"].map(|name| path(folder.path(), name));
    let ended = ok(&args(&recipe, &halved, &[]));
    for expected in [
        "Halving 4 combinations up to epoch 1, then the 2 best by validation loss",
        "Pausing after epoch 1 of 6",
        "Halving 2 combinations up to epoch 2, then the best by validation loss",
        "Pruned 1 combination after epoch 2:",
        "Resuming after epoch 2 of 6",
    ] {
        assert!(ended.stderr.contains(expected), "{}", ended.stderr);
    }
    let table: Vec<&str> = ended.stdout.lines().skip(2).take(4).collect();
    let ends = ["done", "pruned", "pruned", "pruned"];
    assert!(
        table
            .iter()
            .zip(ends)
            .all(|(line, end)| line.trim_end().ends_with(end)),
        "{}",
        ended.stdout
    );
    assert!(
        ended.stdout.contains("pruned 3 of 4 combinations")
            && ended
                .stdout
                .contains("Best validation loss: learning_rate 0.003"),
        "{}",
        ended.stdout
    );
    let pruned = |epochs: &str| ("pruned".to_owned(), epochs.to_owned());
    let done = || ("done".to_owned(), "6".to_owned());
    // By their rates as text: 0.001, 0.003, 1e-5, 1e-6.
    let expected = [pruned("2"), done(), pruned("1"), pruned("1")];
    assert_eq!(states(&halved), expected);
    let page = fs::read_to_string(path(halved.as_ref(), "small-sweep/report.html")).unwrap();
    assert!(page.contains("pruned") && page.contains("Successive halving by 2"));
    assert_eq!(
        page.matches("/report.html\"").count(),
        1,
        "pages of pruned runs"
    );

    let without = ["--set", "sweep.halving=false", "--quiet"];
    ok(&args(&recipe, &whole, &without));
    assert_eq!(states(&whole), [done(), done(), done(), done()]);
    assert!(weights(&halved, "0.003") == weights(&whole, "0.003"));
    assert_eq!(results(&halved)["0.003"], results(&whole)["0.003"]);

    // What was pruned can be trained to the end after all, and ends the same.
    let ended = ok(&args(&recipe, &halved, &["--set", "sweep.halving="]));
    assert!(
        ended.stderr.contains("Resuming after epoch 1 of 6"),
        "{}",
        ended.stderr
    );
    assert_eq!(results(&halved), results(&whole));
    for rate in ["1e-6", "0.003", "1e-5", "0.001"] {
        assert!(weights(&halved, rate) == weights(&whole, rate), "{rate}");
    }
    // And then nothing is pruned any more, since everything is there.
    let ended = ok(&args(&recipe, &halved, &[]));
    assert!(!ended.stderr.contains("Training"), "{}", ended.stderr);
    assert_eq!(results(&halved), results(&whole));
}

#[test]
fn a_halved_sweep_that_is_killed_again_and_again_ends_as_one_that_is_not() {
    let folder = folder();
    let recipe = path(folder.path(), "small.toml");
    let [killed, whole] = ["killed", "whole"].map(|name| path(folder.path(), name));
    ok(&args(&recipe, &whole, &["--quiet"]));
    let mut kills = 0;
    for patience in 1.. {
        let mut child = kiln(&args(&recipe, &killed, &["--quiet"]))
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(100 * patience));
        if let Some(status) = child.try_wait().unwrap() {
            assert_eq!(status.code(), Some(0));
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    assert!(kills > 0, "it was never killed");
    assert_eq!(results(&killed), results(&whole));
    assert!(weights(&killed, "0.003") == weights(&whole, "0.003"));
    let folders = |runs: &str| {
        let entries = fs::read_dir(path(runs.as_ref(), "small-sweep")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(folders(&killed), folders(&whole));
}

#[test]
fn seeds_are_pruned_together_and_what_fails_does_not_go_on() {
    let folder = folder();
    let recipe = path(folder.path(), "small.toml");
    let runs = path(folder.path(), "runs");
    let more = [
        "--set",
        "sweep.training.optimizer.learning_rate=[1e38, 0.003, 1e-5]",
        "--set",
        "sweep.training.seed=[0, 1]",
        "--set",
        "sweep.halving={factor=3}",
        "--set",
        "training.schedule={type=\"constant\"}",
        "--json",
    ];
    let ended = run(&mut kiln(&args(&recipe, &runs, &more)));
    assert_eq!(ended.code, Some(1), "{}\n{}", ended.stdout, ended.stderr);
    assert!(
        ended
            .stderr
            .contains("Halving 3 combinations up to epoch 1, then the best"),
        "{}",
        ended.stderr
    );
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let runs = json["runs"].as_array().unwrap();
    let states: Vec<(&str, &str)> = runs
        .iter()
        .map(|run| {
            (
                run["label"].as_str().unwrap(),
                run["state"].as_str().unwrap(),
            )
        })
        .collect();
    let state = |label: &str| -> Vec<&str> {
        let of_label = states.iter().filter(|(found, _)| found.contains(label));
        of_label.map(|(_, state)| *state).collect()
    };
    assert!(state("0.003") == ["done", "done"], "{states:?}");
    assert!(state("1e-5") == ["pruned", "pruned"], "{states:?}");
    assert!(state("1e38") == ["failed", "failed"], "{states:?}");
    assert_eq!(
        (&json["halving"]["factor"], &json["sort_by"]),
        (&3.into(), &"val_loss".into())
    );
    let pruned = &runs[2];
    assert_eq!(
        (&pruned["pruned_after"], &pruned["figures"]["epochs"]),
        (&1.into(), &1.into())
    );
    assert!(pruned["figures"]["test_accuracy"].is_null());
    assert_eq!(json["best"], runs[0]["label"]);
}

#[test]
fn halving_that_cannot_prune_is_refused() {
    let folder = folder();
    let recipe = path(folder.path(), "small.toml");
    let runs = path(folder.path(), "runs");
    let message = error(&mut kiln(&args(
        &recipe,
        &runs,
        &["--set", "training.epochs=1"],
    )));
    assert!(
        message.contains("small.toml:21: `sweep.halving` prunes nothing")
            && message.contains("2 epochs"),
        "{message}"
    );
}
