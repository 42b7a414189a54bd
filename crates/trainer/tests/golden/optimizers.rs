//! The same steps end at the same weights as in Keras: optimizers, clipping, rates from a table.
//!
//! `optimizers.json` is made by `make_optimizers.py`.

use std::collections::BTreeMap;
use std::sync::Arc;

use kiln_data::{Dataset, Samples, View};
use kiln_model::{Monitor, Recipe};
use kiln_preprocess::Preprocessor;
use kiln_run::{Epoch, History, Tensor, Weights};
use kiln_trainer::{Device, Observer, Snapshot, Task, TrainError, fit};
use kiln_util::CancelToken;
use serde::Deserialize;

use crate::Values;

#[derive(Deserialize)]
struct Golden {
    size: [u32; 2],
    images: Vec<u8>,
    labels: Vec<u32>,
    /// Of one step each.
    epochs: usize,
    start: BTreeMap<String, Values>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    /// As in a recipe.
    training: String,
    /// At the end, by name.
    weights: BTreeMap<String, Vec<f32>>,
}

/// Keeps the weights after the last epoch, not after the best.
#[derive(Default)]
struct Last(Weights);

impl Observer for Last {
    fn epoch(&mut self, _: &Epoch, snapshot: &Snapshot, _: bool) -> Result<(), TrainError> {
        self.0 = snapshot.weights.clone();
        Ok(())
    }
}

fn recipe(golden: &Golden, training: &str) -> Recipe {
    let (images, [height, width], epochs) = (golden.labels.len(), golden.size, golden.epochs);
    let text = format!(
        "layers = [{{ type = \"flatten\" }}, {{ type = \"dense\", units = 5, activation = \"silu\" }}, \
         {{ type = \"dense\", units = 10 }}]\n\
         input = {{ height = {height}, width = {width}, preprocess = \"raw\" }}\n\
         training = {{ epochs = {epochs}, batch_size = {images}, {training} }}"
    );
    Recipe::parse(&text, "golden.toml", "golden", &[]).unwrap_or_else(|error| panic!("{error}"))
}

/// The weights after all steps.
fn trained(golden: &Golden, training: &str, device: &Device) -> Weights {
    let recipe = recipe(golden, training);
    let model = recipe.model();
    let classes = (0..10).map(|class| class.to_string()).collect();
    let [height, width] = golden.size;
    let dataset = Dataset::new(
        "golden",
        golden.images.clone(),
        [height, width, 1],
        golden.labels.clone(),
        classes,
    )
    .unwrap();
    let preprocessor = Arc::new(Preprocessor::new(model.preprocessing().clone()).unwrap());
    let samples = Samples::images(View::all(Arc::new(dataset)), preprocessor);
    let tensor = |values: &Values| Tensor {
        shape: values.shape.clone(),
        data: values.data.clone(),
    };
    let weights: Weights = golden
        .start
        .iter()
        .map(|(name, values)| (name.clone(), tensor(values)))
        .collect();
    let task = Task {
        model,
        first_layer: 0,
        weights: &weights,
        history: &History::new(Monitor::default()),
        training: &recipe.training,
        phase: &recipe.training.phases[0],
        resume: None,
        train: samples.clone(),
        validation: samples,
        device,
        pause_after: None,
        cancel: &CancelToken::new(),
    };
    let mut last = Last::default();
    fit(&task, &mut last).unwrap();
    last.0
}

#[test]
fn optimizers_end_where_keras_ends() {
    let golden: Golden = serde_json::from_str(include_str!("optimizers.json")).unwrap();
    assert!(golden.cases.len() >= 17);
    for case in &golden.cases {
        for device in [Device::cpu(), Device::stock_cpu()] {
            let found = trained(&golden, &case.training, &device);
            for (name, expected) in &case.weights {
                let found = &found.get(name).unwrap().data;
                assert_eq!(found.len(), expected.len(), "{name}");
                for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
                    let training = &case.training;
                    assert!(
                        (found - expected).abs() <= 1e-5,
                        "{training} on {device}: {name}[{at}] is {found}, Keras {expected}"
                    );
                }
            }
        }
    }
}
