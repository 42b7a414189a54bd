//! Several runs of one recipe, and their comparison.

use std::fs;
use std::path::Path;

use crate::kiln::{Ended, error, kiln, ok, online, onnxruntime, path, run, succeed};

const RECIPE: &str = r#"description = "One layer"
layers = [{ type = "flatten" }, { type = "dense", units = 10 }]

[data]
folder = "tests/fixtures/digits"
limit = 300
test_limit = 50

[training]
epochs = 2
optimizer = { type = "adam" }

[sweep]
reference = "a paper"
"#;

/// A folder with the recipe `small.toml`.
fn folder(sweep: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("small.toml"), format!("{RECIPE}{sweep}")).unwrap();
    folder
}

fn sweep(folder: &Path, more: &[&str]) -> Ended {
    let (recipe, runs) = (path(folder, "small.toml"), path(folder, "runs"));
    run(&mut kiln(
        &[&["sweep", &recipe, "--runs", &runs], more].concat(),
    ))
}

fn lines(folder: &Path, file: &str) -> Vec<String> {
    let text = fs::read_to_string(folder.join("runs/small-sweep").join(file)).unwrap();
    text.lines().map(str::to_string).collect()
}

fn folders(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder.join("runs/small-sweep"))
        .unwrap()
        .map(Result::unwrap);
    let folders = entries.filter(|entry| entry.path().is_dir());
    let mut names: Vec<String> = folders
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn one_that_fails_does_not_stop_the_others_and_what_is_complete_is_reused() {
    // So high a rate makes the loss infinite.
    let folder = folder("\"training.optimizer.learning_rate\" = [1e38, 0.01]\n");
    let folder = folder.path();
    let ended = sweep(folder, &[]);
    assert_eq!(ended.code, Some(1), "{}\n{}", ended.stdout, ended.stderr);
    assert!(
        ended.stderr.contains("1/2: learning_rate 1e38: ") && ended.stderr.contains("lower"),
        "{}",
        ended.stderr
    );
    let table: Vec<&str> = ended.stdout.lines().skip(2).take(2).collect();
    assert!(
        table[0].contains("0.01")
            && table[0].contains('%')
            && table[0].trim_end().ends_with("done"),
        "{table:?}"
    );
    assert!(
        table[1].contains("1e38") && table[1].trim_end().ends_with("failed"),
        "{table:?}"
    );
    let results = lines(folder, "results.csv");
    assert_eq!(results.len(), 3);
    assert!(
        results[1].starts_with(",failed,1e38,,")
            && results[2].starts_with("learning_rate-0.01,done,0.01,7850,2,")
    );
    let page = lines(folder, "report.html").join("\n");
    assert!(page.contains("href=\"learning_rate-0.01/report.html\"") && page.contains("no result"));
    assert!(
        folder
            .join("runs/small-sweep/learning_rate-0.01/report.html")
            .is_file()
    );

    // The complete one stays as it is; the other is tried once more, with another value.
    let model = folder.join("runs/small-sweep/learning_rate-0.01/model.onnx");
    let modified = fs::metadata(&model).unwrap().modified().unwrap();
    let ended = sweep(
        folder,
        &[
            "--set",
            "sweep.training.optimizer.learning_rate=[0.02, 0.01]",
        ],
    );
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.stdout, ended.stderr);
    assert!(
        ended.stderr.contains("Reusing 2/2: learning_rate 0.01"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("Running 1/2: learning_rate 0.02"),
        "{}",
        ended.stderr
    );
    assert_eq!(fs::metadata(&model).unwrap().modified().unwrap(), modified);
    assert!(!ended.stdout.contains("state"), "{}", ended.stdout);

    // Another recipe makes other runs, and never overwrites.
    let ended = sweep(
        folder,
        &[
            "--set",
            "sweep.training.optimizer.learning_rate=[0.01]",
            "--set",
            "training.epochs=1",
        ],
    );
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let expected = [
        "learning_rate-0.01",
        "learning_rate-0.01-2",
        "learning_rate-0.02",
        "learning_rate-1e38",
    ];
    assert_eq!(folders(folder), expected);
}

