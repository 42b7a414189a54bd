//! Trains on a folder of images from a program, with an observer and a stop condition of its own,
//! exports the model and classifies an image: `train FOLDER IMAGE`, with `FOLDER/<class>/*`.

use kiln_pipeline::export::{ExportRequest, export_run};
use kiln_pipeline::train::{TrainRequest, train};
use kiln_pipeline::{CachedAssets, CancelToken, Context, Event, recipe};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(folder), Some(image)) = (args.next(), args.next()) else {
        return Err("usage: train FOLDER IMAGE".into());
    };
    let cancel = CancelToken::new();
    let stop = cancel.clone();
    let observer = move |event: &Event<'_>| {
        if let Event::EpochFinished { epoch, .. } = event {
            println!(
                "epoch {}: validation accuracy {:.4}",
                epoch.epoch, epoch.val_accuracy
            );
            if epoch.val_accuracy >= 0.99 {
                stop.cancel();
            }
        }
    };
    let assets = CachedAssets::from_env()?;
    let mut context = Context::new(&assets, &observer);
    context.cancel = cancel;
    let overrides = [format!("data.folder={folder}")];
    let recipe = recipe::parse("example", RECIPE, &overrides, &context)?;
    let outcome = train(recipe, &TrainRequest::default(), &context)?;

    let file = export_run(&outcome.run, &ExportRequest::default(), &context)?;
    let prediction =
        kiln_inference::Model::open(&file)?.classify(&kiln_inference::open_image(&image)?)?;
    println!(
        "{}: {} ({:.1} %)",
        file.display(),
        prediction.label,
        prediction.probability * 100.0
    );
    Ok(())
}

/// Images of 28 by 28 in gray; ten classes.
const RECIPE: &str = r#"
layers = [
    { type = "conv2d", filters = 16, kernel_size = 3, activation = "relu" },
    { type = "max_pool", pool_size = 2 },
    { type = "flatten" },
    { type = "dense", units = 10 },
]
[data]
folder = "images"
[training]
epochs = 20
batch_size = 32
"#;
