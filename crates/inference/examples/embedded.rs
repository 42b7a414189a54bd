//! A model inside the program: `cargo run --release --example embedded -- digit.png...`
//!
//! Nothing has to be found, installed or kept in step at run time. `digits.onnx` reads handwritten
//! digits; how it was made is in `digits.toml` beside it.

use std::sync::LazyLock;

use kiln_inference::{Model, Options, open_image};

/// Loaded when it is first used; shared by every thread from then on.
static DIGITS: LazyLock<Model> = LazyLock::new(|| {
    let bytes = include_bytes!("digits.onnx");
    Model::from_bytes(bytes, &Options::default())
        .expect("the file was tested when the program was built")
});

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The file proves that this machine computes what the training program computed.
    let verification = DIGITS.verify()?;
    if !verification.passed() {
        return Err(format!("this machine computes something else: {verification}").into());
    }
    eprintln!("{verification}");
    for path in std::env::args().skip(1) {
        let prediction = DIGITS.classify(&open_image(&path)?)?;
        println!(
            "{path}: {} ({:.1} %)",
            prediction.label,
            prediction.probability * 100.0
        );
    }
    Ok(())
}
