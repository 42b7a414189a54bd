//! The figures of a training as JSON lines and for TensorBoard. That TensorBoard itself reads the same is checked by
//! `scripts/check-tensorboard`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::kiln::{DIGITS, kiln, ok, path, trained};

const EVENTS: &str = "events.out.tfevents.kiln";

/// Two phases of two and ten epochs, 12 steps each.
fn train(runs: &Path, more: &[&'static str]) -> Vec<String> {
    let runs = runs.to_str().unwrap();
    let set = [
        "training.batch_size=32",
        "training.epochs=",
        "training.phases=[{epochs=2}, {epochs=10, optimizer={type=\"sgd\", learning_rate=0.01}}]",
    ];
    let set = set.map(|change| ["--set", change]).concat();
    let args = [
        &["train", "models/quickstart.toml", "--runs", runs, "--quiet"],
        &DIGITS[..],
        &set,
        more,
    ];
    args.concat().into_iter().map(String::from).collect()
}

fn borrowed(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

fn lines(run: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The rows of a history, by the names of their columns.
fn history(run: &Path) -> Vec<serde_json::Map<String, serde_json::Value>> {
    let text = fs::read_to_string(run.join("history.csv")).unwrap();
    let mut lines = text.lines().map(|line| line.split(','));
    let header: Vec<&str> = lines.next().unwrap().collect();
    let row = |cells: std::str::Split<'_, char>| {
        let cells = header.iter().zip(cells);
        let cells = cells.filter(|(_, cell)| !cell.is_empty());
        cells
            .map(|(name, cell)| ((*name).to_owned(), serde_json::from_str(cell).unwrap()))
            .collect()
    };
    lines.map(row).collect()
}

/// Checks that every epoch of the history is there once, with its figures.
fn check_lines(run: &Path, test: usize) {
    let (lines, history) = (lines(run), history(run));
    assert_eq!(lines.len(), history.len() + test, "{lines:?}");
    for (line, row) in lines.iter().zip(&history) {
        for (key, column) in [
            ("epoch", "epoch"),
            ("loss", "train_loss"),
            ("accuracy", "train_accuracy"),
            ("val_loss", "val_loss"),
            ("val_accuracy", "val_accuracy"),
            ("val_macro_f1", "val_macro_f1"),
            ("learning_rate", "learning_rate"),
            ("seconds", "seconds"),
            ("images_per_second", "images_per_second"),
        ] {
            assert_eq!(line[key], row[column], "{key} in {line}");
        }
        let epoch = line["epoch"].as_u64().unwrap();
        assert_eq!(line["step"], 12 * epoch);
        assert_eq!(line["phase"], if epoch <= 2 { 1 } else { 2 });
    }
}

/// A scalar of an event file.
#[derive(Debug, PartialEq)]
struct Scalar {
    step: u64,
    tag: String,
    value: f32,
}

/// The fields of a protobuf message: number, and bytes or the value of an integer.
fn fields(mut message: &[u8]) -> Vec<(u64, &[u8], u64)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for at in 0.. {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                break;
            }
        }
        value
    }
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let (length, value) = match key & 7 {
            0 => (0, varint(&mut message)),
            1 => (8, 0),
            2 => (varint(&mut message) as usize, 0),
            5 => (4, 0),
            other => panic!("wire type {other}"),
        };
        let (bytes, rest) = message.split_at(length);
        fields.push((key >> 3, bytes, value));
        message = rest;
    }
    fields
}

/// The scalars of an event file, whose records must all be whole.
fn scalars(run: &Path) -> Vec<Scalar> {
    let bytes = fs::read(run.join(EVENTS)).unwrap();
    let mut rest = bytes.as_slice();
    let mut scalars = Vec::new();
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        let event = fields(&rest[12..][..length]);
        rest = &rest[12 + length + 4..];
        let step = event.iter().find(|(number, ..)| *number == 2);
        let step = step.map_or(0, |&(.., step)| step);
        let summaries = event.iter().filter(|(number, ..)| *number == 5);
        for (_, value, _) in summaries.flat_map(|&(_, summary, _)| fields(summary)) {
            let value = fields(value);
            let field = |wanted| value.iter().find(|(number, ..)| *number == wanted);
            if let Some((_, bytes, _)) = field(2) {
                let (_, tag, _) = field(1).unwrap();
                scalars.push(Scalar {
                    step,
                    tag: String::from_utf8(tag.to_vec()).unwrap(),
                    value: f32::from_le_bytes((*bytes).try_into().unwrap()),
                });
            }
        }
    }
    scalars
}

/// Checks that every epoch of the history is there once, with its figures.
fn check_events(run: &Path) {
    let (scalars, history) = (scalars(run), history(run));
    for (tag, column) in [
        ("train/loss", "train_loss"),
        ("train/accuracy", "train_accuracy"),
        ("validation/loss", "val_loss"),
        ("validation/accuracy", "val_accuracy"),
        ("validation/macro_f1", "val_macro_f1"),
        ("optimizer/learning_rate", "learning_rate"),
        ("time/seconds", "seconds"),
        ("time/images_per_second", "images_per_second"),
    ] {
        let expected = history.iter().map(|row| Scalar {
            step: row["epoch"].as_u64().unwrap(),
            tag: tag.into(),
            value: row[column].as_f64().unwrap() as f32,
        });
        let found = scalars.iter().filter(|scalar| scalar.tag == tag);
        assert!(
            found.eq(&expected.collect::<Vec<_>>()),
            "{tag}: {scalars:?}"
        );
    }
}

