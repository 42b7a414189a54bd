//! Preprocessing inside the graph: from pixels to what the first layer takes.

use kiln_model::{Channels, Preprocessing};
use kiln_onnx::{DataType, Dim, GraphBuilder};

/// Adds the input `input`, uint8 `[batch, height, width, channels]` as images are decoded (gray, or
/// red, green, blue), and the nodes that make the first layer's input of it. Returns that value's
/// name.
///
/// `(p * scale - mean) / std` becomes a product and a sum per channel, computed in f64 and rounded
/// once; one that would change nothing is left out.
pub fn prepare(graph: &mut GraphBuilder, record: &Preprocessing) -> &'static str {
    let [channels, height, width] = record.shape();
    graph.input_of(
        DataType::Uint8,
        "input",
        Dim::batched([height, width, channels]),
    );
    graph
        .node("Cast", "input.cast", &["input"], "input.float")
        .int("to", DataType::Float as i64);
    graph
        .node(
            "Transpose",
            "input.transpose",
            &["input.float"],
            "input.nchw",
        )
        .ints("perm", [0, 3, 1, 2]);
    let mut value = "input.nchw";
    if record.channels == Channels::Bgr {
        graph.initializer("input.order", &[3], vec![2_i64, 1, 0]);
        graph
            .node(
                "Gather",
                "input.reorder",
                &[value, "input.order"],
                "input.bgr",
            )
            .int("axis", 1);
        value = "input.bgr";
    }
    let deviations = || record.std.iter().copied().map(f64::from);
    let factors: Vec<f32> = deviations()
        .map(|std| (f64::from(record.scale) / std) as f32)
        .collect();
    let offsets: Vec<f32> = deviations()
        .zip(&record.mean)
        .map(|(std, &mean)| (-f64::from(mean) / std) as f32)
        .collect();
    if factors != vec![1.0; channels] {
        graph.initializer("input.factor", &[channels, 1, 1], factors);
        graph.node(
            "Mul",
            "input.scale",
            &[value, "input.factor"],
            "input.scaled",
        );
        value = "input.scaled";
    }
    if offsets != vec![0.0; channels] {
        graph.initializer("input.offset", &[channels, 1, 1], offsets);
        graph.node(
            "Add",
            "input.shift",
            &[value, "input.offset"],
            "input.shifted",
        );
        value = "input.shifted";
    }
    value
}
