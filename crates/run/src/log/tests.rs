use std::fs;

use super::*;

fn recipe() -> Recipe {
    let text = "layers = [{ type = \"flatten\" }, { type = \"dense\", units = 10 }]";
    Recipe::parse(text, "small.toml", "small", &[]).unwrap()
}

fn epoch(number: usize) -> LoggedEpoch {
    LoggedEpoch {
        phase: 1,
        step: Some(10 * number as u64),
        epoch: Epoch {
            epoch: number,
            train_loss: 0.1,
            train_accuracy: 1.0 / 3.0,
            val_loss: 0.25,
            val_accuracy: 0.9,
            val_macro_f1: Some(0.875),
            learning_rate: 1e-3,
            penalty: None,
            seconds: 2.5,
            images_per_second: Some(160.0),
        },
    }
}

const TEST: TestFigures = TestFigures {
    epoch: 1,
    images: 100,
    loss: 0.5,
    accuracy: 0.8,
    macro_f1: 0.75,
    mean_average_precision: None,
};

#[test]
fn each_epoch_is_a_line_and_the_test_images_are_the_last() {
    let recipe = recipe();
    let mut fit = epoch(2);
    fit.step = None;
    fit.epoch.penalty = Some(0.01);
    fit.epoch.images_per_second = None;
    let log = TrainingLog {
        recipe: &recipe,
        epochs: vec![epoch(1), fit],
        test: Some(TEST),
    };
    let expected = r#"{"phase":1,"epoch":1,"step":10,"loss":0.1,"accuracy":0.3333333333333333,"val_loss":0.25,"val_accuracy":0.9,"val_macro_f1":0.875,"learning_rate":0.001,"seconds":2.5,"images_per_second":160.0}
{"phase":1,"epoch":2,"loss":0.1,"accuracy":0.3333333333333333,"val_loss":0.25,"val_accuracy":0.9,"val_macro_f1":0.875,"penalty":0.01,"seconds":2.5}
{"epoch":1,"test_images":100,"test_loss":0.5,"test_accuracy":0.8,"test_macro_f1":0.75}
"#;
    assert_eq!(log.to_json_lines(), expected);
}

#[test]
fn only_a_run_that_asks_for_an_event_file_gets_one_and_then_keeps_it() {
    let root = tempfile::tempdir().unwrap();
    let recipe = recipe();
    let (run, _lock) = RunDir::create(root.path(), &recipe).unwrap();
    let mut log = TrainingLog {
        recipe: &recipe,
        epochs: vec![epoch(1)],
        test: None,
    };
    run.write_log(&log, false).unwrap();
    assert!(!run.file(RunFile::Events).exists());
    run.write_log(&log, true).unwrap();
    let first = fs::read(run.file(RunFile::Events)).unwrap();
    log.epochs.push(epoch(2));
    log.test = Some(TEST);
    run.write_log(&log, false).unwrap();
    let second = fs::read(run.file(RunFile::Events)).unwrap();
    assert!(second.starts_with(&first) && second.len() > first.len());
    let lines = fs::read_to_string(run.file(RunFile::Metrics)).unwrap();
    assert_eq!(lines, log.to_json_lines());
}

#[test]
fn an_event_file_that_cannot_be_written_is_one_clear_error() {
    let root = tempfile::tempdir().unwrap();
    let recipe = recipe();
    let (run, _lock) = RunDir::create(root.path(), &recipe).unwrap();
    fs::create_dir(run.file(RunFile::Events)).unwrap();
    let log = TrainingLog {
        recipe: &recipe,
        epochs: Vec::new(),
        test: None,
    };
    let error = run.write_log(&log, true).unwrap_err().to_string();
    assert!(error.starts_with("cannot write"), "{error}");
}
