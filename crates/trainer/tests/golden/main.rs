//! What Keras computes, from the same weights.

mod layers;
mod logistic;
mod optimizers;

use serde::Deserialize;

#[derive(Deserialize)]
struct Values {
    shape: Vec<usize>,
    data: Vec<f32>,
}
