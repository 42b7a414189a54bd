//! The training loop on a model small enough to train in no time.

use std::sync::Arc;

use kiln_data::{Dataset, View};
use kiln_model::Recipe;
use kiln_preprocess::Preprocessor;

use super::*;
use crate::initial_weights;

/// Training and validation images; with three to a batch, three steps an epoch.
const IMAGES: usize = 8;

fn recipe(epochs: usize) -> Recipe {
    let text = format!(
        "layers = [{{ type = \"flatten\" }}, {{ type = \"dense\", units = 2 }}]\n\
         input = {{ height = 2, width = 2 }}\n\
         data = {{ folder = \"squares\" }}\n\
         training = {{ epochs = {epochs}, batch_size = 3 }}"
    );
    Recipe::parse(&text, "small.toml", "small", &[]).unwrap()
}

/// Dark images of one class, light ones of the other.
fn samples(model: &Model) -> Samples {
    let labels: Vec<u32> = (0..IMAGES as u32).map(|at| at % 2).collect();
    let pixels = labels
        .iter()
        .enumerate()
        .flat_map(|(at, &label)| [label as u8 * 200 + at as u8; 4]);
    let classes = vec!["dark".to_string(), "light".to_string()];
    let dataset = Dataset::new("squares", pixels.collect(), [2, 2, 1], labels, classes).unwrap();
    let preprocessor = Arc::new(Preprocessor::new(model.preprocessing().clone()).unwrap());
    Samples::images(View::all(Arc::new(dataset)), preprocessor)
}

/// What was reported, in order: images done in steps, validation batches and epochs.
#[derive(Debug, PartialEq)]
enum Report {
    Step(usize, usize),
    Validation(usize, usize),
    Epoch(usize, bool),
}

#[derive(Default)]
struct Recorder {
    reports: Vec<Report>,
    snapshots: Vec<Snapshot>,
    /// Cancels at the first step of an epoch.
    cancel_in: Option<(usize, CancelToken)>,
    /// Fails to keep an epoch.
    fails: bool,
}

impl Observer for Recorder {
    fn step(&mut self, report: BatchReport) {
        self.reports.push(Report::Step(report.epoch, report.done));
        if let Some((epoch, token)) = &self.cancel_in
            && *epoch == report.epoch
        {
            token.cancel();
        }
    }

    fn validation_step(&mut self, report: BatchReport) {
        self.reports
            .push(Report::Validation(report.epoch, report.done));
    }

    fn epoch(&mut self, epoch: &Epoch, snapshot: &Snapshot, best: bool) -> Result<(), TrainError> {
        if self.fails {
            return Err(TrainError::Observer("the disk is full".into()));
        }
        self.reports.push(Report::Epoch(epoch.epoch, best));
        self.snapshots.push(snapshot.clone());
        Ok(())
    }
}

