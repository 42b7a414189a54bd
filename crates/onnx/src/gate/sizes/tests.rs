use super::*;
use crate::{
    AttributeProto, AttributeType, DataType, FunctionProto, GraphBuilder, GraphProto, NodeProto,
    TensorProto, ValueInfoProto,
};

const HUGE: i64 = 1 << 40;

/// What is said about a graph of `x`, [batch, 3, 8, 8], that ends in `y`.
fn checked(build: impl FnOnce(&mut GraphBuilder)) -> String {
    let mut graph = GraphBuilder::new("g");
    graph
        .input("x", FileDim::batched([3, 8, 8]))
        .output("y", FileDim::batched([3, 8, 8]));
    build(&mut graph);
    said(&graph.finish().unwrap(), None)
}

fn said(model: &ModelProto, shape: Option<&[usize]>) -> String {
    let checked = check_sizes(model, shape, &Budget::default());
    checked.map_or_else(|error| error.to_string(), |()| "fits".to_owned())
}

fn scalar(graph: &mut GraphBuilder, name: &str, value: i64) {
    graph.initializer(name, &[], vec![value]);
}

#[test]
fn an_error_names_the_node_the_shape_and_the_limit() {
    let error = checked(|graph| {
        graph.initializer("s", &[4], vec![1, 3, HUGE, 8]);
        graph.node("Expand", "grow", &["x", "s"], "y");
    });
    // Expanding 8 to anything else is no broadcast.
    assert_eq!(error, "fits");
    let error = checked(|graph| {
        graph.initializer("s", &[4], vec![1, 1, HUGE, 1]);
        graph.node("Tile", "grow", &["x", "s"], "y");
    });
    assert_eq!(
        error,
        "node `grow` (Tile) makes `y` of shape [1, 3, 8796093022208, 8], 844424930131968 bytes, \
         expected at most 1073741824"
    );
}

#[test]
fn operators_that_make_values_are_bounded() {
    type Build = fn(&mut GraphBuilder);
    let cases: [(&str, Build); 18] = [
        ("ConstantOfShape", |graph| {
            graph.initializer("s", &[1], vec![HUGE]);
            graph.node("ConstantOfShape", "n", &["s"], "y");
        }),
        ("Range", |graph| {
            for (name, value) in [("from", 0), ("to", HUGE), ("by", 1)] {
                scalar(graph, name, value);
            }
            graph.node("Range", "n", &["from", "to", "by"], "y");
        }),
        ("Pad", |graph| {
            graph.initializer("s", &[8], vec![0, 0, 0, 0, 0, 0, HUGE, 0]);
            graph.node("Pad", "n", &["x", "s"], "y");
        }),
        ("Pad", |graph| {
            graph
                .node("Pad", "n", &["x"], "y")
                .ints("pads", [0, 0, HUGE, 0, 0, 0, 0, 0]);
        }),
        ("Resize", |graph| {
            graph.initializer("s", &[4], vec![1.0_f32, 1.0, 1e6, 1e6]);
            graph.node("Resize", "n", &["x", "", "s"], "y");
        }),
        ("Resize", |graph| {
            graph.initializer("s", &[4], vec![1, 3, HUGE, 8]);
            graph.node("Resize", "n", &["x", "", "", "s"], "y");
        }),
        ("Upsample", |graph| {
            graph
                .node("Upsample", "n", &["x"], "y")
                .floats("scales", [1.0, 1.0, 1e6, 1e6]);
        }),
        ("OneHot", |graph| {
            graph.initializer("i", &[1], vec![1_i64]);
            scalar(graph, "depth", HUGE);
            graph.initializer("v", &[2], vec![0.0_f32, 1.0]);
            graph.node("OneHot", "n", &["i", "depth", "v"], "y");
        }),
        ("RandomNormal", |graph| {
            graph
                .node("RandomNormal", "n", &[], "y")
                .ints("shape", [HUGE]);
        }),
        ("MatMul", |graph| {
            graph.initializer("a", &[40_000, 1], vec![0.0_f32; 40_000]);
            graph.initializer("b", &[1, 40_000], vec![0.0_f32; 40_000]);
            graph.node("MatMul", "n", &["a", "b"], "y");
        }),
        ("Add", |graph| {
            graph.initializer("a", &[40_000, 1], vec![0.0_f32; 40_000]);
            graph.initializer("b", &[1, 40_000], vec![0.0_f32; 40_000]);
            graph.node("Add", "n", &["a", "b"], "y");
        }),
        ("Einsum", |graph| {
            graph.initializer("a", &[40_000], vec![0.0_f32; 40_000]);
            graph
                .node("Einsum", "n", &["a", "a"], "y")
                .string("equation", "i, j -> ij");
        }),
        ("Conv", |graph| {
            graph.initializer("w", &[1, 3, 1, 1], vec![0.0_f32; 3]);
            graph
                .node("Conv", "n", &["x", "w"], "y")
                .ints("pads", [1 << 16, 1 << 16, 0, 0]);
        }),
        ("ConvTranspose", |graph| {
            graph.initializer("w", &[3, 1, 1, 1], vec![0.0_f32; 3]);
            graph
                .node("ConvTranspose", "n", &["x", "w"], "y")
                .ints("strides", [1 << 16, 1 << 16]);
        }),
        ("MaxPool", |graph| {
            graph
                .node("MaxPool", "n", &["x"], "y")
                .ints("kernel_shape", [1, 1])
                .ints("pads", [1 << 16, 1 << 16, 0, 0]);
        }),
        ("AffineGrid", |graph| {
            graph.initializer("t", &[1, 2, 3], vec![0.0_f32; 6]);
            graph.initializer("s", &[4], vec![1, 3, 1 << 20, 1 << 20]);
            graph.node("AffineGrid", "n", &["t", "s"], "y");
        }),
        ("Gather", |graph| {
            graph.initializer("i", &[100, 100, 100], vec![0_i64; 1_000_000]);
            graph.initializer("w", &[1, 1000], vec![0.0_f32; 1000]);
            graph.node("Gather", "n", &["w", "i"], "y");
        }),
        ("HannWindow", |graph| {
            scalar(graph, "size", HUGE);
            graph.node("HannWindow", "n", &["size"], "y");
        }),
    ];
    for (operator, build) in cases {
        let error = checked(build);
        let start = format!("node `n` ({operator}) makes `y` of shape [");
        assert!(error.starts_with(&start), "{operator}: {error}");
    }
}

