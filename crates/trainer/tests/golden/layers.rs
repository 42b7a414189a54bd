//! The same weights give the same output as in Keras: padding, epsilon, the order of flattening,
//! the edges of pooling.
//!
//! `layers.json` is made by `make_golden.py`.

use std::collections::BTreeMap;

use kiln_model::Recipe;
use kiln_run::{Tensor, Weights};
use kiln_trainer::{Device, Predictor, initial_weights};
use serde::Deserialize;

use crate::Values;

#[derive(Deserialize)]
struct Case {
    /// As in a recipe; the last one's output is compared, the others' weights are the last one's.
    layers: String,
    /// `[2, 3, 11, 9]`.
    input: Vec<f32>,
    /// By parameter.
    weights: BTreeMap<String, Values>,
    output: Vec<f32>,
}

#[test]
fn layers_give_what_keras_gives() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("layers.json")).unwrap();
    assert!(cases.len() >= 26);
    for case in cases {
        let layers = &case.layers;
        // What follows only makes it a classifier.
        let text = format!(
            "layers = [{layers}, {{ type = \"flatten\" }}, {{ type = \"dense\", name = \"end\", units = 10 }}]\n\
             input = {{ height = 11, width = 9, channels = \"rgb\" }}"
        );
        let recipe = Recipe::parse(&text, "golden.toml", "golden", &[])
            .unwrap_or_else(|error| panic!("{error}"));
        let model = recipe.model();
        let last = model.layers().len() - 3;
        let mut weights: Weights = initial_weights(model, 0);
        for (parameter, Values { shape, data }) in case.weights {
            weights.insert(
                format!("{}.{parameter}", model.layers()[last].name),
                Tensor { shape, data },
            );
        }
        weights
            .check(model)
            .unwrap_or_else(|error| panic!("{layers}: {error}"));
        let outputs = Predictor::new(model, &weights, &Device::cpu())
            .unwrap()
            .layer_outputs(&case.input)
            .unwrap();
        let found = &outputs[last].data;
        assert_eq!(found.len(), case.output.len(), "{layers}");
        let largest = case
            .output
            .iter()
            .fold(0.0_f32, |most, x| most.max(x.abs()));
        for (at, (found, expected)) in found.iter().zip(&case.output).enumerate() {
            assert!(
                (found - expected).abs() <= 1e-5 * largest,
                "{layers} [{at}]: {found}, Keras {expected}"
            );
        }
    }
}
