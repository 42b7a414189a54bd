//! The graph of a file as a chain of segments.
//!
//! | step | look in |
//! | --- | --- |
//! | the input, and the shapes that a file declares | `image` |
//! | what does not depend on the image: shape arithmetic and constants | `evaluate`, `integers`, `special`, `fold`, `quantized` |
//! | integers that depend on the batch; tensors of any type | `affine`, `constant`, `tensor` |
//! | strided views | `rows`, `views` |
//! | one node of any opset as typed operators | `call`, `ops`, `reading` |
//! | a list of typed nodes | `reader`, `control`, `pads` |
//! | cut into segments | `cut`, `producers` |
//! | their names | `names`, `path` |
//! | the layers of a known network, and their weights | `layers`, `weights` |

mod affine;
mod call;
mod constant;
mod control;
mod cut;
mod evaluate;
mod fold;
mod image;
mod integers;
mod layers;
mod names;
mod ops;
mod pads;
mod path;
mod producers;
mod quantized;
mod reader;
mod reading;
mod rows;
mod special;
#[cfg(test)]
mod tests;
mod values;
mod views;
mod weights;

use std::collections::HashSet;

use kiln_model::graph::{Graph, Image};
use kiln_onnx::{ModelProto, check_structure};

use self::image::{Declared, First};
use self::producers::Producers;
use self::reader::Reader;
use crate::error::GraphError;

#[cfg(test)]
pub(crate) use layers::find;
pub use values::parameter_values;
pub use weights::{Parameter, weights};

/// Reads a network as a chain of segments, from its one input to its first output.
///
/// `image_size` is the image's height and width, for a file that leaves them open; without it such a
/// file is read without shapes. Operators that kiln does not compute become
/// [`Op::Other`](kiln_model::graph::Op::Other), with the reason; only what leaves no graph to speak
/// of is an error.
pub fn graph(model: &ModelProto, image_size: Option<[usize; 2]>) -> Result<Graph, GraphError> {
    read(model, image_size, None)
}

/// Reads a network as [`graph`] does, up to the value of this name instead of the first output.
pub fn graph_to(
    model: &ModelProto,
    image_size: Option<[usize; 2]>,
    value: &str,
) -> Result<Graph, GraphError> {
    read(model, image_size, Some(value))
}

fn read(
    model: &ModelProto,
    image_size: Option<[usize; 2]>,
    value: Option<&str>,
) -> Result<Graph, GraphError> {
    let outputs = model.graph.iter().flat_map(|graph| &graph.output);
    let first = outputs.map(|output| output.name.as_str()).next();
    let output = value.or(first).ok_or(GraphError::NoGraph)?;
    let Typed {
        image,
        reader,
        producers,
    } = typed(model, image_size, &[output])?;
    image::check_size(&image, image_size)?;
    let end = reader.value(output).ok_or_else(|| GraphError::NoPath {
        output: output.to_owned(),
        image: image.name.clone(),
    })?;
    let segments = cut::segments(&reader.finish(), end, output, &producers);
    Ok(Graph::new(image, segments))
}

/// A graph whose nodes have been read.
#[derive(Debug)]
struct Typed<'a> {
    image: Image,
    reader: Reader<'a>,
    producers: Producers<'a>,
}

/// Reads the nodes that values of these names depend on. `image_size` is the image's where the file
/// leaves it open.
fn typed<'a>(
    model: &'a ModelProto,
    image_size: Option<[usize; 2]>,
    values: &[&str],
) -> Result<Typed<'a>, GraphError> {
    let graph = model.graph.as_ref().ok_or(GraphError::NoGraph)?;
    check_structure(graph)?;
    let producers = Producers::new(graph);
    let mut seen = vec![false; graph.node.len()];
    let needed = values
        .iter()
        .flat_map(|value| producers.beyond(&mut seen, value));
    let mut needed: Vec<usize> = needed.collect();
    needed.sort_unstable();
    let fed = model.inputs();
    let nodes = needed.iter().filter_map(|&at| graph.node.get(at));
    let mut used: HashSet<&str> = nodes
        .flat_map(|node| &node.input)
        .map(String::as_str)
        .collect();
    used.extend(values);
    // Inputs that the values do not need may be there besides.
    let [info] = fed
        .iter()
        .filter(|info| fed.len() == 1 || used.contains(info.name.as_str()))
        .collect::<Vec<_>>()[..]
    else {
        let found = fed.iter().map(|info| format!("`{}`", info.name)).collect();
        return Err(GraphError::Inputs { found });
    };
    let known = |name: &str| {
        producers.of(name).is_some()
            || fed.iter().any(|info| info.name == name)
            || graph.initializer.iter().any(|tensor| tensor.name == name)
    };
    if let Some(value) = values.iter().find(|value| !known(value)) {
        return Err(GraphError::NoValue {
            value: (*value).to_owned(),
        });
    }
    let (image, batch) = image::describe(info, First::of(graph, &info.name), image_size);
    let declared = Declared::new(model, &batch);
    let name = graph.input.iter().find(|input| input.name == info.name);
    let name = name.map_or("", |input| input.name.as_str());
    let start = (name, image.shape.clone());
    let mut reader = Reader::new(graph, model.opset(), start, declared);
    for &at in &needed {
        if let Some(node) = graph.node.get(at) {
            reader.read(node)?;
        }
    }
    Ok(Typed {
        image,
        reader,
        producers,
    })
}