#[test]
fn shapes_are_followed_through_the_arithmetic_of_exporters() {
    let build = |factor: i64| {
        checked(move |graph| {
            graph.initializer("axis", &[1], vec![0_i64]);
            scalar(graph, "two", 2);
            scalar(graph, "factor", factor);
            graph.initializer("rest", &[3], vec![3_i64, 1, 1]);
            graph.node("Shape", "shape", &["x"], "shape");
            graph.node("Gather", "height", &["shape", "two"], "height");
            graph.node("Mul", "more", &["height", "factor"], "more");
            graph
                .node("Cast", "float", &["more"], "float")
                .int("to", i64::from(DataType::Float as i32));
            graph.node("Floor", "floor", &["float"], "floor");
            graph
                .node("Cast", "int", &["floor"], "int")
                .int("to", i64::from(DataType::Int64 as i32));
            graph.node("Unsqueeze", "list", &["int", "axis"], "list");
            graph
                .node("Concat", "sizes", &["list", "rest"], "sizes")
                .int("axis", 0);
            graph.node("ConstantOfShape", "n", &["sizes"], "y");
        })
    };
    assert_eq!(build(1), "fits");
    assert!(
        build(1 << 35)
            .starts_with("node `n` (ConstantOfShape) makes `y` of shape [274877906944, 3, 1, 1]")
    );
}

#[test]
fn nodes_need_not_be_sorted() {
    let mut graph = GraphBuilder::new("g");
    graph
        .input("x", FileDim::batched([3, 8, 8]))
        .output("y", FileDim::batched([3, 8, 8]));
    graph.initializer("s", &[1], vec![HUGE]);
    graph.node("Identity", "same", &["s"], "t");
    graph.node("ConstantOfShape", "n", &["t"], "y");
    let mut model = graph.finish().unwrap();
    model.graph.as_mut().unwrap().node.reverse();
    assert!(said(&model, None).starts_with("node `n` (ConstantOfShape)"));
}

#[test]
fn open_sizes_count_as_one_until_they_are_known() {
    let mut graph = GraphBuilder::new("g");
    let open = |name: &str| FileDim::Symbol(name.into());
    let input = [open("n"), FileDim::Fixed(3), open("h"), open("w")];
    graph.input("x", input.clone()).output("y", input);
    graph.initializer("s", &[4], vec![1_i64, 1, 300, 300]);
    graph.node("Tile", "n", &["x", "s"], "y");
    let model = graph.finish().unwrap();
    assert_eq!(said(&model, None), "fits");
    assert_eq!(said(&model, Some(&[1, 3, 24, 24])), "fits");
    let error = said(&model, Some(&[1, 3, 224, 224]));
    assert!(error.contains("of shape [1, 3, 67200, 67200]"), "{error}");
    // A batch that the graph fixes has more room.
    assert_eq!(said(&model, Some(&[2, 3, 42, 42])), "fits");
}

