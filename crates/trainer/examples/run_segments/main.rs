//! `run_segments FILE FOLDER [HEIGHT WIDTH]`: runs a network as a chain of layers that could be trained, each a segment of its
//! graph. Reads images from `FOLDER/images.f32`; writes what each layer gives by Burn's own operations to `FOLDER/0.f32` and so
//! on, and what all of them give with kiln's kernels to `FOLDER/scores.f32`. Prints for each layer its name, the file's name of
//! the value at its end, what it is, and how kiln's kernels run it.
//!
//! `run_segments --train FILE STEPS kernels|stock`: trains all layers on random images, with live batch normalization, and prints
//! the milliseconds of each step.

mod layers;
mod train;

use std::error::Error;
use std::path::Path;

use kiln_import::graph;
use kiln_onnx::load;
use kiln_trainer::{Device, Plan, Predictor};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [command, file, steps, kernels] = arguments.as_slice()
        && command == "--train"
    {
        return train::train(file, steps.parse()?, kernels);
    }
    let [file, folder, size @ ..] = arguments.as_slice() else {
        return Err("expected a file and a folder".into());
    };
    let size: Vec<usize> = size.iter().map(|it| it.parse()).collect::<Result<_, _>>()?;
    let file = load(file)?;
    let graph = graph(&file, <[usize; 2]>::try_from(size).ok())?;
    let segments = layers::joined(&graph)?;
    let (model, weights) = layers::layers(&file, &graph, &segments, false)?;
    let predictor = Predictor::new(&model, &weights, &Device::cpu())?;
    let folder = Path::new(folder);
    let images = floats(&std::fs::read(folder.join("images.f32"))?);
    let outputs = predictor.layer_outputs(&images)?;
    let plan = Plan::fused(model.layers()).to_string();
    let how = |layer: &str| {
        let mut lines = plan.lines();
        let line = lines.find(|line| line.split(' ').any(|name| name == layer));
        line.and_then(|line| line.split(' ').next())
            .unwrap_or("unknown")
    };
    for (at, (output, segment)) in outputs.iter().zip(&segments).enumerate() {
        std::fs::write(folder.join(format!("{at}.f32")), bytes(&output.data))?;
        let how = how(&output.name);
        println!(
            "{}\t{}\t{}\t{how}",
            output.name,
            segment.output,
            segment.kind()
        );
    }
    std::fs::write(
        folder.join("scores.f32"),
        bytes(&predictor.logits(&images)?),
    )?;
    Ok(())
}

fn bytes(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (numbers, _) = bytes.as_chunks();
    numbers.iter().copied().map(f32::from_le_bytes).collect()
}
