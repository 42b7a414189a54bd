//! The learning-rate finder.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::kiln::{DIGITS, error, kiln, ok, path, run, succeed};

const RECIPE: &str = "models/quickstart.toml";
/// 360 images are few steps of the recipe's batches of 128.
const BATCH: [&str; 2] = ["--set", "training.batch_size=32"];

/// The arguments of a test of the quickstart on digits, into this folder of runs.
fn args<'a>(runs: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let runs = runs.to_str().unwrap();
    let first = ["train", RECIPE, "--find-lr", "--runs", runs];
    [&first[..], &DIGITS, &BATCH, more].concat()
}

/// Names of what lies in a folder, sorted; none where it is not there.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Learning rate and loss of each step.
fn steps(folder: &Path) -> Vec<(f64, f64)> {
    let text = fs::read_to_string(folder.join("learning-rates.csv")).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("step,learning_rate,loss,smoothed"));
    let step = |line: &str| {
        let values: Vec<f64> = line
            .split(',')
            .map(|value| value.parse().unwrap())
            .collect();
        (values[1], values[2])
    };
    lines.map(step).collect()
}

#[test]
fn a_rate_is_found_and_fits_the_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    let found = ok(&args(&runs, &["--json"]));
    let json: Value = serde_json::from_str(&found.stdout).unwrap();
    let rate = |key: &str| json[key].as_f64().unwrap();
    let suggested = rate("suggested");
    assert!((1e-4..0.02).contains(&suggested), "{json}");
    assert!(
        (suggested / (rate("lowest") / 10.0) - 1.0).abs() < 0.06,
        "{json}"
    );
    assert!(rate("falls_from") < rate("steepest") && rate("steepest") < rate("lowest"));
    assert_eq!(
        (&json["end"], &json["rises_again"]),
        (&"diverged".into(), &true.into())
    );
    // Nothing of the weights is kept, and nothing looks like a run.
    assert_eq!(names(&runs), ["quickstart-lr"]);
    let files = ["csv", "png", "svg"].map(|ending| format!("learning-rates.{ending}"));
    assert_eq!(names(&runs.join("quickstart-lr")), files);
    let steps = steps(&runs.join("quickstart-lr"));
    assert_eq!(steps.len() as u64, json["steps"].as_u64().unwrap());
    assert!((steps[0].0 - 1e-7).abs() < 1e-12);
    let png = fs::read(runs.join("quickstart-lr/learning-rates.png")).unwrap();
    assert!(png.starts_with(b"\x89PNG"));
    let svg = fs::read_to_string(runs.join("quickstart-lr/learning-rates.svg")).unwrap();
    assert!(
        svg.contains(&format!("suggested: {suggested:?}")) && svg.contains("in the recipe: 0.001")
    );

    // As people read it, the same again, in a folder of its own.
    let again = ok(&args(&runs, &[]));
    assert_eq!(names(&runs), ["quickstart-lr", "quickstart-lr-2"]);
    let set = json["set"][0].as_str().unwrap();
    assert!(
        again.stdout.starts_with(&format!(
            "quickstart, phase 1: learning rate {suggested:?}\n"
        )) && again.stdout.contains(&format!("--set {set}\n")),
        "{}",
        again.stdout
    );
    // A training takes what is printed.
    let plan = ok(&[&["train", RECIPE, "--dry-run", "--set", set], &DIGITS[..]].concat());
    assert!(
        plan.stdout.contains(&format!("adam at {suggested:?}")),
        "{}",
        plan.stdout
    );
}

#[test]
fn it_trains_on_the_batches_of_a_training() {
    let folder = tempfile::tempdir().unwrap();
    // An epoch is one step, of two batches whose gradients are added up.
    let set = [
        "--set",
        "training.batch_size=200",
        "--set",
        "training.gradient_accumulation_steps=2",
        "--set",
        "augmentation={mixup=0.4, rotation_range=10}",
        "--set",
        "training.epochs=1",
    ];
    let out = path(folder.path(), "lr");
    ok(&args(folder.path(), &[&set[..], &["-o", &out]].concat()));
    let steps = steps(Path::new(&out));
    let runs = folder.path().to_str().unwrap();
    ok(&[&["train", RECIPE, "--runs", runs], &DIGITS[..], &set].concat());
    let history = fs::read_to_string(folder.path().join("quickstart/history.csv")).unwrap();
    // The training loss is that before the only step.
    let epoch = history.lines().nth(1).unwrap();
    let loss: f64 = epoch.split(',').nth(1).unwrap().parse().unwrap();
    assert!(
        (steps[0].1 / loss - 1.0).abs() < 1e-6,
        "{} {loss}",
        steps[0].1
    );
}