#[test]
fn a_window_has_bounded_elements() {
    let error = checked(|graph| {
        graph
            .node("MaxPool", "n", &["x"], "y")
            .ints("kernel_shape", [1 << 15, 1 << 15]);
    });
    assert_eq!(
        error,
        "node `n` (MaxPool) has 1073741824 elements in its window, expected at most 16777216"
    );
}

#[test]
fn windows_that_no_engine_can_compute_are_refused() {
    let pool = |name: &'static str, ints: &'static [i64]| {
        checked(move |graph| {
            let mut node = graph.node("MaxPool", "n", &["x"], "y");
            if name != "kernel_shape" {
                node.ints("kernel_shape", [2, 2]);
            }
            node.ints(name, ints);
        })
    };
    assert_eq!(pool("strides", &[2, 2]), "fits");
    assert_eq!(
        pool("strides", &[0, 2]),
        "node `n` (MaxPool) has 0 in `strides`, expected a number from 1 to 65536"
    );
    assert_eq!(
        pool("pads", &[1, 1]),
        "node `n` (MaxPool) has 2 numbers in `pads`, expected 4"
    );
    assert!(pool("pads", &[1 << 20; 4]).contains("1048576 in `pads`"));
    assert!(pool("dilations", &[-1, 1]).contains("-1 in `dilations`"));
    assert_eq!(
        pool("kernel_shape", &[2, 9]),
        "node `n` (MaxPool) has a window of 9 elements, expected one that fits into 8 and 0 of padding"
    );
    let conv = |dims: &'static [usize], group: i64| {
        checked(move |graph| {
            graph.initializer("w", dims, vec![0.0_f32; dims.iter().product()]);
            graph
                .node("Conv", "n", &["x", "w"], "y")
                .int("group", group)
                .ints("kernel_shape", [3, 3]);
        })
    };
    assert_eq!(conv(&[6, 1, 3, 3], 3), "fits");
    assert!(conv(&[6, 1, 3, 3], 0).contains("0 in `group`"));
    assert!(
        conv(&[6, 1, 3, 3], 1).contains("weights for 1 channels in each of 1 groups, expected 3")
    );
    assert!(conv(&[6, 3, 3], 1).contains("weights of 3 axes, expected 4"));
    assert!(conv(&[6, 3, 1, 1], 1).contains("`kernel_shape` [3, 3], expected that of its weights"));
    let flat = checked(|graph| {
        for name in ["c", "s", "b", "m", "v"] {
            graph.initializer(name, &[3], vec![0.0_f32; 3]);
        }
        let inputs = ["c", "s", "b", "m", "v"];
        graph.node("BatchNormalization", "n", &inputs, "y");
    });
    assert_eq!(
        flat,
        "node `n` (BatchNormalization) has an input of 1 axes, expected at least 2"
    );
    let blocks = checked(|graph| {
        graph
            .node("DepthToSpace", "n", &["x"], "y")
            .int("blocksize", 1 << 62);
    });
    assert!(
        blocks.contains("4611686018427387904 in `blocksize`"),
        "{blocks}"
    );
}

#[test]
fn axes_are_counted_where_sizes_are_not_known() {
    let error = checked(|graph| {
        for name in ["s", "b", "m", "v"] {
            graph.initializer(name, &[3], vec![0.0_f32; 3]);
        }
        // One number that depends on the image.
        graph.initializer("one", &[1], vec![1_i64]);
        graph.node("NonZero", "places", &["x"], "places");
        graph.node("Shape", "shape", &["places"], "shape");
        graph.node("Gather", "count", &["shape", "one"], "count");
        graph.node("ConstantOfShape", "list", &["count"], "list");
        let inputs = ["list", "s", "b", "m", "v"];
        graph.node("BatchNormalization", "n", &inputs, "y");
    });
    assert!(error.contains("has an input of 1 axes"), "{error}");
}

#[test]
fn axes_do_not_grow_without_bound() {
    let error = checked(|graph| {
        graph.initializer("v0", &[1, 1, 1], vec![0_i64]);
        for at in 0..40 {
            let (from, to) = (format!("v{at}"), format!("v{}", at + 1));
            graph.node("Gather", &to, &[&from, &from], &to);
        }
        graph.node("Identity", "n", &["v40"], "y");
    });
    assert_eq!(error, "`v3` has 17 axes, expected at most 16");
}

