//! A training that was cut off goes on as if nothing had happened.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::kiln::{DIGITS, error, kiln, ok, path, run};

const SET: [&str; 10] = [
    "--set",
    "training.epochs=12",
    "--set",
    "training.batch_size=32",
    "--set",
    "training.schedule={type=\"cosine\", warmup_steps=20}",
    "--threads",
    "2",
    "--quiet",
    "--offline",
];

fn train(runs: &Path, more: &[&str]) -> Vec<String> {
    let args = [
        &[
            "train",
            "models/quickstart.toml",
            "--runs",
            runs.to_str().unwrap(),
        ],
        &DIGITS[..],
        &SET,
        more,
    ]
    .concat();
    args.into_iter().map(String::from).collect()
}

/// The figures of a history without its times.
fn figures(run: &str) -> Vec<String> {
    let history = fs::read_to_string(path(run.as_ref(), "history.csv")).unwrap();
    history
        .lines()
        .map(|line| line.rsplit_once(',').unwrap().0.to_string())
        .collect()
}

#[test]
fn a_training_that_was_killed_ends_with_the_same_weights() {
    for optimizer in [
        "{type=\"adam\", global_clipnorm=0.5}",
        "{type=\"sgd\", momentum=0.9, nesterov=true}",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let optimizer = format!("training.optimizer={optimizer}");
        let mix = "augmentation={mixup=0.2, cutmix=1.0}";
        let args = train(folder.path(), &["--set", &optimizer, "--set", mix]);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let whole = ok(&args).stdout.trim().to_string();

        let mut child = kiln(&args).spawn().unwrap();
        let cut = path(folder.path(), "quickstart-2");
        let start = Instant::now();
        while !Path::new(&path(cut.as_ref(), "checkpoints/last.safetensors")).exists() {
            assert!(
                start.elapsed() < Duration::from_mins(2),
                "no epoch was done"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(100));
        child.kill().unwrap();
        child.wait().unwrap();
        let weights = |run: &str| fs::read(path(run.as_ref(), "weights.safetensors"));
        assert!(weights(&cut).is_err(), "it was done before it was killed");

        // What there is of it can be exported.
        let exported = ok(&["export", &cut, "--no-golden"]);
        assert!(
            exported.stderr.contains("the best weights so far"),
            "{}",
            exported.stderr
        );

        ok(&["train", "--resume", &cut, "--threads", "2"]);
        assert_eq!(figures(&cut), figures(&whole));
        assert!(
            weights(&cut).unwrap() == weights(&whole).unwrap(),
            "other weights"
        );
        // Once more: there is nothing left to do, and nothing changes.
        ok(&["train", "--resume", &cut, "--threads", "2"]);
        assert!(
            weights(&cut).unwrap() == weights(&whole).unwrap(),
            "other weights"
        );
    }
}

#[test]
fn what_cannot_be_resumed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let message = error(&mut kiln(&[
        "train",
        "--resume",
        folder.path().to_str().unwrap(),
    ]));
    assert!(message.contains("is not a run directory"), "{message}");
    let message = error(&mut kiln(&[
        "train",
        "models/quickstart.toml",
        "--resume",
        "runs/x",
    ]));
    assert!(message.contains("cannot be used with"), "{message}");

    let args = train(
        folder.path(),
        &["--set", "training.epochs=1", "--set", "data.limit=300"],
    );
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = ok(&args).stdout.trim().to_string();
    let checkpoint = path(done.as_ref(), "checkpoints/last.safetensors");
    let bytes = fs::read(&checkpoint).unwrap();
    fs::write(&checkpoint, &bytes[..bytes.len() / 2]).unwrap();
    let message = error(&mut kiln(&["train", "--resume", &done, "--quiet"]));
    assert!(
        message.contains("last.safetensors") && message.contains("truncated"),
        "{message}"
    );
}

#[test]
fn a_training_that_was_killed_in_its_first_moments_is_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    let args = train(
        folder.path(),
        &["--set", "training.epochs=1", "--set", "data.limit=300"],
    );
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let whole = ok(&args).stdout.trim().to_string();
    // Killed after the recipe was written.
    let cut = path(folder.path(), "cut");
    fs::create_dir_all(path(cut.as_ref(), "checkpoints")).unwrap();
    fs::copy(
        path(whole.as_ref(), "recipe.toml"),
        path(cut.as_ref(), "recipe.toml"),
    )
    .unwrap();
    ok(&["train", "--resume", &cut, "--threads", "2", "--offline"]);
    let weights = |run: &str| fs::read(path(run.as_ref(), "weights.safetensors")).unwrap();
    assert!(weights(&cut) == weights(&whole), "other weights");
    ok(&["export", &cut, "--no-golden"]);
    // Killed before: the name is free.
    let begun = path(folder.path(), "quickstart-2");
    fs::create_dir_all(path(begun.as_ref(), "checkpoints")).unwrap();
    let message = error(&mut kiln(&["train", "--resume", &begun]));
    assert!(message.contains("interrupted before it began"), "{message}");
    assert_eq!(ok(&args).stdout.trim(), begun);
}

#[test]
fn early_stopping_ends_a_phase_and_keeps_the_best() {
    let folder = tempfile::tempdir().unwrap();
    // No step is an improvement of a whole nat: the second epoch without one is the last.
    let set = [
        "--set",
        "training.early_stopping={patience=2, min_delta=10}",
        "--set",
        "training.epochs=9",
    ];
    let args = train(
        folder.path(),
        &[&set[..], &["--set", "data.limit=300"]].concat(),
    );
    let mut command = kiln(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let ended = run(&mut command);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(figures(ended.stdout.trim()).len(), 1 + 3);
}
