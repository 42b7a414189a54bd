//! A network's segments as layers.

use std::error::Error;

use kiln_import::parameter_values;
use kiln_model::graph::{Dims, Graph, Input, Segment};
use kiln_model::{
    Channels, LayerKind, LayerSpec, Model, Preprocessing, Resize, SegmentLayer, Shape,
};
use kiln_onnx::ModelProto;
use kiln_run::{Tensor, Weights};

/// The segments; those after which there is no image or vector are joined with the next.
pub fn joined(graph: &Graph) -> Result<Vec<Segment>, Box<dyn Error>> {
    let mut joined: Vec<Segment> = Vec::new();
    let mut open = false;
    for segment in &graph.segments {
        segment.check_trainable()?;
        match joined.last_mut().filter(|_| open) {
            Some(last) => append(last, segment),
            None => joined.push(segment.clone()),
        }
        let sample = segment.sample();
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

/// A model with a layer for each segment, and the file's weights; batch normalizations are live or not.
pub fn layers(
    file: &ModelProto,
    graph: &Graph,
    segments: &[Segment],
    live_batch_norm: bool,
) -> Result<(Model, Weights), Box<dyn Error>> {
    let sample = graph.image.shape.as_ref().and_then(Dims::sample);
    let Some(&[channels, height, width]) = sample.as_deref() else {
        return Err("the images have no shape".into());
    };
    let preprocessing = Preprocessing {
        orientation: false,
        background: None,
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
            live_batch_norm,
            unfolded: Vec::new(),
        };
        specs.push(LayerSpec {
            name: Some(segment.name.clone()),
            kind: LayerKind::Segment(Box::new(layer)),
        });
    }
    Ok((Model::new(preprocessing, &specs)?, weights))
}
