//! A base as an ONNX graph, the input of burn-onnx.

use std::error::Error;

use kiln_model::{Activation, Base, Conv2d, LayerKind, MaxPool, Padding, ParamRole};
use kiln_onnx::{Dim, GraphBuilder, ModelProto};

/// The graph of a base of convolutions, with `same` padding, biases and `relu`, and max poolings:
/// NCHW images of any size to features.
///
/// The weights are zeros, as initializers: burn-onnx makes modules only of nodes whose weights are
/// in the graph.
pub fn graph(base: &Base) -> Result<ModelProto, Box<dyn Error>> {
    let image = |channels, rows: &str, columns: &str| {
        let symbol = |name: &str| Dim::Symbol(name.to_owned());
        [
            symbol(Dim::BATCH),
            Dim::Fixed(channels),
            symbol(rows),
            symbol(columns),
        ]
    };
    let mut graph = GraphBuilder::new(&base.name);
    graph.input("input", image(base.channels, "height", "width"));
    let (mut value, mut channels) = ("input".to_owned(), base.channels);
    for layer in &base.layers {
        let name = layer.name.as_deref().unwrap_or_default();
        let output = format!("{name}.out");
        if let LayerKind::Conv2d(Conv2d {
            filters,
            kernel_size: [rows, columns],
            strides,
            padding: Padding::Same,
            use_bias: true,
            activation: Some(Activation::Relu),
            ..
        }) = layer.kind
        {
            let [weight, bias] = [ParamRole::Weight, ParamRole::Bias].map(|role| role.of(name));
            let shape = [filters, channels, rows, columns];
            graph.initializer(&weight, &shape, vec![0.0_f32; shape.iter().product()]);
            graph.initializer(&bias, &[filters], vec![0.0_f32; filters]);
            let sum = format!("{name}.sum");
            graph
                .node("Conv", name, &[&value, &weight, &bias], &sum)
                .ints("strides", signed(strides))
                .string("auto_pad", "SAME_UPPER");
            graph.node("Relu", &format!("{name}.relu"), &[&sum], &output);
            channels = filters;
        } else if let LayerKind::MaxPool(MaxPool(pool)) = &layer.kind {
            graph
                .node("MaxPool", name, &[&value], &output)
                .ints("kernel_shape", signed(pool.pool_size))
                .ints("strides", signed(pool.strides));
        } else {
            let kind = &layer.kind;
            return Err(format!("layer `{name}`: a backbone cannot have a `{kind}`").into());
        }
        value = output;
    }
    graph.output(&value, image(channels, "rows", "columns"));
    Ok(graph.finish()?)
}

fn signed(sizes: [usize; 2]) -> [i64; 2] {
    sizes.map(|size| size as i64)
}