/// Trains the model of a recipe, whose task may be changed.
fn train(
    recipe: &Recipe,
    weights: &Weights,
    history: &History,
    recorder: &mut Recorder,
    change: impl FnOnce(&mut Task<'_>),
    resume: Option<Resume<'_>>,
) -> Result<Fitted, TrainError> {
    let model = recipe.model();
    let samples = samples(model);
    let cancel = recorder
        .cancel_in
        .as_ref()
        .map_or_else(CancelToken::new, |(_, token)| token.clone());
    let device = Device::cpu();
    let mut task = Task {
        model,
        first_layer: 0,
        weights,
        history,
        training: &recipe.training,
        phase: &recipe.training.phases[0],
        resume,
        train: samples.clone(),
        validation: samples,
        device: &device,
        pause_after: None,
        cancel: &cancel,
    };
    change(&mut task);
    fit(&task, recorder)
}

fn begin(recipe: &Recipe, recorder: &mut Recorder) -> Result<Fitted, TrainError> {
    let weights = initial_weights(recipe.model(), 0);
    let history = History::new(recipe.training.monitor);
    train(recipe, &weights, &history, recorder, |_| {}, None)
}

#[test]
fn every_step_and_epoch_is_reported_in_order() {
    let mut recorder = Recorder::default();
    let fitted = begin(&recipe(2), &mut recorder).unwrap();
    assert!(!fitted.stopped);
    assert_eq!(fitted.history.epochs.len(), 2);
    let mut expected = Vec::new();
    for epoch in [1, 2] {
        expected.extend([3, 6, 8].map(|done| Report::Step(epoch, done)));
        expected.extend([3, 6, 8].map(|done| Report::Validation(epoch, done)));
        let best = recorder.reports.contains(&Report::Epoch(epoch, true));
        expected.push(Report::Epoch(epoch, best));
    }
    assert_eq!(recorder.reports, expected);
    assert!(recorder.reports.contains(&Report::Epoch(1, true)));
    let best = fitted.history.best().unwrap().epoch;
    assert_eq!(fitted.best, recorder.snapshots[best - 1].weights);
}

#[test]
fn a_cancelled_training_keeps_its_whole_epochs() {
    let mut recorder = Recorder {
        cancel_in: Some((2, CancelToken::new())),
        ..Recorder::default()
    };
    let fitted = begin(&recipe(5), &mut recorder).unwrap();
    assert!(fitted.stopped);
    assert_eq!(fitted.history.epochs.len(), 1);
    assert_eq!(fitted.best, recorder.snapshots[0].weights);
    assert_eq!(recorder.reports.last(), Some(&Report::Step(2, 3)));
}

#[test]
fn a_resumed_training_ends_as_one_that_ran_through() {
    let recipe = recipe(3);
    let mut whole = Recorder::default();
    let through = begin(&recipe, &mut whole).unwrap();
    for done in 1..=3 {
        let history = History {
            epochs: through.history.epochs[..done].to_vec(),
            ..History::new(recipe.training.monitor)
        };
        let best = history.best().unwrap().epoch;
        let resume = Resume {
            epochs: done,
            snapshot: &whole.snapshots[done - 1],
        };
        let mut rest = Recorder::default();
        let weights = &whole.snapshots[best - 1].weights;
        let resumed = train(&recipe, weights, &history, &mut rest, |_| {}, Some(resume)).unwrap();
        assert_eq!(resumed.best, through.best, "after epoch {done}");
        let figures = |fitted: &Fitted| -> Vec<(usize, f64, f64)> {
            let epochs = fitted.history.epochs.iter();
            epochs
                .map(|epoch| (epoch.epoch, epoch.train_loss, epoch.val_loss))
                .collect()
        };
        assert_eq!(figures(&resumed), figures(&through));
        assert_eq!(rest.snapshots.len(), 3 - done);
        for (resumed, through) in rest.snapshots.iter().zip(&whole.snapshots[done..]) {
            assert_eq!(resumed.weights, through.weights);
        }
    }
}

#[test]
fn a_training_pauses_after_so_many_epochs_with_the_rates_of_all() {
    let cosine = ["training.schedule=\"cosine\"".to_owned()];
    let recipe = Recipe::parse(&recipe(3).to_toml(), "small.toml", "small", &cosine).unwrap();
    let mut whole = Recorder::default();
    let through = begin(&recipe, &mut whole).unwrap();
    let weights = initial_weights(recipe.model(), 0);
    let history = History::new(recipe.training.monitor);
    let mut paused = Recorder::default();
    let pause = |task: &mut Task<'_>| task.pause_after = Some(2);
    let fitted = train(&recipe, &weights, &history, &mut paused, pause, None).unwrap();
    assert!(fitted.stopped);
    let weights_of = |it: &[Snapshot]| it.iter().map(|it| it.weights.clone()).collect::<Vec<_>>();
    assert_eq!(
        weights_of(&paused.snapshots),
        weights_of(&whole.snapshots[..2])
    );
    let rates = |fitted: &Fitted| -> Vec<f64> {
        let epochs = fitted.history.epochs.iter();
        epochs.map(|epoch| epoch.learning_rate).collect()
    };
    assert_eq!(rates(&fitted), rates(&through)[..2]);
    let later = |task: &mut Task<'_>| task.pause_after = Some(3);
    let fitted = train(&recipe, &weights, &history, &mut paused, later, None).unwrap();
    assert!(!fitted.stopped);
}

#[test]
fn what_cannot_be_trained_is_refused() {
    let recipe = recipe(1);
    let history = History::new(recipe.training.monitor);
    let weights = initial_weights(recipe.model(), 0);
    let empty = |task: &mut Task<'_>| task.validation = task.validation.skip(IMAGES);
    let mut recorder = Recorder::default();
    let error = train(&recipe, &weights, &history, &mut recorder, empty, None).unwrap_err();
    assert!(matches!(error, TrainError::Empty("validation")), "{error}");
    let none = Weights::default();
    let error = train(&recipe, &none, &history, &mut recorder, |_| {}, None).unwrap_err();
    assert!(matches!(error, TrainError::Weights(_)), "{error}");
    assert_eq!(recorder.reports, []);
}

#[test]
fn a_result_that_cannot_be_kept_stops_the_training() {
    let mut recorder = Recorder {
        fails: true,
        ..Recorder::default()
    };
    let error = begin(&recipe(3), &mut recorder).unwrap_err();
    assert_eq!(error.to_string(), "the disk is full");
    assert!(!recorder.reports.contains(&Report::Step(2, 3)));
}

/// The weights after one epoch with these settings of `[training]`.
fn after_one_epoch(settings: &[&str]) -> Weights {
    let text = "layers = [{ type = \"flatten\" }, { type = \"dense\", units = 2 }]\n\
         input = { height = 2, width = 2 }\ndata = { folder = \"squares\" }\n\
         training = { epochs = 1, batch_size = 8 }";
    let set: Vec<String> = settings.iter().map(ToString::to_string).collect();
    let recipe = Recipe::parse(text, "small.toml", "small", &set).unwrap();
    let mut weights = initial_weights(recipe.model(), 0);
    weights.get_mut("dense.bias").unwrap().data = vec![3.0, -2.0];
    let history = History::new(recipe.training.monitor);
    let mut recorder = Recorder::default();
    train(&recipe, &weights, &history, &mut recorder, |_| {}, None).unwrap();
    recorder.snapshots[0].weights.clone()
}

#[test]
fn biases_decay_where_the_recipe_lets_them() {
    let adam = after_one_epoch(&["training.optimizer={type=\"adam\"}"]);
    let decaying = |key: &str| {
        after_one_epoch(&[&format!(
            "training.optimizer={{type=\"adamw\", weight_decay=0.5{key}}}"
        )])
    };
    let values = |weights: &Weights, name: &str| weights.get(name).unwrap().data.clone();
    let all = decaying("");
    let weights_only = decaying(", decay_biases_and_norms=false");
    assert_eq!(
        values(&weights_only, "dense.bias"),
        values(&adam, "dense.bias")
    );
    assert_eq!(
        values(&weights_only, "dense.weight"),
        values(&all, "dense.weight")
    );
    for name in ["dense.bias", "dense.weight"] {
        assert_ne!(values(&all, name), values(&adam, name));
    }
}

#[test]
fn rates_decay_from_block_to_block() {
    // With Adam, the first step of every weight is as long as its rate.
    let step = |settings: &[&str], name: &str| {
        let after = after_one_epoch(&[
            &["layers=[{type=\"flatten\"}, {type=\"dense\", name=\"a\", units=4}, {type=\"dense\", units=2}]"],
            settings,
        ]
        .concat());
        let model = Recipe::parse(
            "layers=[{type=\"flatten\"}, {type=\"dense\", name=\"a\", units=4}, {type=\"dense\", units=2}]\n\
             input = { height = 2, width = 2 }\ndata = { folder = \"squares\" }",
            "small.toml",
            "small",
            &[],
        )
        .unwrap();
        let before = initial_weights(model.model(), 0);
        let (before, after) = (before.get(name).unwrap(), after.get(name).unwrap());
        let steps = before
            .data
            .iter()
            .zip(&after.data)
            .map(|(a, b)| (a - b).abs());
        steps.fold(0.0_f32, f32::max)
    };
    let decayed = ["training.layer_decay=0.5"];
    for (settings, name, expected) in [
        (&[][..], "a.weight", 1e-3_f32),
        (&decayed, "a.weight", 5e-4),
        (&decayed, "dense.weight", 1e-3),
        (
            &[
                "training.layer_decay=0.5",
                "training.learning_rates={a=0.002}",
            ],
            "a.weight",
            2e-3,
        ),
    ] {
        let found = step(settings, name);
        assert!(
            (found / expected - 1.0).abs() < 1e-2,
            "{settings:?} {name}: {found}"
        );
    }
}

/// Three epochs with these settings of `[training]`: what stood after each.
fn snapshots(settings: &[&str]) -> (Recipe, Fitted, Vec<Snapshot>) {
    let text = "layers = [{ type = \"flatten\" }, { type = \"batch_norm\" }, { type = \"dense\", units = 2 }]\n\
         input = { height = 2, width = 2 }\ndata = { folder = \"squares\" }\n\
         training = { epochs = 3, batch_size = 3 }";
    let set: Vec<String> = settings.iter().map(ToString::to_string).collect();
    let recipe = Recipe::parse(text, "small.toml", "small", &set).unwrap();
    let mut recorder = Recorder::default();
    let fitted = begin(&recipe, &mut recorder).unwrap();
    (recipe, fitted, recorder.snapshots)
}

fn assert_near(found: &Weights, expected: &Weights) {
    assert_eq!(found.len(), expected.len());
    for (name, tensor) in expected {
        let found = found.get(name).unwrap();
        for (found, expected) in found.data.iter().zip(&tensor.data) {
            let close = (found - expected).abs() <= 1e-5 * expected.abs().max(1.0);
            assert!(close, "{name}: {found} instead of {expected}");
        }
    }
}

#[test]
fn the_average_follows_the_weights_and_their_statistics() {
    // One step an epoch, so that each of them is seen.
    let every_step = "training.batch_size=8";
    let (recipe, fitted, with) = snapshots(&[every_step, "training.ema_decay=0.25"]);
    let (_, _, without) = snapshots(&[every_step]);
    let mut average = initial_weights(recipe.model(), 0);
    for (step, (with, without)) in (1..).zip(with.iter().zip(&without)) {
        assert_eq!(with.weights, without.weights, "it changes no weight");
        let decay = f32::min(0.25, (1.0 + step as f32) / (10.0 + step as f32));
        for (name, tensor) in &mut average {
            let weights = &without.weights.get(name).unwrap().data;
            for (average, weight) in tensor.data.iter_mut().zip(weights) {
                *average += (1.0 - decay) * (weight - *average);
            }
        }
        assert_near(with.average.as_ref().unwrap(), &average);
    }
    let best = fitted.history.best().unwrap().epoch;
    assert_eq!(Some(&fitted.best), with[best - 1].average.as_ref());
    assert!(without.iter().all(|snapshot| snapshot.average.is_none()));
}

#[test]
fn frozen_layers_have_no_average_of_their_own() {
    let (recipe, _, snapshots) = snapshots(&["training.ema_decay=0.9", "training.freeze=2"]);
    let before = initial_weights(recipe.model(), 0);
    for name in ["weight", "bias", "running_mean", "running_var"] {
        let name = format!("batch_norm.{name}");
        let average = snapshots[2].average.as_ref().unwrap();
        assert_eq!(average.get(&name), before.get(&name));
    }
}

#[test]
fn several_batches_make_the_step_of_a_large_one() {
    // No batch normalization, whose statistics are of a batch.
    let dense = "layers=[{ type = \"flatten\" }, { type = \"dense\", units = 2 }]";
    let large = snapshots(&[dense, "training.batch_size=8"]).2;
    // Batches of 3, 3 and 2 images, in the same order.
    let small = snapshots(&[dense, "training.gradient_accumulation_steps=3"]).2;
    for (small, large) in small.iter().zip(&large) {
        assert_near(&small.weights, &large.weights);
    }
    // The last step of an epoch has the batches that are left.
    let pairs = snapshots(&[dense, "training.gradient_accumulation_steps=2"]).2;
    assert_ne!(pairs[0].weights, large[0].weights);
}

#[test]
fn averages_and_accumulated_steps_are_resumed_bit_for_bit() {
    let (recipe, through, whole) = snapshots(&[
        "training.ema_decay=0.9",
        "training.gradient_accumulation_steps=2",
        "training.schedule={ type = \"cosine\", warmup_epochs = 1 }",
    ]);
    let history = History {
        epochs: through.history.epochs[..1].to_vec(),
        ..History::new(recipe.training.monitor)
    };
    let resume = Resume {
        epochs: 1,
        snapshot: &whole[0],
    };
    let mut rest = Recorder::default();
    let best = whole[0].validated();
    let resumed = train(&recipe, best, &history, &mut rest, |_| {}, Some(resume)).unwrap();
    assert_eq!(resumed.best, through.best);
    for (resumed, through) in rest.snapshots.iter().zip(&whole[1..]) {
        assert_eq!(resumed.weights, through.weights);
        assert_eq!(resumed.average, through.average);
    }
}

#[test]
fn decay_of_sgd_is_added_to_the_gradient() {
    let sgd = |settings: &str| {
        after_one_epoch(&[&format!(
            "training.optimizer={{type=\"sgd\", learning_rate=0.1{settings}}}"
        )])
    };
    let (plain, decaying) = (sgd(""), sgd(", weight_decay=0.5"));
    let weights_only = sgd(", weight_decay=0.5, decay_biases_and_norms=false");
    let bias = |weights: &Weights| weights.get("dense.bias").unwrap().data.clone();
    assert_eq!(bias(&weights_only), bias(&plain));
    assert_eq!(
        weights_only.get("dense.weight"),
        decaying.get("dense.weight")
    );
    // The biases began at 3 and -2: 0.1 * 0.5 of them is subtracted.
    for ((found, plain), began) in bias(&decaying).iter().zip(bias(&plain)).zip([3.0, -2.0]) {
        assert!(
            (found - (plain - 0.05 * began)).abs() < 1e-6,
            "{found} {plain}"
        );
    }
}

/// What the weights of the last layer began as and became after one step.
fn one_step(optimizer: &str) -> (Vec<f32>, Vec<f32>) {
    let settings = format!("training.optimizer={optimizer}");
    let one_batch = "training.batch_size=1000";
    let after = after_one_epoch(&[&settings, one_batch]);
    let still = after_one_epoch(&[
        "training.optimizer={type=\"sgd\", learning_rate=1e-30}",
        one_batch,
    ]);
    let values = |weights: &Weights| weights.get("dense.weight").unwrap().data.clone();
    (values(&still), values(&after))
}

#[test]
fn every_weight_moves_by_the_rate_with_lion() {
    let (began, after) = one_step("{type=\"lion\", learning_rate=0.01}");
    let (_, decayed) = one_step("{type=\"lion\", learning_rate=0.01, weight_decay=0.5}");
    for ((began, after), decayed) in began.iter().zip(&after).zip(&decayed) {
        let step = after - began;
        assert!((step.abs() - 0.01).abs() < 1e-6, "{step}");
        assert!(
            (decayed - (after - 0.005 * began)).abs() < 1e-6,
            "{decayed}"
        );
    }
}

#[test]
fn weights_move_by_the_rate_times_their_norm_with_lamb() {
    let (began, after) = one_step("{type=\"lamb\", learning_rate=0.01}");
    let norm = |values: &[f32]| values.iter().map(|x| x * x).sum::<f32>().sqrt();
    let step: Vec<f32> = began
        .iter()
        .zip(&after)
        .map(|(began, after)| after - began)
        .collect();
    let share = norm(&step) / norm(&began);
    assert!((share - 0.01).abs() < 1e-5, "{share}");
}
