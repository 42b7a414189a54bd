//! Training on random images, to measure the time of a step.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use kiln_data::{Dataset, Samples, View};
use kiln_import::graph;
use kiln_model::{Monitor, Recipe};
use kiln_onnx::load;
use kiln_preprocess::Preprocessor;
use kiln_run::History;
use kiln_trainer::{BatchReport, Device, Observer, Plan, Task, fit};
use kiln_util::CancelToken;

use super::layers;

const BATCH: usize = 32;

/// Prints the time between steps.
struct Clock(Instant);

impl Observer for Clock {
    fn step(&mut self, report: BatchReport) {
        println!(
            "{:.1}\t{:.4}",
            self.0.elapsed().as_secs_f64() * 1e3,
            report.loss
        );
        self.0 = Instant::now();
    }
}

/// Trains so many steps by plain gradient descent.
pub fn train(file: &str, steps: usize, kernels: &str) -> Result<(), Box<dyn Error>> {
    let file = load(file)?;
    let graph = graph(&file, None)?;
    let segments = layers::joined(&graph)?;
    let (model, weights) = layers::layers(&file, &graph, &segments, true)?;
    eprint!("{}", Plan::fused(model.layers()));
    let text = format!(
        "layers = [{{ type = \"flatten\" }}, {{ type = \"dense\", units = 10 }}]\n\
         training = {{ epochs = 1, batch_size = {BATCH}, optimizer = {{ type = \"sgd\", learning_rate = 0.001 }} }}"
    );
    let recipe = Recipe::parse(&text, "time.toml", "time", &[])?;
    let [channels, height, width] = model.preprocessing().shape();
    let samples = |images: usize| -> Result<Samples, Box<dyn Error>> {
        let pixels = (0..images * channels * height * width).map(|i| (i * 7919 / 13 % 251) as u8);
        let dataset = Dataset::new(
            "random",
            pixels.collect(),
            [height as u32, width as u32, channels as u32],
            (0..images as u32).map(|at| at * 37 % 10).collect(),
            (0..model.classes())
                .map(|class| class.to_string())
                .collect(),
        )?;
        let mut preprocessing = model.preprocessing().clone();
        preprocessing.scale = 1.0 / 255.0;
        let preprocessor = Arc::new(Preprocessor::new(preprocessing)?);
        Ok(Samples::images(View::all(Arc::new(dataset)), preprocessor))
    };
    let device = Device::cpu();
    let task = Task {
        model: &model,
        first_layer: 0,
        weights: &weights,
        history: &History::new(Monitor::default()),
        training: &recipe.training,
        phase: &recipe.training.phases[0],
        resume: None,
        train: samples(steps * BATCH)?,
        validation: samples(1)?,
        device: &if kernels == "stock" {
            device.stock()
        } else {
            device
        },
        pause_after: None,
        cancel: &CancelToken::new(),
    };
    fit(&task, &mut Clock(Instant::now()))?;
    Ok(())
}
