//! Damaged files are refused or read, never a panic.

use kiln_model::LayerSpec;
use kiln_model::graph::Segment;
use kiln_onnx::{ModelProto, decode, encode};
use proptest::prelude::*;

use super::segments::residual;
use super::small::Small;

/// A transformer's block with shape arithmetic, a class token and constants of constants.
fn attention() -> ModelProto {
    let mut small = Small::new(13, &[4, 6, 1]);
    small
        .scalar("zero", 0)
        .list("first", &[0])
        .list("ones", &[1, 6])
        .list("last", &[3]);
    small
        .list("heads", &[5, 2, 3])
        .list("all", &[0, 5, 6])
        .list("one", &[1])
        .list("back", &[-9]);
    small
        .zeros("token", &[1, 1, 6])
        .zeros("table", &[1, 6, 5])
        .zeros("w", &[6, 18]);
    small
        .zeros("scale", &[6])
        .zeros("head", &[6, 2])
        .list("lengths", &[6, 6, 6]);
    small
        .node("Squeeze", &["x", "last"], "tokens")
        .node("Shape", &["tokens"], "shape")
        .node("Gather", &["shape", "zero"], "batch")
        .node("Unsqueeze", &["batch", "first"], "list");
    small
        .graph
        .node("Concat", "t", &["list", "ones"], "target")
        .int("axis", 0);
    small.node("Expand", &["token", "target"], "repeated");
    small
        .graph
        .node("Concat", "c", &["repeated", "tokens"], "joined")
        .int("axis", 1);
    small
        .graph
        .node("Transpose", "p", &["table"], "positions")
        .ints("perm", [0, 2, 1]);
    small
        .node("Add", &["joined", "positions"], "a")
        .node("LayerNormalization", &["a", "scale"], "n")
        .node("MatMul", &["n", "w"], "qkv");
    let mut split = small.graph.node("Split", "split", &["qkv", "lengths"], "q");
    split.int("axis", 2).output("k").output("v");
    small
        .graph
        .node("Concat", "hs", &["list", "heads"], "split_heads")
        .int("axis", 0);
    for (from, to) in [("q", "qh"), ("k", "kh"), ("v", "vh")] {
        small.node("Reshape", &[from, "split_heads"], &format!("{to}r"));
        let perm = if to == "kh" {
            [0, 2, 3, 1]
        } else {
            [0, 2, 1, 3]
        };
        let name = format!("{to}r");
        small
            .graph
            .node("Transpose", to, &[&name], to)
            .ints("perm", perm);
    }
    small
        .node("MatMul", &["qh", "kh"], "product")
        .node("Softmax", &["product"], "weights");
    small.node("MatMul", &["weights", "vh"], "context");
    small
        .graph
        .node("Transpose", "m", &["context"], "merged")
        .ints("perm", [0, 2, 1, 3]);
    small
        .node("Reshape", &["merged", "all"], "out")
        .node("Add", &["out", "a"], "b");
    small
        .graph
        .node("Slice", "s", &["b", "back", "one", "one"], "class");
    small.node("Squeeze", &["class", "one"], "features");
    small.node("MatMul", &["features", "head"], "y");
    small.model()
}

/// Reads a model and looks at everything that there is.
fn read(model: &ModelProto) {
    for size in [None, Some([8, 8])] {
        let Ok(graph) = crate::graph(model, size) else {
            continue;
        };
        let nodes = model.graph.as_ref().unwrap().node.len();
        let mut covered: Vec<usize> = Vec::new();
        for segment in &graph.segments {
            assert!(LayerSpec::is_name(&segment.name), "{}", segment.name);
            let _ = (
                segment.kind(),
                segment.check_typed(),
                segment.parameter_count(),
            );
            covered.extend(&segment.covers);
        }
        covered.sort_unstable();
        assert!(
            covered.windows(2).all(|pair| pair[0] < pair[1])
                && covered.iter().all(|&at| at < nodes)
        );
        let _ = graph.features();
    }
}

#[test]
fn a_block_of_a_transformer_is_a_segment() {
    let graph = crate::graph(&attention(), None).unwrap();
    let kinds: Vec<&str> = graph.segments.iter().map(Segment::kind).collect();
    assert_eq!(
        kinds,
        [
            "Squeeze",
            "branches",
            "Add",
            "attention",
            "Slice",
            "Squeeze",
            "MatMul"
        ]
    );
    for segment in &graph.segments {
        assert_eq!(segment.check_typed(), Ok(()));
    }
    assert_eq!(graph.classifier, Some(6));
    assert_eq!(graph.segments[6].shape().unwrap().to_string(), "[N, 2]");
}

fn models() -> impl Strategy<Value = ModelProto> {
    prop::sample::select(vec![residual(), attention()])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn changed_bytes_never_panic(
        model in models(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = encode(&model);
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(model) = decode(&bytes) {
            read(&model);
        }
    }

    /// Damage that protobuf does not notice: attributes, shapes, constants, operators and edges.
    #[test]
    fn changed_graphs_never_panic(
        model in models(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..8, any::<i64>(), any::<prop::sample::Index>()), 1..6),
        opset in 6..27_i64,
    ) {
        let mut model = model;
        model.opset_import[0].version = opset;
        let graph = model.graph.as_mut().unwrap();
        for (at, kind, value, other) in edits {
            let source = graph.node[other.index(graph.node.len())].clone();
            let output = source.output.first().cloned().unwrap_or_default();
            let tensors = graph.initializer.len();
            let tensor = &mut graph.initializer[other.index(tensors)];
            let node = at.get_mut(&mut graph.node);
            match kind {
                0 => node.attribute.iter_mut().for_each(|attribute| attribute.ints.iter_mut().for_each(|i| *i = value % 8)),
                1 => node.attribute.iter_mut().for_each(|attribute| attribute.i = Some(value % 8)),
                2 => *at.get_mut(&mut node.input) = output,
                3 => node.output.clear(),
                4 => tensor.dims.push(value),
                5 => node.op_type = source.op_type,
                6 => *tensor = kiln_onnx::TensorProto::from_i64(&tensor.name, &[2], &[value, -1]),
                _ => node.input.clear(),
            }
            graph.node.iter_mut().for_each(|node| if node.input.is_empty() { node.input.push("x".into()); });
        }
        read(&model);
    }
}