#[test]
fn variants_stand_beside_their_reference_and_seeds_are_averaged() {
    let folder = folder(
        "\"training.seed\" = [0, 1]\n[[sweep.variants]]\nname = \"plain\"\nreference = { test_accuracy = 0.9 }\n\
         [[sweep.variants]]\nname = \"slow\"\nset = { training.optimizer.learning_rate = 1e-4 }\n",
    );
    let ended = sweep(folder.path(), &["--json", "--sort-by", "test_accuracy"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let runs = json["runs"].as_array().unwrap();
    let accuracies: Vec<f64> = runs
        .iter()
        .map(|run| run["figures"]["test_accuracy"].as_f64().unwrap())
        .collect();
    assert!(
        accuracies.len() == 4 && accuracies.is_sorted_by(|a, b| a >= b),
        "{accuracies:?}"
    );
    for run in runs {
        let eval =
            fs::read_to_string(Path::new(run["run"].as_str().unwrap()).join("eval.json")).unwrap();
        let eval: serde_json::Value = serde_json::from_str(&eval).unwrap();
        assert_eq!(run["figures"]["test_accuracy"], eval[0]["accuracy"]);
    }
    let plain = &json["groups"][0];
    assert_eq!(
        (&plain["label"], &plain["test_accuracy"]["count"]),
        (&"plain".into(), &2.into())
    );
    let of_plain: Vec<f64> = runs
        .iter()
        .filter(|run| run["label"].as_str().unwrap().starts_with("plain"))
        .map(|run| run["figures"]["test_accuracy"].as_f64().unwrap())
        .collect();
    let mean = plain["test_accuracy"]["mean"].as_f64().unwrap();
    assert!(
        (mean - f64::midpoint(of_plain[0], of_plain[1])).abs() < 1e-12,
        "{mean} of {of_plain:?}"
    );

    let sweep = folder.path().join("runs/small-sweep");
    let page = fs::read_to_string(sweep.join("report.html")).unwrap();
    assert!(
        page.contains("90.00 %") && page.contains("a paper") && page.contains("Over the seeds")
    );
    let elsewhere = path(folder.path(), "elsewhere.html");
    ok(&["report", sweep.to_str().unwrap(), "-o", &elsewhere]);
    assert!(
        !fs::read_to_string(elsewhere)
            .unwrap()
            .contains("/report.html"),
        "links that lead nowhere"
    );
}

#[test]
fn the_figure_that_decides_which_epoch_is_best_decides_which_run_is() {
    let folder = folder("\"training.optimizer.learning_rate\" = [1e-4, 0.01]\n");
    let folder = folder.path();
    let told = |more: &[&str], expected: &[&str]| {
        let ended = sweep(folder, more);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        for expected in expected {
            assert!(
                ended.stdout.contains(expected),
                "{expected}: {}",
                ended.stdout
            );
        }
        let by_test = ended
            .stdout
            .contains("chosen by the test images themselves");
        let page = lines(folder, "report.html").join("\n");
        assert_eq!(
            page.contains("chosen by the test images themselves"),
            by_test
        );
        (by_test, page)
    };
    let (by_test, page) = told(&[], &["Best validation loss: learning_rate 0.01, 0."]);
    assert!(!by_test && page.contains("Sorted by validation loss."));
    assert!(
        page.contains("Cross-entropy on the validation images")
            && page.contains(">validation loss<")
    );
    let macro_f1 = ["--set", "training.monitor=val_macro_f1"];
    let (by_test, _) = told(
        &macro_f1,
        &[
            "Best validation macro F1: learning_rate 0.01",
            "val macro F1",
        ],
    );
    assert!(!by_test);
    let (by_test, _) = told(
        &["--sort-by", "test_loss"],
        &["Best test loss: learning_rate 0.01, 1."],
    );
    assert!(by_test);
    let (by_test, _) = told(
        &["--sort-by", "parameters"],
        &["Best parameters: learning_rate 0.0001, 7,850"],
    );
    assert!(!by_test);
    let (by_test, _) = told(
        &["--set", "data.validation=test"],
        &["Best validation loss"],
    );
    assert!(by_test);
}

#[test]
#[ignore = "downloads ONNX Runtime"]
fn each_is_evaluated_on_one_engine_and_the_best_on_all() {
    onnxruntime();
    let folder = folder("\"training.optimizer.learning_rate\" = [1e-4, 0.01]\n");
    let folder = folder.path();
    let (recipe, runs) = (path(folder, "small.toml"), path(folder, "runs"));
    let args = ["sweep", &recipe, "--runs", &runs];
    let ended = succeed(&mut online(&args));
    assert!(
        ended
            .stderr
            .contains("Comparing the best on all engines: learning_rate 0.01")
            && ended.stdout.contains(
                "computed with ONNX Runtime; the best was compared on ONNX Runtime and tract."
            ),
        "{}\n{}",
        ended.stdout,
        ended.stderr
    );
    let engines = |rate: &str| -> Vec<String> {
        let file = format!("runs/small-sweep/learning_rate-{rate}/eval.json");
        let eval = fs::read_to_string(folder.join(file)).unwrap();
        let eval: serde_json::Value = serde_json::from_str(&eval).unwrap();
        let engine = |it: &serde_json::Value| it["runtime"]["engine"].as_str().unwrap().to_owned();
        eval.as_array().unwrap().iter().map(engine).collect()
    };
    assert_eq!(engines("0.0001"), ["ort"]);
    assert_eq!(engines("0.01"), ["ort", "tract"]);
    // Once is enough.
    let ended = succeed(&mut online(&args));
    assert!(!ended.stderr.contains("Comparing"), "{}", ended.stderr);
}

#[test]
fn mistakes_are_found_before_anything_starts() {
    let folder = folder("layers.dense.units = [10, 11]\n");
    let (recipe, runs) = (
        path(folder.path(), "small.toml"),
        path(folder.path(), "runs"),
    );
    // Of a dataset by name, the classes are known without its images.
    let mnist = ["--set", "data.folder="];
    let message = error(&mut kiln(
        &[&["sweep", &recipe, "--runs", &runs], &mnist[..]].concat(),
    ));
    assert!(
        message.contains("the last layer outputs 11 scores") && message.contains("`units 11`"),
        "{message}"
    );
    let limits = ["--set", "sweep.data.limit=[300, 1]", "--quiet"];
    let message = error(&mut kiln(
        &[&["sweep", &recipe, "--runs", &runs], &mnist[..], &limits].concat(),
    ));
    assert!(message.contains("the last layer"), "{message}");
    let only = ["--set", "sweep.layers="];
    let message = error(&mut kiln(
        &[&["sweep", &recipe, "--runs", &runs], &only[..], &limits].concat(),
    ));
    assert!(
        message.contains("combination `limit 1`: there are no validation images"),
        "{message}"
    );
    // And so are those of a folder, without reading its images.
    let message = error(&mut kiln(&["sweep", &recipe, "--runs", &runs]));
    assert!(
        message.contains("combination `units 11`: the last layer outputs 11 scores"),
        "{message}"
    );
    let message = error(&mut kiln(&["run", &recipe, "--runs", &runs]));
    assert!(
        message.contains("small.toml:13: this recipe has a `[sweep]`"),
        "{message}"
    );
    let message = error(&mut kiln(&[
        "sweep",
        "models/quickstart.toml",
        "--runs",
        &runs,
    ]));
    assert!(message.contains("has no `[sweep]`"), "{message}");
    assert!(!Path::new(&runs).exists());
}

#[cfg(unix)]
#[test]
fn an_interrupted_sweep_goes_on_with_the_same_command() {
    use std::io::{BufRead, BufReader};
    let folder = folder("\"training.seed\" = [0, 1]\n");
    let (recipe, runs) = (
        path(folder.path(), "small.toml"),
        path(folder.path(), "runs"),
    );
    let args = [
        "sweep",
        &recipe,
        "--runs",
        &runs,
        "--set",
        "sweep.training.epochs=[1, 100000]",
    ];
    let mut command = kiln(&args);
    let mut child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut messages = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map(Result::unwrap);
    assert!(messages.any(|line| line.contains("Epoch") && line.contains("1/100000")));
    let killed = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let rest: Vec<String> = messages.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(
        rest.last()
            .unwrap()
            .contains("with 1 of 4 runs complete: the same command runs the others"),
        "{rest:?}"
    );
    let ended = sweep(folder.path(), &["--set", "sweep.training.epochs=[1]"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("Reusing 1/2") && ended.stderr.contains("Running 2/2"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_run_that_was_killed_in_a_sweep_is_resumed_by_the_same_command() {
    let folder = folder("\"training.seed\" = [3]\n");
    let (recipe, runs) = (
        path(folder.path(), "small.toml"),
        path(folder.path(), "runs"),
    );
    let set = [
        "--set",
        "training.epochs=1000",
        "--set",
        "data.limit=400",
        "--threads",
        "2",
    ];
    let args = [&["sweep", &recipe, "--runs", &runs][..], &set].concat();
    let mut child = kiln(&args)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let broken_off = folder.path().join("runs/small-sweep/seed-3");
    let start = std::time::Instant::now();
    while !broken_off.join("checkpoints/last.safetensors").exists() {
        assert!(
            start.elapsed() < std::time::Duration::from_mins(2),
            "no epoch was done"
        );
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    // Nobody else may write there meanwhile.
    let resume = ["train", "--resume", broken_off.to_str().unwrap()];
    for other in [&args[..], &resume] {
        let message = error(&mut kiln(&[other, &["--quiet"]].concat()));
        assert!(
            message.contains("another kiln process is using"),
            "{message}"
        );
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        !broken_off.join("weights.safetensors").exists(),
        "it was done before it was killed"
    );

    let ended = run(&mut kiln(&args));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("Resuming after epoch "),
        "{}",
        ended.stderr
    );
    assert_eq!(folders(folder.path()), ["seed-3"]);
    let whole = [
        &[
            "train",
            &recipe,
            "--runs",
            &runs,
            "--set",
            "sweep=",
            "--set",
            "training.seed=3",
        ][..],
        &set,
    ]
    .concat();
    let whole = ok(&whole).stdout.trim().to_owned();
    let weights = |run: &Path| fs::read(run.join("weights.safetensors")).unwrap();
    assert!(
        weights(&broken_off) == weights(whole.as_ref()),
        "other weights"
    );
}

/// Eight small combinations that take long enough for three processes to have some each.
const EIGHT: &str = "\"training.optimizer.learning_rate\" = [0.01, 0.02]\n\"training.seed\" = [1, 2, 3, 4]\n\
                     \"training.epochs\" = [30]\n";

/// The processes of a shared sweep.
fn processes(folder: &Path, count: usize) -> Vec<std::process::Child> {
    let (recipe, runs) = (path(folder, "small.toml"), path(folder, "runs"));
    let start = |number: usize| {
        let shard = format!("{number}/{count}");
        let mut command = kiln(&["sweep", &recipe, "--runs", &runs, "--shard", &shard]);
        command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("kiln starts")
    };
    (1..=count).map(start).collect()
}

/// The weights of every run of a sweep by its folder, and how many runs there are.
fn weights(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let runs = folders(folder)
        .into_iter()
        .filter(|name| !name.starts_with('.'));
    let read = |name: String| {
        let file = folder
            .join("runs/small-sweep")
            .join(&name)
            .join("weights.safetensors");
        let weights = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        (name, weights)
    };
    runs.map(read).collect()
}

#[test]
fn processes_share_a_sweep_and_take_over_from_one_that_is_killed() {
    let alone = folder(EIGHT);
    let ended = sweep(alone.path(), &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let shared = folder(EIGHT);
    let mut children = processes(shared.path(), 3);
    // Once there are runs under way, one of which is the first process's.
    while !shared.path().join("runs/small-sweep/.claims/1").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    children[0].kill().unwrap();
    for (number, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let expected = if number == 0 { None } else { Some(0) };
        assert_eq!(output.status.code(), expected, "process {number}: {text}");
    }
    let [one, three] = [&alone, &shared].map(|folder| weights(folder.path()));
    assert_eq!(one.len(), 8);
    assert!(
        one == three,
        "each run once, with the weights of one process"
    );
    let results = |folder: &Path| {
        let mut states: Vec<String> = lines(folder, "results.csv");
        for line in &mut states {
            // Without how long it took.
            *line = line.split(',').take(5).collect::<Vec<_>>().join(",");
        }
        states
    };
    assert_eq!(results(shared.path()), results(alone.path()));
    // Nobody has it any more, and there is nothing left to do.
    let ended = sweep(shared.path(), &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(
        ended.stderr.matches("Reusing").count(),
        8,
        "{}",
        ended.stderr
    );
}

#[test]
fn what_failed_in_one_process_is_not_tried_by_another() {
    let folder = folder("\"training.optimizer.learning_rate\" = [1e38, 0.01]\n");
    let children = processes(folder.path(), 2);
    let mut tried = 0;
    for child in children {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        tried += text.matches("error: 1/2").count();
    }
    // A process that began when the other had given up tries it again, as a sweep that is repeated does.
    assert!((1..=2).contains(&tried), "{tried}");
    let results = lines(folder.path(), "results.csv");
    assert!(
        results[1].starts_with(",failed,") && results[2].contains(",done,"),
        "{results:?}"
    );
}

#[test]
fn a_sweep_that_is_halved_is_not_shared_and_shards_count_from_one() {
    let halved =
        folder("\"training.seed\" = [1, 2, 3]\n\"training.epochs\" = [3]\nhalving = true\n");
    let message = sweep(halved.path(), &["--shard", "1/2"]).stderr;
    assert!(
        message.contains("error: `sweep.halving` compares all combinations"),
        "{message}"
    );
    let message = sweep(halved.path(), &["--shard", "3/2"]).stderr;
    assert!(message.contains("i from 1 to n"), "{message}");
}
