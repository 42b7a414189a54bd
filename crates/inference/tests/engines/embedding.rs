//! What a program that embeds a model relies on.

use kiln_inference::{LoadError, Model, Options, Prediction, RunError, Verification, VerifyError};

use crate::engines;

#[test]
fn models_and_results_cross_threads() {
    fn crosses<T: Send + Sync + 'static>() {}
    crosses::<Model>();
    crosses::<Prediction>();
    crosses::<LoadError>();
    crosses::<RunError>();
    crosses::<Verification>();
    crosses::<VerifyError>();
}

/// The model that the example compiles in was trained, exported and given its golden vectors by kiln.
#[test]
fn the_model_of_the_examples_verifies_on_every_engine() {
    for engine in engines() {
        let file = include_bytes!("../../examples/digits.onnx");
        let model = Model::from_bytes(file, &Options { engine, ..Options::default() }).unwrap();
        let verification = model.verify().unwrap();
        assert!(verification.passed() && verification.replays.len() == 10, "{engine}: {verification}");
    }
}
