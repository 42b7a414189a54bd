//! Shape arithmetic is evaluated with the batch open.

use kiln_model::Layout;
use kiln_model::graph::{Op, Values};
use kiln_onnx::{Dim, GraphBuilder, TensorProto};

use super::small::{Small, nodes, ops, reason, shapes};

#[test]
fn a_flattening_that_asks_for_the_batch_is_a_reshape() {
    let mut small = Small::new(13, &[6, 4, 4]);
    small
        .scalar("zero", 0)
        .list("first", &[0])
        .list("minus", &[-1]);
    small
        .node("Shape", &["x"], "shape")
        .node("Gather", &["shape", "zero"], "batch")
        .node("Unsqueeze", &["batch", "first"], "list")
        .node("Concat", &["list", "minus"], "target")
        .node("Reshape", &["x", "target"], "y");
    let mut model = small.model();
    let concat = &mut model.graph.as_mut().unwrap().node[3];
    concat.attribute = vec![kiln_onnx::AttributeProto {
        name: "axis".into(),
        i: Some(0),
        ..Default::default()
    }];
    let graph = crate::graph(&model, None).unwrap();
    assert_eq!(shapes(&graph), ["[N, 96]"]);
    assert_eq!(graph.segments[0].covers, [0, 1, 2, 3, 4]);
}

#[test]
fn a_class_token_is_repeated_for_every_image() {
    let mut small = Small::new(13, &[196, 8, 1]);
    small
        .scalar("zero", 0)
        .list("last", &[3])
        .list("first", &[0])
        .list("ones", &[1, 8]);
    small.zeros("token", &[1, 1, 8]);
    small
        .node("Squeeze", &["x", "last"], "tokens")
        .node("Shape", &["tokens"], "shape")
        .node("Gather", &["shape", "zero"], "batch")
        .node("Unsqueeze", &["batch", "first"], "list");
    small
        .graph
        .node("Concat", "target", &["list", "ones"], "target")
        .int("axis", 0);
    small.node("Expand", &["token", "target"], "repeated").node(
        "Concat",
        &["repeated", "tokens"],
        "y",
    );
    let graph = small.read();
    assert_eq!(shapes(&graph), ["[N, 196, 8]", "[N, 1, 8]", "[N, 197, 8]"]);
    assert_eq!(graph.segments.len(), 2);
    assert_eq!(graph.segments[1].parameters[0].name, "token");
}

#[test]
fn in_files_of_one_image_its_axis_is_the_batchs() {
    let mut graph = GraphBuilder::new("fixed");
    graph.opset(13);
    graph.input("x", [1, 196, 8, 1].map(Dim::Fixed));
    graph.output("y", [1, 197, 2, 4].map(Dim::Fixed));
    graph.initializer("flat", &[3], vec![1_i64, 196, 8]);
    graph.initializer("heads", &[4], vec![1_i64, -1, 2, 4]);
    graph.initializer("token", &[1, 1, 8], vec![0.0_f32; 8]);
    graph.node("Reshape", "a", &["x", "flat"], "a");
    graph
        .node("Concat", "b", &["token", "a"], "b")
        .int("axis", 1);
    graph.node("Reshape", "y", &["b", "heads"], "y");
    let graph = crate::graph(&graph.finish().unwrap(), None).unwrap();
    assert_eq!(
        shapes(&graph),
        ["[N, 196, 8]", "[N, 1, 8]", "[N, 197, 8]", "[N, 197, 2, 4]"]
    );
}