#[test]
fn a_phase_has_its_key_and_features_serve_a_training_too() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = path(folder.path(), "two.toml");
    let text = fs::read_to_string(crate::kiln::root().join(RECIPE)).unwrap();
    let phases = "[training]\nfreeze = \"conv2d\"\noptimizer = { type = \"sgd\", momentum = 0.9 }\nbatch_size = 32\n\
        [[training.phases]]\nepochs = 1\n[[training.phases]]\nepochs = 1\n\
        optimizer = { type = \"adam\" }\nlearning_rates = { dense = 1e-4 }\n";
    let (before, rest) = text.split_once("[training]").unwrap();
    let (_, layers) = rest.split_once("[[layers]]").unwrap();
    fs::write(&recipe, format!("{before}{phases}\n[[layers]]{layers}")).unwrap();
    let runs = path(folder.path(), "runs");
    let cache = path(folder.path(), "cache");
    let train = |more: &[&str]| {
        let first = ["train", &recipe, "--runs", &runs];
        let mut command = kiln(&[&first[..], &DIGITS, more].concat());
        succeed(command.env("KILN_CACHE", &cache))
    };
    let second = train(&["--find-lr", "--phase", "2"]);
    assert!(second.stderr.contains("Computing"), "{}", second.stderr);
    assert!(
        second
            .stderr
            .contains("phase 2 begins here with the recipe's initial weights"),
        "{}",
        second.stderr
    );
    assert!(
        second
            .stdout
            .contains("--set training.phases.2.optimizer.learning_rate=")
            && second
                .stdout
                .contains(" --set 'training.phases.2.learning_rates={ \"dense\" = "),
        "{}",
        second.stdout
    );
    // The optimizer of the first is that of `[training]`, and no other phase's.
    let first = train(&["--find-lr"]);
    assert!(
        first.stderr.contains("Reusing") && !first.stderr.contains("initial weights"),
        "{}",
        first.stderr
    );
    assert!(
        first
            .stdout
            .contains("--set training.optimizer.learning_rate="),
        "{}",
        first.stdout
    );
    let trained = train(&[]);
    assert!(trained.stderr.contains("Reusing") && !trained.stderr.contains("Computing"));
}

#[test]
fn a_loss_that_does_not_fall_suggests_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // Steps that change nothing.
    let set = [
        "--set",
        "training.optimizer={type=\"sgd\", clipvalue=1e-12}",
    ];
    let ended = run(&mut kiln(&args(folder.path(), &set)));
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(
        ended
            .stdout
            .starts_with("quickstart, phase 1: no learning rate to suggest\n")
            && ended.stdout.contains("falls at no rate up to 1.0e1")
            && !ended.stdout.contains("--set"),
        "{}",
        ended.stdout
    );
    // The losses tell more.
    assert_eq!(steps(&folder.path().join("quickstart-lr")).len(), 100);
    let json = run(&mut kiln(&args(
        folder.path(),
        &[&set[..], &["--json"]].concat(),
    )));
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(
        (&json["suggested"], &json["end"]),
        (&Value::Null, &"complete".into())
    );
}

#[test]
fn what_has_no_learning_rate_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    let full = path(folder.path(), "full");
    fs::create_dir(&full).unwrap();
    fs::write(path(full.as_ref(), "file"), "").unwrap();
    let factors = ["1e300"; 10].join(", ");
    let infinite = format!("training.class_weight=[{factors}]");
    let probe = path(folder.path(), "probe.toml");
    let text = "layers = [{ type = \"conv2d\", filters = 2, kernel_size = 3 }, { type = \"flatten\" }, \
        { type = \"dense\", units = 10 }]\n\
        data = { dataset = \"mnist\" }\n\
        training = { optimizer = \"lbfgs\", freeze = \"conv2d\" }\n";
    fs::write(&probe, text).unwrap();
    for (more, expected) in [
        (
            &["--set", infinite.as_str()][..],
            "before any weight has changed",
        ),
        (&["--phase", "2"], "expected a phase from 1 to 1, found 2"),
        (&["--phase", "0"], "expected a phase from 1 to 1, found 0"),
        (&["-o", &full], "is not empty"),
        (&["--dry-run"], "cannot be used with"),
    ] {
        let more = [more, &["--quiet"]].concat();
        let message = error(&mut kiln(&args(&runs, &more)));
        assert!(message.contains(expected), "{message}");
    }
    let lbfgs = [&["train", &probe, "--find-lr", "--quiet"], &DIGITS[..]].concat();
    let message = error(&mut kiln(&lbfgs));
    assert!(
        message.contains("`lbfgs` has no learning rate"),
        "{message}"
    );
    let message = error(&mut kiln(&["train", "--resume", &full, "--find-lr"]));
    assert!(message.contains("cannot be used with"), "{message}");
    // Its options are nothing without it.
    let message = error(&mut kiln(&["train", RECIPE, "--phase", "1"]));
    assert!(message.contains("--find-lr"), "{message}");
    assert_eq!(names(&runs), [""; 0]);
    assert_eq!(names(Path::new(&full)), ["file"]);
}

#[cfg(unix)]
#[test]
fn a_test_that_is_stopped_keeps_its_steps() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    let folder = tempfile::tempdir().unwrap();
    // Steps of a second or so.
    let slow = [
        "--set",
        "training.batch_size=360",
        "--set",
        "training.gradient_accumulation_steps=8",
    ];
    let mut child = kiln(&args(folder.path(), &slow))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("Testing learning rates")));
    std::thread::sleep(std::time::Duration::from_millis(1500));
    let killed = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.unwrap().success());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130));
    let printed = String::from_utf8(ended.stdout).unwrap();
    // It may have been stopped before its first step, on a slow machine.
    if names(folder.path()).is_empty() {
        assert_eq!(printed, "");
    } else {
        let steps = steps(&folder.path().join("quickstart-lr")).len();
        assert!((1..100).contains(&steps), "{steps}");
        assert!(
            printed.contains("when the test was stopped at"),
            "{printed}"
        );
    }
}
