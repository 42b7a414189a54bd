//! `run_segments FILE FOLDER [HEIGHT WIDTH]`: runs a network as a chain of layers that could be trained, each a segment of its
//! graph. Reads images from `FOLDER/images.f32`; writes what each layer gives by Burn's own operations to `FOLDER/0.f32` and so
//! on, and what all of them give with kiln's kernels to `FOLDER/scores.f32`. Prints for each layer its name, the file's name of
//! the value at its end, what it is, and how kiln's kernels run it.

use std::error::Error;
use std::path::Path;

use kiln_import::{graph, parameter_values};
use kiln_model::graph::{Dims, Graph, Input, Segment};
use kiln_model::{
    Channels, LayerKind, LayerSpec, Model, Preprocessing, Resize, SegmentLayer, Shape,
};
use kiln_onnx::{ModelProto, load};
use kiln_run::{Tensor, Weights};
use kiln_trainer::{Device, Plan, Predictor};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, folder, size @ ..] = arguments.as_slice() else {
        return Err("expected a file and a folder".into());
    };
    let size: Vec<usize> = size.iter().map(|it| it.parse()).collect::<Result<_, _>>()?;
    let file = load(file)?;
    let graph = graph(&file, <[usize; 2]>::try_from(size).ok())?;
    let segments = joined(&graph)?;
    let (model, weights) = layers(&file, &graph, &segments)?;
    let predictor = Predictor::new(&model, &weights, &Device::cpu())?;
    let folder = Path::new(folder);
    let images = floats(&std::fs::read(folder.join("images.f32"))?);
    let outputs = predictor.layer_outputs(&images)?;
    let plan = Plan::fused(model.layers()).to_string();
    for (at, (output, segment)) in outputs.iter().zip(&segments).enumerate() {
        std::fs::write(folder.join(format!("{at}.f32")), bytes(&output.data))?;
        let how = plan.lines().nth(at).and_then(|line| line.split(' ').next());
        let how = how.unwrap_or("unknown");
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

/// The segments; those after which there is no image or vector are joined with the next.
fn joined(graph: &Graph) -> Result<Vec<Segment>, Box<dyn Error>> {
    let mut joined: Vec<Segment> = Vec::new();
    let mut open = false;
    for segment in &graph.segments {
        segment.check_trainable()?;
        match joined.last_mut().filter(|_| open) {
            Some(last) => append(last, segment),
            None => joined.push(segment.clone()),
        }
        let sample = segment.shape().and_then(Dims::sample);
        open = sample.and_then(|dims| Shape::from_dims(&dims)).is_none();
    }
    Ok(joined)
}

/// Puts a segment at the end of another.
fn append(first: &mut Segment, second: &Segment) {
    let (nodes, parameters) = (first.nodes.len(), first.parameters.len());
    first
        .nodes
        .extend(second.nodes.iter().cloned().map(|mut node| {
            for input in &mut node.inputs {
                match input {
                    Input::Value(at) => *at += nodes,
                    Input::Parameter(at) => *at += parameters,
                }
            }
            node
        }));
    // A parameter that both take is kept once.
    let mut places = Vec::new();
    for parameter in &second.parameters {
        let found = first
            .parameters
            .iter()
            .position(|it| it.name == parameter.name);
        places.push(found.unwrap_or_else(|| {
            first.parameters.push(parameter.clone());
            first.parameters.len() - 1
        }));
    }
    for input in first
        .nodes
        .iter_mut()
        .skip(nodes)
        .flat_map(|node| &mut node.inputs)
    {
        if let Input::Parameter(at) = input {
            *at = places[*at - parameters];
        }
    }
    first.output.clone_from(&second.output);
    first.covers.extend(&second.covers);
}

/// A model with a layer for each segment, and the file's weights.
fn layers(
    file: &ModelProto,
    graph: &Graph,
    segments: &[Segment],
) -> Result<(Model, Weights), Box<dyn Error>> {
    let sample = graph.image.shape.as_ref().and_then(Dims::sample);
    let Some(&[channels, height, width]) = sample.as_deref() else {
        return Err("the images have no shape".into());
    };
    let preprocessing = Preprocessing {
        height: height.try_into()?,
        width: width.try_into()?,
        channels: if channels == 1 {
            Channels::Gray
        } else {
            Channels::Rgb
        },
        resize: Resize::default(),
        scale: 1.0,
        mean: vec![0.0; channels],
        std: vec![1.0; channels],
    };
    let mut weights = Weights::default();
    let mut specs = Vec::new();
    for segment in segments {
        for parameter in &segment.parameters {
            let tensor = Tensor {
                shape: parameter.shape.clone(),
                data: parameter_values(file, parameter)?,
            };
            weights.insert(format!("{}.{}", segment.name, parameter.name), tensor);
        }
        let layer = SegmentLayer {
            segment: segment.clone(),
            live_batch_norm: false,
        };
        specs.push(LayerSpec {
            name: Some(segment.name.clone()),
            kind: LayerKind::Segment(Box::new(layer)),
        });
    }
    Ok((Model::new(preprocessing, &specs)?, weights))
}
