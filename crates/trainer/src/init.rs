//! Weights that a training begins with: drawn, or a pretrained base's from a file.
//!
//! They are drawn here rather than by a backend, so that a seed means the same on every device.

use std::path::Path;

use kiln_import::Parameter;
use kiln_model::{Base, Init, Model};
use kiln_run::{Tensor, Weights};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::TrainError;

/// Draws the weights of a model before training; the same seed gives the same weights on every machine.
pub fn initial_weights(model: &Model, seed: u64) -> Weights {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let tensors = model.params().map(|param| {
        let data = match param.init {
            // A file's values take the place of these.
            Init::Zeros | Init::Given => vec![0.0; param.len()],
            Init::Ones => vec![1.0; param.len()],
            Init::GlorotUniform { fan_in, fan_out } => {
                let limit = (6.0 / (fan_in + fan_out) as f64).sqrt() as f32;
                uniform(&mut rng, limit, param.len())
            }
            Init::Filled(value) => vec![value; param.len()],
            Init::Uniform { limit } => uniform(&mut rng, limit, param.len()),
            Init::Normal { stddev } => normal(&mut rng, stddev, f64::INFINITY, param.len()),
            Init::TruncatedNormal { stddev } => normal(&mut rng, stddev, 2.0, param.len()),
        };
        (
            param.name.clone(),
            Tensor {
                shape: param.shape.clone(),
                data,
            },
        )
    });
    tensors.collect()
}

/// Draws numbers within `±limit`.
fn uniform(rng: &mut ChaCha8Rng, limit: f32, count: usize) -> Vec<f32> {
    (0..count)
        .map(|_| rng.random_range(-limit..limit))
        .collect()
}

/// Draws normally distributed numbers with mean 0, none further away than so many standard
/// deviations.
fn normal(rng: &mut ChaCha8Rng, stddev: f32, furthest: f64, count: usize) -> Vec<f32> {
    // Box and Muller (1958); `1 - u` is above 0.
    let standard = |rng: &mut ChaCha8Rng| {
        let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
        radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
    };
    let mut draw = || loop {
        let x = standard(rng);
        if x.abs() <= furthest {
            return (x * f64::from(stddev)) as f32;
        }
    };
    (0..count).map(|_| draw()).collect()
}

/// Reads a base's weights, by the names of its layers, from any ONNX file of that network.
pub fn backbone_weights(base: &Base, path: &Path) -> Result<Weights, TrainError> {
    let parameters = kiln_import::weights(base, &kiln_onnx::load(path)?).map_err(|source| {
        TrainError::Backbone {
            path: path.into(),
            name: base.name.clone(),
            asset: base.weights.clone(),
            source: source.into(),
        }
    })?;
    let tensor = |Parameter {
                      name,
                      shape,
                      values,
                  }| {
        (
            name,
            Tensor {
                shape,
                data: values,
            },
        )
    };
    Ok(parameters.into_iter().map(tensor).collect())
}

#[cfg(test)]
mod tests {
    use kiln_model::Recipe;

    use super::*;

    fn model() -> Model {
        let text = "layers = [{ type = \"flatten\" }, { type = \"batch_norm\" }, { type = \"dense\", units = 10 }]";
        Recipe::parse(text, "small.toml", "small", &[])
            .unwrap()
            .model()
            .clone()
    }

    #[test]
    fn weights_fit_the_model_and_follow_the_seed() {
        let weights = initial_weights(&model(), 1);
        weights.check(&model()).unwrap();
        assert_eq!(weights, initial_weights(&model(), 1));
        assert_ne!(weights, initial_weights(&model(), 2));
    }

    #[test]
    fn glorot_uniform_fills_its_range() {
        // 784 inputs, 10 outputs: uniform within ±sqrt(6/794), whose standard deviation is
        // limit/sqrt(3).
        let limit = (6.0_f64 / 794.0).sqrt();
        let values = initial_weights(&model(), 3)
            .get("dense.weight")
            .unwrap()
            .data
            .clone();
        let n = values.len() as f64;
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let deviation = (values
            .iter()
            .map(|&x| (f64::from(x) - mean).powi(2))
            .sum::<f64>()
            / n)
            .sqrt();
        assert!(values.iter().all(|&x| f64::from(x).abs() <= limit));
        assert!(mean.abs() < limit / 30.0, "{mean}");
        assert!(
            (deviation - limit / 3_f64.sqrt()).abs() < limit / 50.0,
            "{deviation}"
        );
    }

    #[test]
    fn normal_distributions_have_their_deviation() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        // A standard normal distribution truncated at ±2 has the standard deviation 0.8796.
        for (furthest, expected) in [(f64::INFINITY, 0.5), (2.0, 0.5 * 0.879_63)] {
            let values = normal(&mut rng, 0.5, furthest, 100_000);
            let n = values.len() as f64;
            let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
            let variance = values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / n;
            assert!(mean.abs() < 0.01, "{mean}");
            assert!((variance.sqrt() - expected).abs() < 0.01, "{variance}");
            assert!(values.iter().all(|&x| f64::from(x).abs() <= 0.5 * furthest));
        }
    }

    #[test]
    fn normalization_starts_as_the_identity() {
        let weights = initial_weights(&model(), 0);
        for (name, value) in [
            ("weight", 1.0),
            ("bias", 0.0),
            ("running_mean", 0.0),
            ("running_var", 1.0),
        ] {
            assert_eq!(
                weights.get(&format!("batch_norm.{name}")).unwrap().data,
                vec![value; 784]
            );
        }
    }
}
