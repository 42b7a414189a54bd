//! A base as an ONNX graph, which is what burn-onnx takes.

use kiln_model::{Activation, Base, Conv2d, LayerKind, Padding};
use kiln_onnx::{BuildError, Dim, GraphBuilder, ModelProto};

/// The graph of a base: NCHW images of any size to features.
///
/// The weights are zeros, as initializers: burn-onnx makes modules only of nodes whose weights are
/// in the graph.
pub fn graph(base: &Base) -> Result<ModelProto, BuildError> {
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
        match &layer.kind {
            LayerKind::Conv2d(layer) => {
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
            }
            LayerKind::BatchNorm(norm) => {
                let parameters = ["weight", "bias", "running_mean", "running_var"]
                    .map(|part| format!("{name}.{part}"));
                for parameter in &parameters {
                    graph.initializer(parameter, &[channels], vec![0.0_f32; channels]);
                }
                let [weight, bias, mean, variance] = &parameters;
                let node = &mut graph.node(
                    "BatchNormalization",
                    name,
                    &[&value, weight, bias, mean, variance],
                    &output,
                );
                node.float("epsilon", norm.epsilon as f32);
            }
            LayerKind::MaxPool(pool) => {
                let node = &mut graph.node("MaxPool", name, &[&value], &output);
                node.ints("kernel_shape", signed(pool.pool_size))
                    .ints("strides", signed(pool.strides));
            }
            LayerKind::Relu {} => {
                graph.node("Relu", name, &[&value], &output);
            }
            other => unreachable!("`kiln_import` makes no {} of a graph", other.type_name()),
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
    graph.finish()
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
    let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
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
    if padding == Padding::Same {
        node.string("auto_pad", "SAME_UPPER");
    }
}

fn signed(sizes: [usize; 2]) -> [i64; 2] {
    sizes.map(|size| size as i64)
}
