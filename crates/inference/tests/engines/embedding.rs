//! What a program that embeds a model relies on.

use kiln_inference::{LoadError, Model, Prediction, RunError};

#[test]
fn models_and_results_cross_threads() {
    fn crosses<T: Send + Sync + 'static>() {}
    crosses::<Model>();
    crosses::<Prediction>();
    crosses::<LoadError>();
    crosses::<RunError>();
}
