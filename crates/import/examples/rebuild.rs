//! `rebuild FILE OUTPUT [HEIGHT WIDTH] [--to VALUE]`: writes a network as it was read, operator by operator in one opset and
//! with the batch open, so that its outputs can be compared with the original's.

use std::error::Error;

use kiln_import::{graph, graph_to, parameter_values};
use kiln_model::graph::{
    Dims, Graph, Input, Node, Op, PadMode, Pool, Segment, Size, Unary, Window,
};
use kiln_onnx::{Dim, GraphBuilder, ModelProto, NodeBuilder, encode, load};

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
            );
        }
        input = end(number, segment);
    }
    builder.node("Identity", "scores", &[&input], "scores");
    Ok(builder.finish()?)
}

fn end(number: usize, segment: &Segment) -> String {
    format!("v{number}_{}", segment.nodes.len())
}

/// Adds a node; settings that are inputs become initializers.
fn write(builder: &mut GraphBuilder, node: &Node, mut inputs: Vec<String>, output: &str) {
    let mut list = |inputs: &mut Vec<String>, what: &str, values: Vec<i64>| {
        let name = format!("{output}.{what}");
        builder.initializer(&name, &[values.len()], values);
        inputs.push(name);
    };
    let ints = |sizes: &[usize]| sizes.iter().map(|&size| size as i64).collect::<Vec<_>>();
    match &node.op {
        Op::Reduce { axes, .. } | Op::Squeeze { axes } | Op::Unsqueeze { axes } => {
            list(&mut inputs, "axes", ints(axes));
        }
        // Only one axis of a shape depends on the batch.
        Op::Reshape { dims } => {
            let sizes = dims
                .iter()
                .map(|size| size.fixed().map_or(-1, |size| size as i64));
            list(&mut inputs, "shape", sizes.collect());
        }
        Op::Slice(parts) => {
            list(
                &mut inputs,
                "starts",
                parts.iter().map(|part| part.start as i64).collect(),
            );
            let end = |part: &kiln_model::graph::SliceAxis| part.start + part.step * part.length;
            list(
                &mut inputs,
                "ends",
                parts.iter().map(|part| end(part) as i64).collect(),
            );
            list(
                &mut inputs,
                "axes",
                parts.iter().map(|part| part.axis as i64).collect(),
            );
            list(
                &mut inputs,
                "steps",
                parts.iter().map(|part| part.step as i64).collect(),
            );
        }
        Op::Pad(padded) => {
            let befores = padded.pads.iter().map(|pads| pads[0] as i64);
            let afters = padded.pads.iter().map(|pads| pads[1] as i64);
            list(&mut inputs, "pads", befores.chain(afters).collect());
        }
        Op::Expand { dims } => {
            let rest: Vec<i64> = dims
                .iter()
                .skip(1)
                .filter_map(|size| Some(size.fixed()? as i64))
                .collect();
            assert!(
                rest.len() + 1 == dims.len(),
                "expected the batch first, found {dims:?}"
            );
            list(&mut inputs, "rest", rest);
            let rest = inputs.pop().expect("just pushed");
            let shape = format!("{output}.shape");
            match dims.first() {
                Some(Size::Batch(1)) => {
                    builder
                        .node("Concat", &shape, &["batch", &rest], &shape)
                        .int("axis", 0);
                }
                first => {
                    let first = first
                        .and_then(|size| size.fixed())
                        .expect("a number or the batch");
                    let name = format!("{output}.first");
                    builder.initializer(&name, &[1], vec![first as i64]);
                    builder
                        .node("Concat", &shape, &[&name, &rest], &shape)
                        .int("axis", 0);
                }
            }
            inputs.push(shape);
        }
        Op::Gather { indices, dims, .. } => {
            let name = format!("{output}.indices");
            builder.initializer(&name, dims, ints(indices));
            inputs.push(name);
        }
        Op::Unary(unary) => {
            let Unary::Clip { min, max } = unary else {
                return finish(builder, node, &inputs, output);
            };
            for (what, limit, default) in [("min", min, f32::MIN), ("max", max, f32::MAX)] {
                let name = format!("{output}.{what}");
                builder.initializer(&name, &[], vec![limit.unwrap_or(default)]);
                inputs.push(name);
            }
        }
        Op::Conv(_)
        | Op::BatchNormalization { .. }
        | Op::LayerNormalization { .. }
        | Op::GroupNormalization { .. }
        | Op::InstanceNormalization { .. }
        | Op::Lrn(_)
        | Op::Gemm(_)
        | Op::MatMul
        | Op::Binary(_)
        | Op::MaxPool(_)
        | Op::AveragePool(_)
        | Op::GlobalAveragePool
        | Op::GlobalMaxPool
        | Op::Softmax { .. }
        | Op::LogSoftmax { .. }
        | Op::Concat { .. }
        | Op::Transpose { .. }
        | Op::Flatten { .. }
        | Op::Other(_) => {}
    }
    finish(builder, node, &inputs, output);
}

