//! Evaluates a model on images that a program makes or reads itself: `evaluate MODEL.onnx FOLDER`,
//! with `FOLDER/<class>/*`, or any other iterator of images with their labels.

use std::path::Path;

use kiln_pipeline::engines::{EngineRequest, load, open};
use kiln_pipeline::evaluate::{EvaluateOptions, evaluate};
use kiln_pipeline::inputs::Inputs;
use kiln_pipeline::{CachedAssets, Context, Error};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(model), Some(folder)) = (args.next(), args.next()) else {
        return Err("usage: evaluate MODEL.onnx FOLDER".into());
    };
    let assets = CachedAssets::from_env()?;
    let context = Context::new(&assets, &());
    let model = load(
        &open(Path::new(&model))?,
        &EngineRequest::default(),
        &context,
    )?;

    // Encoded images, each with the number of its class, in any order and from anywhere.
    let mut images = Vec::new();
    for (label, class) in model.labels().iter().enumerate() {
        for file in std::fs::read_dir(Path::new(&folder).join(class))? {
            images.push((std::fs::read(file?.path())?, Some(label as u32)));
        }
    }
    let inputs = Inputs::from_images("my images", images);
    let options = EvaluateOptions::default();
    let evaluated = evaluate(&model, inputs, &options, &context, |_, _| {
        Ok::<(), Error>(())
    })?
    .ok_or("the evaluation was cancelled")?;
    println!(
        "accuracy {:.4} on {}",
        evaluated.evaluation.accuracy,
        evaluated.runtime.line()
    );
    Ok(())
}
