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

/// The figures of a history without its times and speeds, the last two columns.
fn figures(run: &str) -> Vec<String> {
    let history = fs::read_to_string(path(run.as_ref(), "history.csv")).unwrap();
    history
        .lines()
        .map(|line| line.rsplitn(3, ',').last().unwrap().to_string())
        .collect()
}

#[test]
fn a_training_that_was_killed_ends_with_the_same_weights() {
    for (optimizer, policy) in [
        (
            "{type=\"adam\", global_clipnorm=0.5}",
            "augmentation={mixup=0.2, cutmix=1.0, random_resized_crop=true, rand_augment=true}",
        ),
        (
            "{type=\"sgd\", momentum=0.9, nesterov=true}",
            "augmentation={mixup=0.2, random_resized_crop=true, aug_mix={severity=5}}",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let optimizer = format!("training.optimizer={optimizer}");
        let changes = [
            &optimizer,
            policy,
            "training.ema_decay=0.9",
            "training.gradient_accumulation_steps=2",
        ];
        let changes = changes.map(|change| ["--set", change]).concat();
        let args = train(folder.path(), &changes);
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

#[test]
fn more_epochs_end_as_if_they_had_been_meant_from_the_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let trained = |more: &[&str]| {
        let constant = [
            "--set",
            "training.schedule=constant",
            "--set",
            "data.limit=300",
        ];
        let args = train(folder.path(), &[&constant, more].concat());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        ok(&args).stdout.trim().to_owned()
    };
    let six = trained(&["--set", "training.epochs=6"]);
    let three = trained(&["--set", "training.epochs=3"]);
    let before = figures(&three);
    let resume = ["train", "--resume", &three, "--threads", "2"];
    let extended = ok(&[&resume[..], &["--set", "training.epochs=6"]].concat());
    let extended = extended.stdout.trim();
    let weights = |run: &str| fs::read(path(run.as_ref(), "weights.safetensors")).unwrap();
    assert_eq!(figures(extended), figures(&six));
    assert!(weights(extended) == weights(&six), "other weights");
    assert_ne!(extended, three);
    assert_eq!(figures(&three), before, "the run itself stays as it is");

    for (set, problem) in [
        ("training.epochs=3", "none is left"),
        ("training.seed=7", "and nothing else"),
        ("training.epoch=6", "unknown key `epoch`"),
    ] {
        let message = error(&mut kiln(&[&resume[..], &["--set", set]].concat()));
        assert!(message.contains(problem), "{set}: {message}");
    }
    // A cosine is told to be another one.
    let cosine = [
        "--set",
        "training.schedule=cosine",
        "--set",
        "training.epochs=5",
    ];
    let ended = ok(&[&resume[..], &cosine].concat());
    assert!(
        ended.stderr.contains("goes on as one of all epochs"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_training_begins_with_what_fits_of_another_run() {
    let folder = tempfile::tempdir().unwrap();
    let args = |more: &[&str]| {
        let few = ["--set", "training.epochs=1", "--set", "data.limit=300"];
        train(folder.path(), &[&few, more].concat())
    };
    let trained = |more: &[&str]| {
        let args: Vec<String> = args(more)
            .into_iter()
            .filter(|arg| arg != "--quiet")
            .collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        ok(&args)
    };
    let first = trained(&[]).stdout.trim().to_owned();
    let init = format!("training.init={first}");
    // A rate so small that no weight changes much.
    let rate = "training.optimizer={type=\"sgd\", learning_rate=1e-12}";
    let same = trained(&["--set", &init, "--set", rate]);
    assert!(same.stderr.contains("tensors from"), "{}", same.stderr);
    assert!(!same.stderr.contains("drawn anew"), "{}", same.stderr);
    let loss = |run: &str, epoch: usize| -> f64 {
        let figures = figures(run);
        figures[epoch].split(',').nth(3).unwrap().parse().unwrap()
    };
    let (began, goes_on) = (loss(&first, 1), loss(same.stdout.trim(), 1));
    assert!((began - goes_on).abs() < 0.05 * began, "{began} {goes_on}");
    // Resumed, it does not need the other run.
    fs::rename(&first, folder.path().join("elsewhere")).unwrap();
    ok(&["train", "--resume", same.stdout.trim()]);
    fs::rename(folder.path().join("elsewhere"), &first).unwrap();

    let other = trained(&["--set", &init, "--set", "layers.conv2d.filters=3"]);
    assert!(other.stderr.contains("drawn anew"), "{}", other.stderr);
    for (init, problem) in [
        ("no/such", "it cannot be read"),
        ("README.md", "it cannot be used"),
        ("tests", "is not a run directory"),
    ] {
        let init = format!("training.init={init}");
        let args = args(&["--set", &init]);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let message = error(&mut kiln(&args));
        assert!(message.contains(problem), "{init}: {message}");
    }
}
