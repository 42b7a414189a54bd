//! Operators of [`kiln_model::graph`] as ONNX nodes of opset 18 and later.

use kiln_model::graph::{Op, PadMode, Padded, Pool, Size, SliceAxis, Unary, Window};
use kiln_onnx::{GraphBuilder, NodeBuilder};

/// An operator that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{node}` cannot be written as ONNX: {reason}")]
pub struct OperatorError {
    /// The node's name.
    pub node: String,
    /// What stands in the way.
    pub reason: String,
}

/// Adds an operator as a node of this name, with its settings; those that ONNX takes as inputs
/// become initializers. What opset 18 lacks is written out: GELU, swish.
///
/// Operators that only training has are written as `Identity`.
pub fn write(
    graph: &mut GraphBuilder,
    op: &Op,
    node: &str,
    mut inputs: Vec<String>,
    output: &str,
) -> Result<(), OperatorError> {
    let fail = |reason: &str| {
        Err(OperatorError {
            node: node.into(),
            reason: reason.into(),
        })
    };
    let op_type = match op {
        Op::Unary(Unary::Gelu { tanh: false }) => {
            gelu(graph, node, &inputs[0], output);
            return Ok(());
        }
        Op::Unary(Unary::Swish { alpha }) => {
            swish(graph, *alpha, node, &inputs[0], output);
            return Ok(());
        }
        Op::Unary(Unary::Gelu { tanh: true }) => return fail("GELU by tanh needs opset 20"),
        Op::GroupNormalization { .. } => return fail("GroupNormalization needs opset 21"),
        Op::Expand { .. } => return fail("the size of the batch is not known"),
        Op::Other(other) => return fail(&other.reason),
        Op::Dropout { .. } | Op::StochasticDepth { .. } => "Identity",
        Op::Conv(_)
        | Op::BatchNormalization { .. }
        | Op::LayerNormalization { .. }
        | Op::InstanceNormalization { .. }
        | Op::Lrn(_)
        | Op::Gemm(_)
        | Op::MatMul
        | Op::Binary(_)
        | Op::Unary(_)
        | Op::MaxPool(_)
        | Op::AveragePool(_)
        | Op::GlobalAveragePool
        | Op::GlobalMaxPool
        | Op::Reduce { .. }
        | Op::Softmax { .. }
        | Op::LogSoftmax { .. }
        | Op::Concat { .. }
        | Op::Slice(_)
        | Op::Gather { .. }
        | Op::Transpose { .. }
        | Op::Reshape { .. }
        | Op::Flatten { .. }
        | Op::Squeeze { .. }
        | Op::Unsqueeze { .. }
        | Op::Pad(_) => op.name(),
    };
    add_constants(graph, op, node, &mut inputs);
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    settings(&mut graph.node(op_type, node, &inputs, output), op);
    Ok(())
}

/// `x/2 · (1 + erf(x / √2))`; `Gelu` is of opset 20.
fn gelu(graph: &mut GraphBuilder, node: &str, input: &str, output: &str) {
    let part = |name: &str| format!("{node}.{name}");
    for (name, value) in [
        ("root", std::f32::consts::SQRT_2),
        ("one", 1.0),
        ("half", 0.5),
    ] {
        graph.initializer(&part(name), &[], vec![value]);
    }
    let mut add = |op_type: &str, name: &str, inputs: &[&str], output: &str| {
        graph.node(op_type, &part(name), inputs, &part(output));
    };
    add("Div", "div", &[input, &part("root")], "scaled");
    add("Erf", "erf", &[&part("scaled")], "erf");
    add("Add", "add", &[&part("erf"), &part("one")], "sum");
    add("Mul", "mul", &[input, &part("half")], "halved");
    graph.node("Mul", node, &[&part("halved"), &part("sum")], output);
}

/// `x · sigmoid(alpha · x)`; `Swish` is of opset 24.
fn swish(graph: &mut GraphBuilder, alpha: f32, node: &str, input: &str, output: &str) {
    let part = |name: &str| format!("{node}.{name}");
    let mut inner = input.to_owned();
    if alpha.to_bits() != 1.0_f32.to_bits() {
        inner = part("scaled");
        graph.initializer(&part("alpha"), &[], vec![alpha]);
        graph.node("Mul", &part("scale"), &[input, &part("alpha")], &inner);
    }
    graph.node("Sigmoid", &part("sigmoid"), &[&inner], &part("sigmoid"));
    graph.node("Mul", node, &[input, &part("sigmoid")], output);
}

