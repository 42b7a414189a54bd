//! A training that is stopped or killed, in every order: what is exported are its best weights.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use kiln_run::{Checkpoint, RunDir, RunFile, Weights};

use crate::kiln::{kiln, path, run};

/// Epochs of milliseconds, each better than the one before, for longer than any test takes.
const RECIPE: &str = r#"layers = [{ type = "flatten" }, { type = "dense", units = 10 }]

[data]
folder = "tests/fixtures/digits"

[training]
epochs = 1000000
batch_size = 32
optimizer = { type = "sgd", learning_rate = 0.0005 }
"#;

/// How a training ends before its last epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// Ctrl-C: kiln writes what it has.
    Stop,
    /// Nothing more is written.
    Kill,
}

const ORDERS: [[Cut; 3]; 8] = {
    use Cut::{Kill, Stop};
    [
        [Stop, Stop, Stop],
        [Stop, Stop, Kill],
        [Stop, Kill, Stop],
        [Stop, Kill, Kill],
        [Kill, Stop, Stop],
        [Kill, Stop, Kill],
        [Kill, Kill, Stop],
        [Kill, Kill, Kill],
    ]
};

/// The weights after the last epoch, which is the best so far; none before the first.
fn best(folder: &Path) -> Option<Weights> {
    let run = RunDir::open(folder).ok()?;
    let bytes = fs::read(run.file(RunFile::LastCheckpoint)).ok()?;
    Some(Checkpoint::from_bytes(&bytes).ok()?.weights)
}

/// Ends a training once it has better weights than before.
fn end(training: &mut Child, how: Cut, folder: &Path, before: Option<&Weights>) {
    let start = Instant::now();
    while best(folder).is_none_or(|best| Some(&best) == before) {
        assert!(training.try_wait().unwrap().is_none(), "it has ended");
        assert!(
            start.elapsed() < Duration::from_mins(2),
            "no epoch was better"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    match how {
        Cut::Stop => {
            let stopped = std::process::Command::new("kill")
                .args(["-INT", &training.id().to_string()])
                .status();
            assert!(stopped.unwrap().success());
            assert_eq!(training.wait().unwrap().code(), Some(130));
        }
        Cut::Kill => {
            training.kill().unwrap();
            training.wait().unwrap();
        }
    }
}

/// Exports the run and returns whether the file has the best weights.
fn exports_the_best(folder: &Path, cuts: &[Cut]) -> bool {
    let best = best(folder).expect("a training with an epoch has best weights");
    let file = path(folder, "model.onnx");
    let _ = fs::remove_file(&file);
    let ended = run(&mut kiln(&["export", folder.to_str().unwrap()]));
    assert_eq!(ended.code, Some(0), "{cuts:?}: {}", ended.stderr);
    let graph = kiln_onnx::load(&file).unwrap().graph.unwrap();
    ["dense.weight", "dense.bias"].iter().all(|name| {
        let tensor = graph.initializer.iter().find(|tensor| tensor.name == *name);
        tensor.unwrap().to_f32().unwrap() == best.get(name).unwrap().data
    })
}

/// Cuts a training as often as the order says, resuming in between, and exports at the end, or
/// after each cut. Returns the cuts after which other weights were exported than the best.
fn go_through(order: &[Cut], export_after_each: bool) -> Vec<&[Cut]> {
    let mut wrong = Vec::new();
    let work = tempfile::tempdir().unwrap();
    let recipe = path(work.path(), "linear.toml");
    fs::write(&recipe, RECIPE).unwrap();
    let runs = path(work.path(), "runs");
    let folder = work.path().join("runs/linear");
    for (at, &how) in order.iter().enumerate() {
        let before = best(&folder);
        let args = if at == 0 {
            ["train", &recipe, "--runs", &runs]
        } else {
            ["train", "--resume", folder.to_str().unwrap(), "--quiet"]
        };
        let mut training = kiln(&args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        end(&mut training, how, &folder, before.as_ref());
        let cuts = &order[..=at];
        if (export_after_each || cuts == order) && !exports_the_best(&folder, cuts) {
            wrong.push(cuts);
        }
    }
    wrong
}

#[test]
fn the_best_weights_are_exported_after_every_order() {
    let wrong = ORDERS.iter().flat_map(|order| go_through(order, false));
    assert_eq!(wrong.collect::<Vec<_>>(), Vec::<&[Cut]>::new());
}

#[test]
fn an_export_in_between_changes_nothing() {
    let wrong = ORDERS.iter().flat_map(|order| go_through(order, true));
    assert_eq!(wrong.collect::<Vec<_>>(), Vec::<&[Cut]>::new());
}