#[test]
fn a_shape_has_as_many_numbers_as_a_value_has_axes() {
    // The numbers themselves are too many to be followed.
    let error = checked(|graph| {
        scalar(graph, "from", 5);
        scalar(graph, "to", 1 << 20);
        scalar(graph, "by", 7);
        graph.node("Range", "r", &["from", "to", "by"], "shape");
        graph.node("Reshape", "n", &["x", "shape"], "y");
    });
    assert_eq!(error, "`y` has 149796 axes, expected at most 16");
}

#[test]
fn values_in_memory_together_are_bounded() {
    let many = |at_the_end: bool| {
        checked(move |graph| {
            graph.initializer("s", &[1], vec![200_i64 << 20]);
            let names: Vec<String> = (0..8).map(|at| format!("v{at}")).collect();
            let mut sum = "x".to_owned();
            for name in &names {
                graph.node("ConstantOfShape", name, &["s"], name);
                if !at_the_end {
                    let (mean, next) = (format!("{name}.mean"), format!("{name}.sum"));
                    graph
                        .node("ReduceMean", &mean, &[name], &mean)
                        .int("keepdims", 0);
                    graph.node("Add", &next, &[&sum, &mean], &next);
                    sum = next;
                }
            }
            if at_the_end {
                let mut inputs = vec!["x"];
                inputs.extend(names.iter().map(String::as_str));
                graph.node("Sum", "all", &inputs, "y");
            } else {
                graph.node("Identity", "all", &[&sum], "y");
            }
        })
    };
    assert_eq!(many(false), "fits");
    assert_eq!(
        many(true),
        "the values in memory at node `v5` (ConstantOfShape) take 5033164800 bytes, expected at most 4294967296"
    );
}

#[test]
fn what_runtimes_read_in_two_ways_is_refused() {
    let error = checked(|graph| {
        graph.initializer("s", &[8], vec![0, 0, 0, 0, 0, 0, HUGE, 0]);
        graph
            .node("Pad", "n", &["x", "s"], "y")
            .ints("pads", vec![0; 8]);
    });
    assert_eq!(
        error,
        "node `n` (Pad) has `pads` as an attribute and as an input, expected one of them"
    );
    let error = checked(|graph| {
        graph.initializer("r", &[4], vec![1.0_f32, 1.0, 1e6, 1e6]);
        graph.initializer("s", &[4], vec![1.0_f32; 4]);
        graph.node("Resize", "n", &["x", "r", "s"], "y");
    });
    assert_eq!(
        error,
        "node `n` (Resize) has a region of 4 numbers, expected 8"
    );
}

#[test]
fn an_empty_axis_does_not_hide_the_others() {
    let error = checked(|graph| {
        graph.initializer("s", &[4], vec![0_i64, 1, 1 << 20, 1 << 20]);
        graph.node("Resize", "n", &["x", "", "", "s"], "y");
    });
    assert!(
        error.contains("of shape [0, 1, 1048576, 1048576]"),
        "{error}"
    );
}

fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: operator.into(),
        input: inputs.iter().map(|&input| input.into()).collect(),
        output: vec![output.into()],
        ..NodeProto::default()
    }
}

fn values(names: &[&str]) -> Vec<ValueInfoProto> {
    let value_of = |&name: &&str| ValueInfoProto {
        name: name.into(),
        ..ValueInfoProto::default()
    };
    names.iter().map(value_of).collect()
}

fn attribute(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        r#type: AttributeType::Graph as i32,
        g: Some(graph),
        ..AttributeProto::default()
    }
}

/// A model that ends in `last`, whose output is `y`.
fn model_of(last: NodeProto, initializer: Vec<TensorProto>) -> ModelProto {
    let mut graph = GraphBuilder::new("g");
    graph
        .input("x", FileDim::batched([3, 8, 8]))
        .output("y", FileDim::batched([3, 8, 8]));
    graph.node("Identity", "same", &["x"], "y");
    let mut model = graph.finish().unwrap();
    let graph = model.graph.as_mut().unwrap();
    graph.node = vec![last];
    graph.initializer = initializer;
    model
}