/// Adds the settings that ONNX takes as inputs.
fn add_constants(graph: &mut GraphBuilder, op: &Op, node: &str, inputs: &mut Vec<String>) {
    let mut list = |what: &str, values: Vec<i64>| {
        let name = format!("{node}.{what}");
        graph.initializer(&name, &[values.len()], values);
        inputs.push(name);
    };
    match op {
        Op::Reduce { axes, .. } | Op::Squeeze { axes } | Op::Unsqueeze { axes } => {
            list("axes", signed(axes));
        }
        Op::Reshape { dims } => list("shape", shape(dims)),
        Op::Slice(parts) => {
            let each = |size: fn(&SliceAxis) -> usize| {
                parts.iter().map(|part| size(part) as i64).collect()
            };
            list("starts", each(|part| part.start));
            list("ends", each(|part| part.start + part.step * part.length));
            list("axes", each(|part| part.axis));
            list("steps", each(|part| part.step));
        }
        Op::Pad(Padded { pads, mode }) => {
            let befores = pads.iter().map(|pads| pads[0] as i64);
            let afters = pads.iter().map(|pads| pads[1] as i64);
            list("pads", befores.chain(afters).collect());
            if let PadMode::Constant(value) = *mode {
                let name = format!("{node}.value");
                graph.initializer(&name, &[], vec![value]);
                inputs.push(name);
            }
        }
        Op::Gather { indices, dims, .. } => {
            let name = format!("{node}.indices");
            graph.initializer(&name, dims, signed(indices));
            inputs.push(name);
        }
        Op::Unary(Unary::Clip { min, max }) => {
            for (what, limit) in [("min", min), ("max", max)] {
                let name = limit.map(|limit| {
                    let name = format!("{node}.{what}");
                    graph.initializer(&name, &[], vec![limit]);
                    name
                });
                // An optional input that is left out has no name.
                inputs.push(name.unwrap_or_default());
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
        | Op::Unary(_)
        | Op::MaxPool(_)
        | Op::AveragePool(_)
        | Op::GlobalAveragePool
        | Op::GlobalMaxPool
        | Op::Softmax { .. }
        | Op::LogSoftmax { .. }
        | Op::Concat { .. }
        | Op::Transpose { .. }
        | Op::Flatten { .. }
        | Op::Expand { .. }
        | Op::Dropout { .. }
        | Op::StochasticDepth { .. }
        | Op::Other(_) => {}
    }
}

/// A shape for `Reshape`: 0 is the batch as it is, -1 the one axis that depends on it otherwise.
fn shape(dims: &[Size]) -> Vec<i64> {
    let size = |(axis, size): (usize, &Size)| match *size {
        Size::Fixed(size) => size as i64,
        Size::Batch(1) if axis == 0 => 0,
        Size::Batch(_) => -1,
    };
    dims.iter().enumerate().map(size).collect()
}

fn signed(sizes: &[usize]) -> Vec<i64> {
    sizes.iter().map(|&size| size as i64).collect()
}

/// Sets the attributes; those with ONNX's default are left out where a reader would not look for
/// them.
fn settings(node: &mut NodeBuilder<'_>, op: &Op) {
    match op {
        Op::Conv(conv) => {
            node.ints("dilations", signed(&conv.window.dilations))
                .int("group", conv.groups as i64)
                .ints("kernel_shape", signed(&conv.window.kernel))
                .ints("pads", pads(&conv.window))
                .ints("strides", signed(&conv.window.strides));
        }
        Op::MaxPool(pool) => pooling(node, pool),
        Op::AveragePool(pool) => {
            pooling(node, pool);
            if pool.count_include_pad {
                node.int("count_include_pad", 1);
            }
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
                .float("bias", lrn.bias)
                .int("size", lrn.size as i64);
        }
        Op::Gemm(gemm) => {
            for (name, factor) in [("alpha", gemm.alpha), ("beta", gemm.beta)] {
                if factor.to_bits() != 1.0_f32.to_bits() {
                    node.float(name, factor);
                }
            }
            for (name, flag) in [("transA", gemm.trans_a), ("transB", gemm.trans_b)] {
                if flag {
                    node.int(name, 1);
                }
            }
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
            node.ints("perm", signed(perm));
        }
        Op::Pad(padded) => {
            node.string(
                "mode",
                match padded.mode {
                    PadMode::Constant(_) => "constant",
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
        | Op::Dropout { .. }
        | Op::StochasticDepth { .. }
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
    let Window {
        kernel,
        strides,
        dilations,
        ..
    } = pool.window;
    node.ints("kernel_shape", signed(&kernel))
        .ints("strides", signed(&strides));
    if pads(&pool.window) != [0; 4] {
        node.ints("pads", pads(&pool.window));
    }
    if dilations != [1, 1] {
        node.ints("dilations", signed(&dilations));
    }
    if pool.ceil_mode {
        node.int("ceil_mode", 1);
    }
}

/// Pads in ONNX's order.
fn pads(window: &Window) -> [i64; 4] {
    let [[top, bottom], [left, right]] = window.pads;
    [top, left, bottom, right].map(|pad| pad as i64)
}
