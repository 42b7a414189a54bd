//! What opsets spell differently is the same operator.

use kiln_model::graph::{Binary, Op, PadMode, Padded, Reduction, Size, SliceAxis, Unary};
use kiln_onnx::NodeBuilder;

use super::small::{Small, ops, reason, shapes};

/// A graph of one node of the image `[batch, 6, 4, 4]`.
fn one(
    opset: i64,
    op_type: &str,
    inputs: &[&str],
    prepare: impl Fn(&mut Small),
    settings: impl Fn(&mut NodeBuilder<'_>),
) -> Small {
    let mut small = Small::new(opset, &[6, 4, 4]);
    prepare(&mut small);
    settings(&mut small.graph.node(op_type, "node", inputs, "y"));
    small
}

const fn nothing(_: &mut Small) {}

#[test]
fn clip_has_limits_as_attributes_or_inputs() {
    let attributes = one(6, "Clip", &["x"], nothing, |node| {
        node.float("min", 0.0).float("max", 6.0);
    });
    assert_eq!(
        reason(&attributes.read()),
        "node `node` (Clip) is of opset 6, expected 7 to 26: export the model again"
    );
    let relu6 = Op::Unary(Unary::Clip {
        min: Some(0.0),
        max: Some(6.0),
    });
    let attributes = one(7, "Clip", &["x"], nothing, |node| {
        node.float("min", 0.0).float("max", 6.0);
    });
    assert_eq!(ops(&attributes.read()), std::slice::from_ref(&relu6));
    let limits = |small: &mut Small| {
        small.graph.initializer("min", &[], vec![0.0_f32]);
        small.graph.initializer("max", &[1], vec![6.0_f32]);
    };
    let inputs = one(11, "Clip", &["x", "min", "max"], limits, |_| ());
    assert_eq!(ops(&inputs.read()), [relu6]);
    let open = one(13, "Clip", &["x", "", "max"], limits, |_| ());
    assert_eq!(
        ops(&open.read()),
        [Op::Unary(Unary::Clip {
            min: None,
            max: Some(6.0)
        })]
    );
}

#[test]
fn axes_are_attributes_or_inputs() {
    let mean = |axes: &[usize], keep_dims| Op::Reduce {
        reduction: Reduction::Mean,
        axes: axes.to_vec(),
        keep_dims,
    };
    let axes = |small: &mut Small| {
        small.list("axes", &[-1, -2]);
    };
    let old = one(13, "ReduceMean", &["x"], nothing, |node| {
        node.ints("axes", [-1, -2]);
    });
    let new = one(18, "ReduceMean", &["x", "axes"], axes, |_| ());
    for small in [old, new] {
        let graph = small.read();
        assert_eq!(ops(&graph), [mean(&[2, 3], true)]);
        assert_eq!(shapes(&graph), ["[N, 6, 1, 1]"]);
    }
    let kept = one(18, "ReduceMean", &["x"], nothing, |node| {
        node.int("noop_with_empty_axes", 1);
    });
    assert_eq!(ops(&kept.read()), []);
    let all = one(18, "ReduceMean", &["x"], nothing, |_| ());
    assert!(reason(&all.read()).contains("axis 0 of [N, 6, 4, 4]"));
    for (opset, inputs) in [(11, &["x"][..]), (13, &["x", "axes"])] {
        let small = one(opset, "Unsqueeze", inputs, axes, |node| {
            if opset < 13 {
                node.ints("axes", [-1, -2]);
            }
        });
        let graph = small.read();
        assert_eq!(ops(&graph), [Op::Unsqueeze { axes: vec![4, 5] }]);
        assert_eq!(shapes(&graph), ["[N, 6, 4, 4, 1, 1]"]);
    }
}

#[test]
fn splits_and_slices_are_parts_of_axes() {
    let part = |start, length| SliceAxis {
        axis: 1,
        start,
        step: 1,
        length,
    };
    let lengths = |small: &mut Small| {
        small.list("lengths", &[2, 4]);
    };
    for (opset, inputs) in [(11, &["x"][..]), (13, &["x", "lengths"])] {
        let mut small = Small::new(opset, &[6, 4, 4]);
        lengths(&mut small);
        let mut node = small.graph.node("Split", "split", inputs, "a");
        node.int("axis", 1).output("b");
        if opset < 13 {
            node.ints("split", [2, 4]);
        }
        small.node("Concat", &["b", "a"], "y");
        let graph = small.read();
        let parts = [(0, 2), (2, 4)].map(|(start, length)| Op::Slice(vec![part(start, length)]));
        assert_eq!(ops(&graph)[..2], parts);
        assert_eq!(graph.segments.len(), 1);
        assert_eq!(graph.segments[0].kind(), "branches");
    }
    for (opset, inputs) in [(9, &["x"][..]), (10, &["x", "starts", "ends", "axes"])] {
        let prepare = |small: &mut Small| {
            small
                .list("starts", &[1])
                .list("ends", &[-1])
                .list("axes", &[1]);
        };
        let small = one(opset, "Slice", inputs, prepare, |node| {
            if opset < 10 {
                node.ints("starts", [1])
                    .ints("ends", [-1])
                    .ints("axes", [1]);
            }
        });
        assert_eq!(ops(&small.read()), [Op::Slice(vec![part(1, 4)])]);
    }
    let whole = |small: &mut Small| {
        small.list("starts", &[0]).list("ends", &[i64::MAX]);
    };
    let nothing_left_out = one(13, "Slice", &["x", "starts", "ends"], whole, |_| ());
    assert_eq!(ops(&nothing_left_out.read()), []);
}

#[test]
fn softmax_once_took_all_axes_from_one_on() {
    let old = one(11, "Softmax", &["x"], nothing, |_| ());
    let graph = old.read();
    assert_eq!(
        ops(&graph),
        [
            Op::Flatten { axis: 1 },
            Op::Softmax { axis: 1 },
            Op::Reshape {
                dims: vec![
                    Size::Batch(1),
                    Size::Fixed(6),
                    Size::Fixed(4),
                    Size::Fixed(4)
                ]
            },
        ]
    );
    // One node of the file is one segment.
    assert_eq!(graph.segments.len(), 1);
    let last = one(11, "Softmax", &["x"], nothing, |node| {
        node.int("axis", 3);
    });
    assert_eq!(ops(&last.read()), [Op::Softmax { axis: 3 }]);
    let new = one(13, "Softmax", &["x"], nothing, |_| ());
    assert_eq!(ops(&new.read()), [Op::Softmax { axis: 3 }]);
}

#[test]
fn padding_is_explicit() {
    let constant = Op::Pad(Padded {
        pads: vec![[0, 0], [0, 0], [1, 2], [3, 4]],
        mode: PadMode::Constant(0.0),
    });
    let pads = [0, 0, 1, 3, 0, 0, 2, 4];
    let old = one(10, "Pad", &["x"], nothing, |node| {
        node.ints("pads", pads);
    });
    let inputs = |small: &mut Small| {
        small
            .list("all", &pads)
            .list("some", &[1, 3, 2, 4])
            .list("axes", &[2, -1]);
    };
    let new = one(13, "Pad", &["x", "all"], inputs, |_| ());
    let some = one(18, "Pad", &["x", "some", "", "axes"], inputs, |_| ());
    for small in [old, new, some] {
        let graph = small.read();
        assert_eq!(ops(&graph), std::slice::from_ref(&constant));
        assert_eq!(shapes(&graph), ["[N, 6, 7, 11]"]);
    }
    let weight = |small: &mut Small| {
        small.zeros("w", &[8, 6, 3, 3]);
    };
    for (auto_pad, sides) in [("SAME_UPPER", [[0, 1]; 2]), ("SAME_LOWER", [[1, 0]; 2])] {
        let small = one(13, "Conv", &["x", "w"], weight, |node| {
            node.string("auto_pad", auto_pad).ints("strides", [2, 2]);
        });
        let graph = small.read();
        let [Op::Conv(conv)] = &ops(&graph)[..] else {
            panic!("{:?}", ops(&graph));
        };
        assert_eq!(conv.window.pads, sides, "{auto_pad}");
        assert_eq!(shapes(&graph), ["[N, 8, 2, 2]"]);
    }
}

#[test]
fn what_only_renames_is_left_out() {
    let mut small = Small::new(13, &[6, 4, 4]);
    small.node("Identity", &["x"], "a");
    small
        .graph
        .node("Dropout", "drop", &["a"], "b")
        .output("mask");
    small.graph.node("Cast", "cast", &["b"], "c").int("to", 10);
    small
        .node("Relu", &["c"], "d")
        .node("Identity", &["d"], "y");
    let graph = small.read();
    assert_eq!(ops(&graph), [Op::Unary(Unary::Relu)]);
    let segment = &graph.segments[0];
    assert_eq!(
        (segment.output.as_str(), &segment.covers[..]),
        ("y", &[0, 1, 2, 3, 4][..])
    );
}

#[test]
fn what_is_for_training_or_of_integers_is_not_left_out() {
    let training = |flag: i64| {
        let prepare = |small: &mut Small| {
            small.graph.initializer("ratio", &[], vec![0.5_f32]);
            small.scalar("training", flag);
        };
        one(13, "Dropout", &["x", "ratio", "training"], prepare, |_| ()).read()
    };
    assert_eq!(ops(&training(0)), []);
    assert_eq!(
        reason(&training(1)),
        "node `node` (Dropout) has training_mode true, expected false"
    );
    let like = |small: &mut Small| {
        small.scalar("ints", 1).zeros("floats", &[1]);
    };
    assert_eq!(
        ops(&one(15, "CastLike", &["x", "floats"], like, |_| ()).read()),
        []
    );
    reason(&one(15, "CastLike", &["x", "ints"], like, |_| ()).read());
}

#[test]
fn sums_are_additions() {
    let mut small = Small::new(9, &[6, 4, 4]);
    small.node("Relu", &["x"], "a").node("Sigmoid", &["x"], "b");
    small.node("Sum", &["a", "b", "x"], "y");
    let graph = small.read();
    let add = Op::Binary(Binary::Add);
    assert_eq!(ops(&graph)[2..], [add.clone(), add]);
    assert_eq!(graph.segments.len(), 1);
    let mut training = Small::new(8, &[6, 4, 4]);
    for name in ["scale", "bias", "mean", "var"] {
        training.zeros(name, &[6]);
    }
    let inputs = ["x", "scale", "bias", "mean", "var"];
    training
        .graph
        .node("BatchNormalization", "norm", &inputs, "y")
        .int("spatial", 0);
    assert_eq!(
        reason(&training.read()),
        "node `norm` (BatchNormalization) has spatial 0, expected 1"
    );
}