/// A loop whose state `s` becomes `t` by the node `step`.
fn repeated(step: NodeProto, trips: i64) -> ModelProto {
    let body = GraphProto {
        node: vec![node("Identity", &["on"], "goes"), step],
        input: values(&["i", "on", "s"]),
        output: values(&["goes", "t"]),
        ..GraphProto::default()
    };
    let mut last = node("Loop", &["trips", "", "x"], "y");
    last.attribute.push(attribute("body", body));
    model_of(last, vec![TensorProto::from_i64("trips", &[], &[trips])])
}

#[test]
fn loops_are_bounded_in_iterations_and_growth() {
    let same = || node("Identity", &["s"], "t");
    assert_eq!(said(&repeated(same(), 1000), None), "fits");
    assert_eq!(
        said(&repeated(same(), HUGE), None),
        "node `y` (Loop) has 2199023255552 iterations of nodes, expected at most 16777216"
    );
    let mut doubled = node("Concat", &["s", "s"], "t");
    doubled.attribute.push(AttributeProto {
        name: "axis".into(),
        i: Some(0),
        ..AttributeProto::default()
    });
    assert_eq!(said(&repeated(doubled.clone(), 10), None), "fits");
    assert!(
        said(&repeated(doubled, 60), None).starts_with("node `t` (Concat) makes `t` of shape [")
    );
    // Whether this one goes on depends on its state.
    let mut open = repeated(same(), HUGE);
    let body = open.graph.as_mut().unwrap().node[0].attribute[0]
        .g
        .as_mut()
        .unwrap();
    body.node[0] = node("IsNaN", &["s"], "goes");
    assert_eq!(said(&open, None), "fits");
}

#[test]
fn a_branch_that_is_not_taken_need_not_fit() {
    // As exporters write it: a pooling for inputs of four axes, and another for those of three.
    let branches = |four: bool| {
        let pool = |output: &str| GraphProto {
            node: vec![node("MaxPool", &["x"], output)],
            output: values(&[output]),
            ..GraphProto::default()
        };
        let (mut then, mut other) = (pool("a"), pool("b"));
        for (graph, axes) in [(&mut then, 2), (&mut other, 1)] {
            graph.node[0].attribute.push(AttributeProto {
                name: "kernel_shape".into(),
                ints: vec![2; axes],
                ..AttributeProto::default()
            });
        }
        let mut last = node("If", &["four"], "y");
        last.attribute.push(attribute("then_branch", then));
        last.attribute.push(attribute("else_branch", other));
        let four = TensorProto {
            name: "four".into(),
            data_type: DataType::Bool as i32,
            int32_data: vec![i32::from(four)],
            ..TensorProto::default()
        };
        said(&model_of(last, vec![four]), None)
    };
    assert_eq!(branches(true), "fits");
    assert_eq!(
        branches(false),
        "node `b` (MaxPool) has 1 numbers in `kernel_shape`, expected 2"
    );
}

#[test]
fn branches_and_functions_are_looked_into() {
    let huge = || GraphProto {
        node: vec![node("ConstantOfShape", &["sizes"], "inner")],
        output: values(&["inner"]),
        ..GraphProto::default()
    };
    let sizes = || vec![TensorProto::from_i64("sizes", &[1], &[HUGE])];
    let mut branch = node("If", &["x"], "y");
    branch.attribute.push(attribute("else_branch", huge()));
    let error = said(&model_of(branch, sizes()), None);
    assert!(
        error.starts_with("node `inner` (ConstantOfShape)"),
        "{error}"
    );
    let mut scan = node("Scan", &["x"], "y");
    scan.attribute.push(attribute("body", huge()));
    let error = said(&model_of(scan, sizes()), None);
    assert!(
        error.starts_with("node `inner` (ConstantOfShape)"),
        "{error}"
    );
    // By an argument, and by an attribute of the call.
    let mut random = node("RandomNormal", &[], "b");
    random.attribute.push(AttributeProto {
        name: "shape".into(),
        ref_attr_name: "count".into(),
        ..AttributeProto::default()
    });
    for inner in [node("ConstantOfShape", &["a"], "b"), random] {
        let mut call = node("F", &["sizes"], "y");
        call.domain = "f".into();
        call.attribute.push(AttributeProto {
            name: "count".into(),
            ints: vec![HUGE],
            ..AttributeProto::default()
        });
        let mut model = model_of(call, sizes());
        model.functions.push(FunctionProto {
            name: "F".into(),
            domain: "f".into(),
            input: vec!["a".into()],
            output: vec!["b".into()],
            node: vec![inner],
            ..FunctionProto::default()
        });
        let error = said(&model, None);
        assert!(
            error.contains("makes `b` of shape [1099511627776]"),
            "{error}"
        );
    }
}
