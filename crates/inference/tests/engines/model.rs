//! The test model: a convolution, a rectifier, pooling, batch normalization and a dense layer.

use kiln_model::{Channels, Preprocessing};
use kiln_onnx::{Dim, GraphBuilder, Metadata, ModelProto, OutputKind, encode};

use crate::naive;

/// Height and width are odd and differ, so that a swap or a wrong border shows.
pub const SHAPE: [usize; 3] = [3, 9, 7];
pub const IMAGE: usize = SHAPE[0] * SHAPE[1] * SHAPE[2];
pub const FILTERS: usize = 4;
pub const CLASSES: usize = 5;
/// Values after pooling: 4 x 3 positions.
const FEATURES: usize = FILTERS * 4 * 3;
const EPSILON: f32 = 1e-3;

/// Numbers that look random, -1 to 1, the same on every run (a linear congruential generator).
pub fn noise(seed: u32, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn variance() -> Vec<f32> {
    noise(7, FILTERS)
        .iter()
        .map(|value| value.abs() + 0.5)
        .collect()
}

/// The model as a graph, with `batch` as first axis.
pub fn graph(batch: &Dim) -> GraphBuilder {
    let shape = |rest: &[usize]| {
        [
            vec![batch.clone()],
            rest.iter().map(|&size| Dim::Fixed(size)).collect(),
        ]
        .concat()
    };
    let mut graph = GraphBuilder::new("test");
    graph
        .input("input", shape(&SHAPE))
        .output("logits", shape(&[CLASSES]))
        .output("pool", shape(&[FILTERS, 4, 3]));
    graph.initializer(
        "conv.weight",
        &[FILTERS, SHAPE[0], 3, 3],
        noise(1, FILTERS * SHAPE[0] * 9),
    );
    graph.initializer("conv.bias", &[FILTERS], noise(2, FILTERS));
    for (seed, name) in [(4, "scale"), (5, "bias"), (6, "mean")] {
        graph.initializer(&format!("bn.{name}"), &[FILTERS], noise(seed, FILTERS));
    }
    graph.initializer("bn.variance", &[FILTERS], variance());
    graph.initializer(
        "dense.weight",
        &[CLASSES, FEATURES],
        noise(8, CLASSES * FEATURES),
    );
    graph.initializer("dense.bias", &[CLASSES], noise(9, CLASSES));
    graph
        .node(
            "Conv",
            "conv",
            &["input", "conv.weight", "conv.bias"],
            "conv",
        )
        .ints("kernel_shape", [3, 3])
        .ints("pads", [1, 1, 1, 1]);
    graph.node("Relu", "relu", &["conv"], "relu");
    graph
        .node("MaxPool", "pool", &["relu"], "pool")
        .ints("kernel_shape", [2, 2])
        .ints("strides", [2, 2]);
    let inputs = ["pool", "bn.scale", "bn.bias", "bn.mean", "bn.variance"];
    graph
        .node("BatchNormalization", "bn", &inputs, "bn")
        .float("epsilon", EPSILON);
    graph
        .node("Flatten", "flatten", &["bn"], "flatten")
        .int("axis", 1);
    graph
        .node(
            "Gemm",
            "dense",
            &["flatten", "dense.weight", "dense.bias"],
            "logits",
        )
        .int("transB", 1);
    graph
}

pub fn metadata() -> Metadata {
    Metadata {
        preprocessing: Some(Preprocessing::unit(
            SHAPE[1] as u32,
            SHAPE[2] as u32,
            Channels::Rgb,
        )),
        labels: Some((0..CLASSES).map(|class| format!("class {class}")).collect()),
        output: Some(OutputKind::Logits),
        ..Metadata::default()
    }
}

pub fn finish(graph: GraphBuilder) -> ModelProto {
    let mut model = graph.finish().unwrap();
    model.set_metadata(&metadata());
    model
}

/// The file, with a symbolic batch.
pub fn bytes() -> Vec<u8> {
    encode(&finish(graph(&Dim::Symbol("batch".into()))))
}

/// Logits and pooled activations of one image by the naive operators.
pub fn expected(image: &[f32]) -> [Vec<f64>; 2] {
    let [channels, height, width] = SHAPE;
    let image = naive::Image {
        channels,
        height,
        width,
        data: image.iter().copied().map(f64::from).collect(),
    };
    let conv = naive::conv3x3(
        &image,
        &noise(1, FILTERS * channels * 9),
        &noise(2, FILTERS),
    );
    let pool = naive::max_pool(&naive::relu(&conv));
    let (scale, bias, mean) = (noise(4, FILTERS), noise(5, FILTERS), noise(6, FILTERS));
    let bn = naive::batch_normalization(
        &pool,
        [&scale, &bias, &mean, &variance()],
        f64::from(EPSILON),
    );
    [
        naive::gemm(&bn.data, &noise(8, CLASSES * FEATURES), &noise(9, CLASSES)),
        pool.data,
    ]
}