#[test]
fn constants_of_constants_are_computed() {
    let mut small = Small::new(13, &[2]);
    small
        .graph
        .initializer("w", &[2, 3], vec![1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0]);
    small
        .node("Transpose", &["w"], "t")
        .node("MatMul", &["x", "w"], "a")
        .node("MatMul", &["a", "t"], "y");
    let graph = small.read();
    let parameter = &graph.segments[1].parameters[0];
    assert_eq!(
        (parameter.name.as_str(), &parameter.shape[..]),
        ("t", &[3, 2][..])
    );
    let Values::Computed(values) = &parameter.values else {
        panic!("{parameter:?}");
    };
    assert_eq!(values[..], [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
}

#[test]
fn a_table_that_is_resized_has_a_shape_and_no_values() {
    let mut small = Small::new(13, &[4, 2, 2]);
    small
        .zeros("table", &[1, 4, 1, 1])
        .list("sizes", &[1, 4, 2, 2]);
    small
        .node("Resize", &["table", "", "", "sizes"], "resized")
        .node("Add", &["x", "resized"], "y");
    let graph = small.read();
    assert_eq!(shapes(&graph), ["[N, 4, 2, 2]"]);
    let error = graph.segments[0].check_typed().unwrap_err().to_string();
    assert_eq!(
        error,
        "y cannot be computed in training: node `resized` (Resize) resizes a constant: export the model at this image size"
    );
}

/// As torch's exporter writes `as_strided`, after some means.
#[test]
fn a_strided_view_is_of_each_image() {
    let view = |factor: i64, offsets: &[i64]| {
        let mut small = Small::new(18, &[3, 2, 1]);
        small
            .scalar("zero", 0)
            .scalar("one", 1)
            .scalar("factor", factor);
        small.list("flat", &[-1]).list("axes", &[1]);
        small
            .graph
            .initializer("offsets", &[1, offsets.len()], offsets.to_vec());
        small
            .graph
            .node("Shape", "size", &["x"], "size")
            .int("start", 0)
            .int("end", 1);
        small
            .node("Squeeze", &["size"], "batch")
            .node("Range", &["zero", "batch", "one"], "numbers")
            .node("Mul", &["numbers", "factor"], "starts")
            .node("Unsqueeze", &["starts", "axes"], "column")
            .node("Add", &["column", "offsets"], "indices")
            .node("Reshape", &["x", "flat"], "row")
            .node("Gather", &["row", "indices"], "y");
        small.read()
    };
    let same = view(6, &[0, 1, 2, 3, 4, 5]);
    assert_eq!(shapes(&same), ["[6·N]", "[N, 6]"]);
    let few = view(6, &[5, 0]);
    assert_eq!(shapes(&few), ["[6·N]", "[N, 6]", "[N, 2]", "[N, 2]"]);
    assert!(matches!(&ops(&few)[2], Op::Gather { axis: 1, indices, .. } if indices[..] == [5, 0]));
    for graph in [view(5, &[0]), view(6, &[6])] {
        assert!(matches!(ops(&graph)[..], [_, Op::Other(_)]));
    }
}

#[test]
fn halves_and_bytes_are_floats() {
    let mut small = Small::new(13, &[2, 1, 1]);
    small.graph.initializer("scale", &[], vec![0.5_f32]);
    small.node("DequantizeLinear", &["bytes", "scale"], "w");
    small
        .node("Conv", &["x", "w"], "a")
        .node("Conv", &["a", "half"], "y");
    let graph = small.graph;
    // The builder has no such tensors.
    let mut model = {
        let mut graph = graph;
        graph.initializer("bytes", &[1, 2, 1, 1], vec![0.0_f32; 2]);
        graph.initializer("half", &[1, 1, 1, 1], vec![0.0_f32; 1]);
        graph.finish()
    }
    .unwrap();
    for tensor in &mut model.graph.as_mut().unwrap().initializer {
        let (data_type, raw_data) = match tensor.name.as_str() {
            "bytes" => (3, vec![2, 0xfe]),
            "half" => (10, vec![0, 0x3c]),
            _ => continue,
        };
        *tensor = TensorProto {
            data_type,
            raw_data,
            ..tensor.clone()
        };
    }
    let graph = crate::graph(&model, None).unwrap();
    let values: Vec<_> = graph
        .segments
        .iter()
        .flat_map(|segment| &segment.parameters)
        .map(|parameter| crate::parameter_values(&model, parameter).unwrap())
        .collect();
    assert_eq!(values, [vec![1.0, -1.0], vec![1.0]]);
}

#[test]
fn an_open_size_is_given_or_leaves_shapes_open() {
    let mut graph = GraphBuilder::new("open");
    let open = |name: &str| Dim::Symbol(name.into());
    graph.input("x", [open("n"), Dim::Fixed(3), open("h"), open("w")]);
    graph.output("y", [Dim::Unknown]);
    graph.initializer("w", &[4, 3, 1, 1], vec![0.0_f32; 12]);
    graph.node("Conv", "a", &["x", "w"], "a");
    graph.node("Relu", "y", &["a"], "y");
    let model = graph.finish().unwrap();
    let without = crate::graph(&model, None).unwrap();
    assert_eq!(
        (shapes(&without), without.image.size),
        (vec!["?".into(); 2], None)
    );
    assert!(nodes(&without).all(|node| !matches!(node.op, Op::Other(_))));
    let with = crate::graph(&model, Some([5, 7])).unwrap();
    assert_eq!(shapes(&with), ["[N, 4, 5, 7]"; 2]);
}

/// As Hugging Face's exporter writes images.
#[test]
fn open_channels_are_those_of_the_first_convolution() {
    for moved in [false, true] {
        let mut graph = GraphBuilder::new("open");
        graph.input(
            "x",
            ["batch", "a", "b", "c"].map(|name| Dim::Symbol(name.into())),
        );
        graph.output("y", [Dim::Unknown]);
        graph.initializer("w", &[4, 3, 1, 1], vec![0.0_f32; 12]);
        let image = if moved {
            graph
                .node("Transpose", "t", &["x"], "t")
                .ints("perm", [0, 3, 1, 2]);
            "t"
        } else {
            "x"
        };
        graph.node("Conv", "y", &[image, "w"], "y");
        let graph = crate::graph(&graph.finish().unwrap(), Some([5, 7])).unwrap();
        let layout = if moved { Layout::Nhwc } else { Layout::Nchw };
        assert_eq!(
            (graph.image.channels, graph.image.layout),
            (Some(3), layout)
        );
        assert_eq!(shapes(&graph).last().unwrap(), "[N, 4, 5, 7]");
    }
}

#[test]
fn what_kiln_does_not_compute_says_why() {
    let mut small = Small::new(13, &[4]);
    small.node("Einsum", &["x"], "y");
    assert_eq!(
        reason(&small.read()),
        "node `y` (Einsum) is not among the operators that kiln computes"
    );
    let mut small = Small::new(13, &[4]);
    small.zeros("w", &[5, 6]).node("MatMul", &["x", "w"], "y");
    assert_eq!(
        reason(&small.read()),
        "node `y` (MatMul): expected an inner size of 4, found 5"
    );
    assert_eq!(ops(&Small::new(13, &[4]).tap_identity()), []);
}

impl Small {
    /// A graph of nothing but a name.
    fn tap_identity(mut self) -> kiln_model::graph::Graph {
        self.node("Identity", &["x"], "y");
        self.read()
    }
}
