//! Small models on every engine, against a naive computation.

mod agreement;
mod classify;
mod embedding;
mod hammer;
mod hostile;
mod layout;
mod model;
mod naive;
mod refusals;
mod stream;
mod verify;

use kiln_inference::{EngineChoice, Options, probe_ort};

/// The engines to test: ONNX Runtime only where its library is installed.
fn engines() -> Vec<EngineChoice> {
    let mut engines = Vec::new();
    if cfg!(feature = "tract") {
        engines.push(EngineChoice::Tract);
    }
    match probe_ort(&Options::default()) {
        Ok(_) => engines.push(EngineChoice::Ort),
        Err(error) => eprintln!("note: ONNX Runtime is not tested: {error}"),
    }
    engines
}
