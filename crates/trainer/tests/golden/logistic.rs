//! L-BFGS ends where scikit-learn's logistic regression does.
//!
//! `logistic.json` is made by `make_logistic.py`.

use std::sync::Arc;

use kiln_data::{Dataset, Samples, View};
use kiln_model::{ClassWeight, LbfgsParams, Monitor, OptimizerKind, Phase, Recipe, Training};
use kiln_preprocess::Preprocessor;
use kiln_run::{Epoch, History};
use kiln_trainer::{Device, Observer, Resume, Snapshot, Task, TrainError, fit, initial_weights};
use kiln_util::CancelToken;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    size: [u32; 2],
    classes: usize,
    /// Root of the mean variance of the pixels.
    deviation: f64,
    images: Vec<u8>,
    labels: Vec<u32>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    penalty: f64,
    smoothing: f64,
    factors: Option<Vec<f64>>,
    weight: Vec<f64>,
    bias: Vec<f64>,
    loss: f64,
    accuracy: f64,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("logistic.json")).unwrap()
}

/// Hears of every fit.
#[derive(Default)]
struct Fits {
    epochs: Vec<Epoch>,
    snapshots: Vec<Snapshot>,
    best: Vec<bool>,
    not_converged: Vec<usize>,
    /// Cancels after the first fit.
    cancel: Option<CancelToken>,
}

impl Observer for Fits {
    fn not_converged(&mut self, epoch: &Epoch, _: usize, _: f64) {
        self.not_converged.push(epoch.epoch);
    }

    fn epoch(&mut self, epoch: &Epoch, snapshot: &Snapshot, best: bool) -> Result<(), TrainError> {
        self.epochs.push(*epoch);
        self.snapshots.push(snapshot.clone());
        self.best.push(best);
        if let Some(token) = &self.cancel {
            token.cancel();
        }
        Ok(())
    }
}

fn recipe(golden: &Golden) -> Recipe {
    let [height, width] = golden.size;
    let text = format!(
        "layers = [{{ type = \"flatten\" }}, {{ type = \"dense\", units = {} }}]\n\
         input = {{ height = {height}, width = {width}, preprocess = \"raw\" }}\n\
         data = {{ folder = \"golden\" }}",
        golden.classes
    );
    Recipe::parse(&text, "golden.toml", "golden", &[]).unwrap()
}

fn samples(golden: &Golden, recipe: &Recipe) -> Samples {
    let [height, width] = golden.size;
    let classes = (0..golden.classes).map(|class| class.to_string()).collect();
    let dataset = Dataset::new(
        "golden",
        golden.images.clone(),
        [height, width, 1],
        golden.labels.clone(),
        classes,
    );
    let preprocessor = Preprocessor::new(recipe.model().preprocessing().clone()).unwrap();
    Samples::images(
        View::all(Arc::new(dataset.unwrap())),
        Arc::new(preprocessor),
    )
}

/// Fits the dense layer, whose features are the pixels.
fn fitted(
    golden: &Golden,
    params: LbfgsParams,
    change: impl FnOnce(&mut Training),
    before: Option<(&History, &Snapshot)>,
    fits: &mut Fits,
) -> Result<kiln_trainer::Fitted, TrainError> {
    let recipe = recipe(golden);
    let mut training = recipe.training.clone();
    change(&mut training);
    let mut phase: Phase = training.phases[0].clone();
    phase.epochs = params.penalties.len();
    phase.optimizer.kind = OptimizerKind::Lbfgs(params);
    let samples = samples(golden, &recipe);
    let none = History::new(Monitor::ValLoss);
    let cancel = fits.cancel.clone().unwrap_or_default();
    let task = Task {
        model: recipe.model(),
        first_layer: 1,
        weights: &initial_weights(recipe.model(), 7),
        history: before.map_or(&none, |(history, _)| history),
        training: &training,
        phase: &phase,
        resume: before.map(|(history, snapshot)| Resume {
            epochs: history.epochs.len(),
            snapshot,
        }),
        train: samples.clone(),
        validation: samples,
        device: &Device::cpu(),
        pause_after: None,
        cancel: &cancel,
    };
    fit(&task, fits)
}