fn finish(builder: &mut GraphBuilder, node: &Node, inputs: &[String], output: &str) {
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    settings(
        &mut builder.node(node.op.name(), output, &inputs, output),
        &node.op,
    );
}

/// Sets the attributes.
fn settings(node: &mut NodeBuilder<'_>, op: &Op) {
    let ints = |sizes: &[usize]| sizes.iter().map(|&size| size as i64).collect::<Vec<_>>();
    match op {
        Op::Conv(conv) => {
            window(node, &conv.window);
            node.int("group", conv.groups as i64);
        }
        Op::MaxPool(pool) => pooling(node, pool),
        Op::AveragePool(pool) => {
            pooling(node, pool);
            node.int("count_include_pad", pool.count_include_pad.into());
        }
        Op::BatchNormalization { epsilon, .. } | Op::InstanceNormalization { epsilon } => {
            node.float("epsilon", *epsilon);
        }
        Op::LayerNormalization { axis, epsilon } => {
            node.int("axis", *axis as i64).float("epsilon", *epsilon);
        }
        Op::GroupNormalization { groups, epsilon } => {
            node.int("num_groups", *groups as i64)
                .float("epsilon", *epsilon);
        }
        Op::Lrn(lrn) => {
            node.float("alpha", lrn.alpha)
                .float("beta", lrn.beta)
                .float("bias", lrn.bias);
            node.int("size", lrn.size as i64);
        }
        Op::Gemm(gemm) => {
            node.float("alpha", gemm.alpha).float("beta", gemm.beta);
            node.int("transA", gemm.trans_a.into())
                .int("transB", gemm.trans_b.into());
        }
        Op::Reduce { keep_dims, .. } => {
            node.int("keepdims", (*keep_dims).into());
        }
        Op::Softmax { axis }
        | Op::LogSoftmax { axis }
        | Op::Concat { axis }
        | Op::Gather { axis, .. }
        | Op::Flatten { axis } => {
            node.int("axis", *axis as i64);
        }
        Op::Transpose { perm } => {
            node.ints("perm", ints(perm));
        }
        Op::Pad(padded) => {
            node.string(
                "mode",
                match padded.mode {
                    PadMode::Constant(value) => {
                        assert!(value.abs() <= 0.0, "expected zeros, found {value}");
                        "constant"
                    }
                    PadMode::Reflect => "reflect",
                    PadMode::Edge => "edge",
                },
            );
        }
        Op::Unary(unary) => formula(node, unary),
        Op::MatMul
        | Op::Binary(_)
        | Op::GlobalAveragePool
        | Op::GlobalMaxPool
        | Op::Slice(_)
        | Op::Reshape { .. }
        | Op::Squeeze { .. }
        | Op::Unsqueeze { .. }
        | Op::Expand { .. }
        | Op::Other(_) => {}
    }
}

fn formula(node: &mut NodeBuilder<'_>, unary: &Unary) {
    match unary {
        Unary::Elu { alpha } | Unary::LeakyRelu { alpha } | Unary::Swish { alpha } => {
            node.float("alpha", *alpha);
        }
        Unary::HardSigmoid { alpha, beta } => {
            node.float("alpha", *alpha).float("beta", *beta);
        }
        Unary::Selu { alpha, gamma } => {
            node.float("alpha", *alpha).float("gamma", *gamma);
        }
        Unary::Gelu { tanh } => {
            node.string("approximate", if *tanh { "tanh" } else { "none" });
        }
        Unary::Abs
        | Unary::Ceil
        | Unary::Clip { .. }
        | Unary::Cos
        | Unary::Erf
        | Unary::Exp
        | Unary::Floor
        | Unary::HardSwish
        | Unary::Log
        | Unary::Mish
        | Unary::Neg
        | Unary::Reciprocal
        | Unary::Relu
        | Unary::Round
        | Unary::Sigmoid
        | Unary::Sign
        | Unary::Sin
        | Unary::Softplus
        | Unary::Softsign
        | Unary::Sqrt
        | Unary::Tanh => {}
    }
}

fn pooling(node: &mut NodeBuilder<'_>, pool: &Pool) {
    window(node, &pool.window);
    node.ints("kernel_shape", pool.window.kernel.map(|size| size as i64));
    node.int("ceil_mode", pool.ceil_mode.into());
}

fn window(node: &mut NodeBuilder<'_>, window: &Window) {
    let [[top, bottom], [left, right]] = window.pads;
    node.ints("strides", window.strides.map(|size| size as i64));
    node.ints("dilations", window.dilations.map(|size| size as i64));
    node.ints("pads", [top, left, bottom, right].map(|pad| pad as i64));
}
