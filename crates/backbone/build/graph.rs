//! A base as an ONNX graph, the input of burn-onnx.

use std::error::Error;

use kiln_model::{Activation, Base, Conv2d, LayerKind, MaxPool, Padding, ParamRole};
use kiln_onnx::{Dim, GraphBuilder, ModelProto};

/// The graph of a base: NCHW images of any size to features.
///
/// The weights are zeros, as initializers: burn-onnx makes modules only of nodes whose weights are
/// in the graph.
pub fn graph(base: &Base) -> Result<ModelProto, Box<dyn Error>> {
    let symbol = |name: &str| Dim::Symbol(name.to_owned());
    let mut graph = GraphBuilder::new(&base.name);
    graph.input(
        "input",
        [
            symbol(Dim::BATCH),
            Dim::Fixed(base.channels),
            symbol("height"),
            symbol("width"),
        ],
    );
    let (mut value, mut channels) = ("input".to_owned(), base.channels);
    for layer in &base.layers {
        let name = layer.name.as_deref().unwrap_or_default();
        let output = format!("{name}.out");
        let kind = &layer.kind;
        if let LayerKind::Conv2d(layer) = kind {
            let sum = if layer.activation.is_some() {
                format!("{name}.sum")
            } else {
                output.clone()
            };
            conv(&mut graph, name, layer, channels, [&value, &sum]);
            if layer.activation == Some(Activation::Relu) {
                graph.node("Relu", &format!("{name}.relu"), &[&sum], &output);
            }
            channels = layer.filters;
        } else if let LayerKind::BatchNorm(norm) = kind {
            let parameters = [
                ParamRole::Weight,
                ParamRole::Bias,
                ParamRole::RunningMean,
                ParamRole::RunningVar,
            ]
            .map(|role| role.of(name));
            for parameter in &parameters {
                graph.initializer(parameter, &[channels], vec![0.0_f32; channels]);
            }
            let [weight, bias, mean, variance] = &parameters;
            let inputs = [&value, weight, bias, mean, variance].map(String::as_str);
            graph
                .node("BatchNormalization", name, &inputs, &output)
                .float("epsilon", norm.epsilon as f32);
        } else if let LayerKind::MaxPool(MaxPool(pool)) = kind {
            graph
                .node("MaxPool", name, &[&value], &output)
                .ints("kernel_shape", signed(pool.pool_size))
                .ints("strides", signed(pool.strides));
        } else if let LayerKind::Relu(_) = kind {
            graph.node("Relu", name, &[&value], &output);
        } else {
            let problem = format!("layer `{name}`: a backbone cannot have a `{kind}`");
            return Err(problem.into());
        }
        value = output;
    }
    graph.output(
        &value,
        [
            symbol(Dim::BATCH),
            Dim::Fixed(channels),
            symbol("rows"),
            symbol("columns"),
        ],
    );
    Ok(graph.finish()?)
}

fn conv(
    graph: &mut GraphBuilder,
    name: &str,
    layer: &Conv2d,
    channels: usize,
    [input, output]: [&str; 2],
) {
    let Conv2d {
        filters,
        kernel_size: [rows, columns],
        strides,
        padding,
        use_bias,
        ..
    } = *layer;
    let weight = ParamRole::Weight.of(name);
    let bias = ParamRole::Bias.of(name);
    graph.initializer(
        &weight,
        &[filters, channels, rows, columns],
        vec![0.0_f32; filters * channels * rows * columns],
    );
    let mut inputs = vec![input, &weight];
    if use_bias {
        graph.initializer(&bias, &[filters], vec![0.0_f32; filters]);
        inputs.push(&bias);
    }
    let node = &mut graph.node("Conv", name, &inputs, output);
    node.ints("strides", signed(strides));
    match padding {
        Padding::Valid => {}
        Padding::Same => {
            node.string("auto_pad", "SAME_UPPER");
        }
        Padding::Explicit(pads) => {
            let pads = [pads.top, pads.left, pads.bottom, pads.right];
            node.ints("pads", pads.map(|size| size as i64));
        }
    }
}

fn signed(sizes: [usize; 2]) -> [i64; 2] {
    sizes.map(|size| size as i64)
}