fn exactly(penalties: &[f64]) -> LbfgsParams {
    LbfgsParams {
        penalties: penalties.into(),
        max_iterations: 2_000,
        tolerance: 1e-8,
    }
}

#[test]
fn coefficients_loss_and_accuracy_are_those_of_scikit_learn() {
    let golden = golden();
    for case in &golden.cases {
        let change = |training: &mut Training| {
            training.label_smoothing = case.smoothing;
            training.class_weight = case.factors.clone().map(ClassWeight::Factors);
        };
        // Warm, after a stronger penalty, or at once: the minimum is the same.
        for penalties in [vec![case.penalty], vec![100.0, case.penalty]] {
            let mut fits = Fits::default();
            fitted(&golden, exactly(&penalties), change, None, &mut fits).unwrap();
            assert_eq!(fits.not_converged, [0_usize; 0]);
            let last = fits.snapshots.last().unwrap();
            let values = |name| &last.weights.get(name).unwrap().data;
            let weights = values("dense.weight").iter().zip(&case.weight);
            for (found, expected) in weights {
                // Of features with a deviation of 1.
                let difference = (f64::from(*found) - expected) * golden.deviation;
                assert!(difference.abs() < 1e-4, "{found} {expected}");
            }
            for (found, expected) in values("dense.bias").iter().zip(&case.bias) {
                assert!(
                    (f64::from(*found) - expected).abs() < 1e-4,
                    "{found} {expected}"
                );
            }
            let epoch = fits.epochs.last().unwrap();
            assert_eq!(epoch.penalty, Some(case.penalty));
            assert!(
                (epoch.train_loss - case.loss).abs() < 1e-5,
                "{epoch:?} {}",
                case.loss
            );
            assert!((epoch.val_accuracy - case.accuracy).abs() < 1e-9);
        }
    }
}

#[test]
fn a_resumed_fit_ends_at_the_same_weights_and_the_best_are_kept() {
    let golden = golden();
    let penalties = [1.0, 0.01, 1e-4];
    let mut whole = Fits::default();
    let all = fitted(&golden, exactly(&penalties), |_| (), None, &mut whole).unwrap();
    assert!(!all.stopped);
    // On the training images themselves a weaker penalty is always better.
    assert_eq!(whole.best, [true; 3]);
    assert_eq!(
        all.best.get("dense.weight"),
        whole.snapshots[2].weights.get("dense.weight")
    );
    let mut first = Fits {
        cancel: Some(CancelToken::new()),
        ..Fits::default()
    };
    let stopped = fitted(&golden, exactly(&penalties), |_| (), None, &mut first).unwrap();
    assert!(stopped.stopped && stopped.history.epochs.len() == 1);
    let mut rest = Fits::default();
    let before = (&stopped.history, &first.snapshots[0]);
    let resumed = fitted(
        &golden,
        exactly(&penalties),
        |_| (),
        Some(before),
        &mut rest,
    )
    .unwrap();
    assert_eq!(resumed.best, all.best);
    assert_eq!(rest.snapshots, whole.snapshots[1..]);
    let wrong = Snapshot {
        optimizer: vec![0; 9],
        ..first.snapshots[0].clone()
    };
    let before = (&stopped.history, &wrong);
    let error = fitted(
        &golden,
        exactly(&penalties),
        |_| (),
        Some(before),
        &mut rest,
    );
    assert!(
        error
            .unwrap_err()
            .to_string()
            .contains("expected 52 numbers, found 9 bytes")
    );
}

#[test]
fn a_fit_that_has_not_converged_is_told() {
    let golden = golden();
    let params = LbfgsParams {
        max_iterations: 2,
        ..exactly(&[1.0, 1e-4])
    };
    let mut fits = Fits::default();
    fitted(&golden, params, |_| (), None, &mut fits).unwrap();
    assert_eq!(fits.not_converged, [1, 2]);
}
