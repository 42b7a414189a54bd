//! `rebuild FILE OUTPUT [HEIGHT WIDTH] [--to VALUE]`: writes a network as it was read, operator by operator in one opset and
//! with the batch open, so that its outputs can be compared with the original's.

use std::error::Error;

use kiln_import::{graph, graph_to, parameter_values};
use kiln_model::graph::{Dims, Graph, Input, Node, Op, Segment, Size, Unary};
use kiln_onnx::{Dim, GraphBuilder, ModelProto, encode, load};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let to = arguments.iter().position(|it| it == "--to");
    let to = to.map(|at| arguments.drain(at..at + 2).nth(1).expect("two were taken"));
    let [file, output, size @ ..] = arguments.as_slice() else {
        return Err("expected a file and an output".into());
    };
    let size: Vec<usize> = size.iter().map(|it| it.parse()).collect::<Result<_, _>>()?;
    let size = <[usize; 2]>::try_from(size).ok();
    let model = load(file)?;
    let read = match to {
        Some(value) => graph_to(&model, size, &value)?,
        None => graph(&model, size)?,
    };
    std::fs::write(output, encode(&rebuild(&model, &read)?))?;
    Ok(())
}

/// A model of a graph.
fn rebuild(model: &ModelProto, read: &Graph) -> Result<ModelProto, Box<dyn Error>> {
    let mut builder = GraphBuilder::new("rebuilt");
    builder.opset(24).ir_version(11);
    let shape = read.image.shape.as_ref().and_then(Dims::sample);
    builder.input(
        "image",
        Dim::batched(shape.ok_or("the image's size is open")?),
    );
    builder.output("scores", [Dim::Unknown]);
    builder
        .node("Shape", "batch", &["image"], "batch")
        .int("start", 0)
        .int("end", 1);
    let mut input = "image".to_owned();
    for (number, segment) in read.segments.iter().enumerate() {
        segment.check_typed()?;
        for (at, parameter) in segment.parameters.iter().enumerate() {
            let values = parameter_values(model, parameter)?;
            builder.initializer(&format!("p{number}_{at}"), &parameter.shape, values);
        }
        for (at, node) in segment.nodes.iter().enumerate() {
            let inputs = node.inputs.iter().map(|source| match source {
                Input::Value(0) => input.clone(),
                Input::Value(value) => format!("v{number}_{value}"),
                Input::Parameter(parameter) => format!("p{number}_{parameter}"),
            });
            write(
                &mut builder,
                node,
                inputs.collect(),
                &format!("v{number}_{}", at + 1),
            )?;
        }
        input = end(number, segment);
    }
    builder.node("Identity", "scores", &[&input], "scores");
    Ok(builder.finish()?)
}

fn end(number: usize, segment: &Segment) -> String {
    format!("v{number}_{}", segment.nodes.len())
}

/// Adds a node; what this opset has and 18 has not is written here.
fn write(
    builder: &mut GraphBuilder,
    node: &Node,
    mut inputs: Vec<String>,
    output: &str,
) -> Result<(), Box<dyn Error>> {
    match &node.op {
        Op::Expand { dims } => {
            inputs.push(expanded(builder, dims, output));
        }
        Op::GroupNormalization { .. } | Op::Unary(Unary::Gelu { tanh: true }) => {}
        op => return Ok(kiln_exporter::write(builder, op, output, inputs, output)?),
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let added = &mut builder.node(node.op.name(), output, &inputs, output);
    if let Op::GroupNormalization { groups, epsilon } = node.op {
        added
            .int("num_groups", groups as i64)
            .float("epsilon", epsilon);
    } else if let Op::Unary(_) = node.op {
        added.string("approximate", "tanh");
    }
    Ok(())
}

/// Adds the shape that a value is repeated to, whose first axis may be the batch.
fn expanded(builder: &mut GraphBuilder, dims: &[Size], output: &str) -> String {
    let rest: Vec<i64> = dims
        .iter()
        .skip(1)
        .filter_map(|size| Some(size.fixed()? as i64))
        .collect();
    assert!(
        rest.len() + 1 == dims.len(),
        "expected the batch first, found {dims:?}"
    );
    let rest_name = format!("{output}.rest");
    builder.initializer(&rest_name, &[rest.len()], rest);
    let first = match dims.first() {
        Some(Size::Batch(1)) => "batch".to_owned(),
        first => {
            let first = first
                .and_then(|size| size.fixed())
                .expect("a number or the batch");
            let name = format!("{output}.first");
            builder.initializer(&name, &[1], vec![first as i64]);
            name
        }
    };
    let shape = format!("{output}.shape");
    builder
        .node("Concat", &shape, &[&first, &rest_name], &shape)
        .int("axis", 0);
    shape
}
