//! Classifies the images named on the command line: `cargo run --example classify -- model.onnx
//! image.png...`
//!
//! This is all that it takes to embed a model.

use kiln_inference::{Model, open_image};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = Model::open(
        arguments
            .next()
            .ok_or("expected a model and images: name them")?,
    )?;
    for path in arguments {
        let prediction = model.classify(&open_image(&path)?)?;
        println!(
            "{path}: {} ({:.1} %)",
            prediction.label,
            prediction.probability * 100.0
        );
    }
    Ok(())
}