#[test]
fn a_run_ends_with_the_test_images_figures_and_has_an_event_file_only_if_asked() {
    let evaluation: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(trained().join("eval.json")).unwrap()).unwrap();
    let lines = lines(trained());
    let test = lines.last().unwrap();
    assert_eq!(lines.len(), 3);
    assert_eq!(test["test_accuracy"], evaluation[0]["accuracy"]);
    assert_eq!(test["test_loss"], evaluation[0]["loss"]);
    assert_eq!(test["test_macro_f1"], evaluation[0]["macro_average"]["f1"]);
    assert_eq!(test["test_images"], 100);
    assert!(!trained().join(EVENTS).exists());
}

#[test]
fn a_killed_and_resumed_training_has_each_epoch_once_and_the_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    let args = train(folder.path(), &[]);
    ok(&borrowed(&args));
    let whole = folder.path().join("quickstart");
    check_lines(&whole, 0);

    let args = train(folder.path(), &["--tensorboard"]);
    let mut child = kiln(&borrowed(&args)).spawn().unwrap();
    let cut = folder.path().join("quickstart-2");
    let start = Instant::now();
    while !cut.join("checkpoints/last.safetensors").exists() {
        assert!(
            start.elapsed() < Duration::from_mins(2),
            "no epoch was done"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(100));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        !cut.join("weights.safetensors").exists(),
        "it was done before it was killed"
    );

    // Whatever was left: an epoch that the checkpoint does not have, half a record.
    let metrics = cut.join("metrics.jsonl");
    let left = fs::read_to_string(&metrics).unwrap_or_default();
    let doubled = left.clone() + left.lines().last().unwrap_or_default() + "\n{\"epoch\":";
    fs::write(&metrics, doubled).unwrap();
    let events = fs::read(cut.join(EVENTS)).unwrap();
    fs::write(cut.join(EVENTS), &events[..events.len() - 5]).unwrap();

    let run = path(folder.path(), "quickstart-2");
    ok(&["train", "--resume", &run]);
    for _ in 0..2 {
        check_lines(&cut, 0);
        check_events(&cut);
        let weights = |run: &Path| fs::read(run.join("weights.safetensors")).unwrap();
        assert!(weights(&cut) == weights(&whole), "other weights");
        // Once more: there is nothing left to do, and nothing changes.
        ok(&["train", "--resume", &run]);
    }

    // The whole flow adds the test images, once.
    for _ in 0..2 {
        ok(&["run", "--resume", &run]);
        check_lines(&cut, 1);
        check_events(&cut);
        let tests = scalars(&cut).into_iter();
        let tests: Vec<Scalar> = tests.filter(|it| it.tag.starts_with("test/")).collect();
        assert_eq!(tests.len(), 3, "{tests:?}");
        let figure = lines(&cut).last().unwrap()["test_loss"].as_f64().unwrap();
        assert_eq!(tests[0].value.to_bits(), (figure as f32).to_bits());
    }
}

#[test]
fn a_training_that_is_extended_has_the_epochs_before_too() {
    let folder = tempfile::tempdir().unwrap();
    let args = train(folder.path(), &["--set", "training.phases.2.epochs=1"]);
    ok(&borrowed(&args));
    let run = path(folder.path(), "quickstart");
    let more = ["--set", "training.phases.2.epochs=2", "--tensorboard"];
    ok(&[&["train", "--resume", &run, "--quiet"], &more[..]].concat());
    let extended = folder.path().join("quickstart-2");
    assert_eq!(history(&extended).len(), 4);
    check_lines(&extended, 0);
    check_events(&extended);
    assert!(!Path::new(&run).join(EVENTS).exists());
}

#[test]
fn each_run_of_a_sweep_has_an_event_file_if_asked() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = "layers = [{ type = \"flatten\" }, { type = \"dense\", units = 10 }]\n\
                  [data]\nfolder = \"tests/fixtures/digits\"\n\
                  [training]\nepochs = 1\n\
                  [sweep]\n\"training.seed\" = [0, 1]\n";
    let file = path(folder.path(), "small.toml");
    fs::write(&file, recipe).unwrap();
    let runs = folder.path().to_str().unwrap();
    ok(&["sweep", &file, "--runs", runs, "--quiet", "--tensorboard"]);
    let entries = fs::read_dir(folder.path().join("small-sweep")).unwrap();
    let runs = entries.map(|entry| entry.unwrap().path());
    let runs: Vec<_> = runs.filter(|path| path.is_dir()).collect();
    assert_eq!(runs.len(), 2);
    for run in runs {
        let tests = scalars(&run).into_iter();
        assert_eq!(tests.filter(|it| it.tag.starts_with("test/")).count(), 3);
        check_events(&run);
    }
}
