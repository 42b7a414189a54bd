//! Mutations of decoded models: what a damaged or hostile file says about sizes, axes and counts.

use kiln_onnx::{
    AttributeProto, AttributeType, DataLocation, DataType, Dim, FunctionProto, GraphBuilder,
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, SparseTensorProto,
    StringStringEntryProto, TensorProto, ValueInfoProto, encode,
};

use crate::model::{CLASSES, FILTERS, SHAPE, finish, graph, noise};

/// Whole numbers that sizes, axes and counts are set to. Few products of them are close to the budget for
/// a value: what is below it may be run, and takes its time.
const INTS: [i64; 20] = [
    i64::MAX,
    i64::MIN,
    i64::MAX - 1,
    -1,
    -2,
    0,
    1,
    2,
    3,
    5,
    7,
    1000,
    1 << 16,
    1 << 20,
    1 << 24,
    (1 << 31) - 1,
    1 << 31,
    1 << 32,
    1 << 40,
    1 << 62,
];

const FLOATS: [f32; 12] = [
    1e30,
    -1e30,
    1e9,
    1e6,
    1e3,
    2.0,
    0.5,
    0.0,
    -1.0,
    f32::NAN,
    f32::INFINITY,
    f32::MIN_POSITIVE,
];

/// Operators that make values, move axes or keep a state.
const OPERATORS: [&str; 76] = [
    "Resize",
    "Upsample",
    "Expand",
    "Tile",
    "ConstantOfShape",
    "Range",
    "Pad",
    "OneHot",
    "EyeLike",
    "RandomNormal",
    "RandomNormalLike",
    "Multinomial",
    "Conv",
    "ConvTranspose",
    "ConvInteger",
    "MaxPool",
    "AveragePool",
    "LpPool",
    "GlobalAveragePool",
    "MatMul",
    "Gemm",
    "Einsum",
    "Concat",
    "Split",
    "Slice",
    "Gather",
    "GatherElements",
    "GatherND",
    "ScatterND",
    "ScatterElements",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "DepthToSpace",
    "SpaceToDepth",
    "TopK",
    "ArgMax",
    "ReduceSum",
    "ReduceProd",
    "CumSum",
    "NonZero",
    "LRN",
    "LSTM",
    "GRU",
    "GridSample",
    "Trilu",
    "HannWindow",
    "MelWeightMatrix",
    "DFT",
    "QuantizeLinear",
    "DequantizeLinear",
    "BatchNormalization",
    "Softmax",
    "Where",
    "Attention",
    "BitShift",
    "Compress",
    "GlobalMaxPool",
    "GroupNormalization",
    "Hardmax",
    "InstanceNormalization",
    "LayerNormalization",
    "LpNormalization",
    "MaxUnpool",
    "NonMaxSuppression",
    "PRelu",
    "QLinearConv",
    "QLinearMatMul",
    "RMSNormalization",
    "RotaryEmbedding",
    "Scan",
    "STFT",
    "Sum",
    "Unique",
];

/// A generator of numbers from a seed (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn of<'t, T>(&mut self, items: &'t [T]) -> &'t T {
        &items[self.below(items.len())]
    }

    fn index<T>(&mut self, items: &[T]) -> Option<usize> {
        (!items.is_empty()).then(|| self.below(items.len()))
    }

    fn int(&mut self) -> i64 {
        *self.of(&INTS)
    }

    fn float(&mut self) -> f32 {
        *self.of(&FLOATS)
    }
}

/// The model of this seed: one of three with one to three mutations.
pub fn mutated(seed: u64) -> Vec<u8> {
    encode(&mutated_model(seed))
}

fn mutated_model(seed: u64) -> ModelProto {
    let mut random = Random(seed);
    let mut model = match random.below(3) {
        0 => finish(graph(&Dim::Symbol("batch".into()))),
        1 => quantized(),
        _ => residual(),
    };
    for number in 0..=random.below(3) {
        mutate(&mut model, &mut random, number);
    }
    model
}

/// The model of this seed, every fourth with its values in the file `location`, whose bytes come second; where those lie
/// is mutated too.
pub fn mutated_in_files(seed: u64, location: &str) -> (Vec<u8>, Vec<u8>) {
    let mut model = mutated_model(seed);
    let mut random = Random(!seed);
    let mut data = Vec::new();
    if random.below(4) > 0 {
        return (encode(&model), data);
    }
    for tensor in &mut graph_of(&mut model).initializer {
        let bytes = std::mem::take(&mut tensor.raw_data);
        if bytes.is_empty() {
            continue;
        }
        let mut place = vec![
            ("location", location.to_owned()),
            ("offset", data.len().to_string()),
            ("length", bytes.len().to_string()),
        ];
        data.extend(bytes);
        if random.below(8) == 0 {
            let elsewhere = ["../x", "/etc/passwd", "/dev/zero", ".", "", "a\0b", "link"];
            match random.below(4) {
                0 => (*random.of(&elsewhere)).clone_into(&mut place[0].1),
                1 => place[1].1 = random.int().to_string(),
                2 => place[2].1 = random.int().to_string(),
                _ => drop(place.remove(random.below(3))),
            }
        }
        tensor.data_location = DataLocation::External as i32;
        tensor.external_data = place
            .into_iter()
            .map(|(key, value)| StringStringEntryProto {
                key: key.to_owned(),
                value,
            })
            .collect();
    }
    (encode(&model), data)
}

/// The test model with its activations and weights quantized.
fn quantized() -> ModelProto {
    let mut model = finish(graph(&Dim::Symbol("batch".into())));
    let graph = model.graph.as_mut().unwrap();
    graph
        .initializer
        .push(TensorProto::from_f32("q.scale", &[], &[0.05]));
    graph.initializer.push(TensorProto {
        name: "q.zero".into(),
        data_type: DataType::Uint8 as i32,
        int32_data: vec![128],
        ..TensorProto::default()
    });
    for value in ["input", "relu", "dense.weight"] {
        let quantized = format!("{value}.q");
        let back = format!("{value}.dq");
        for node in &mut graph.node {
            for input in &mut node.input {
                if input == value {
                    input.clone_from(&back);
                }
            }
        }
        let at = graph.node.iter().position(|node| node.output[0] == value);
        let at = at.map_or(0, |at| at + 1);
        let pair = [
            node("QuantizeLinear", &[value, "q.scale", "q.zero"], &quantized),
            node(
                "DequantizeLinear",
                &[&quantized, "q.scale", "q.zero"],
                &back,
            ),
        ];
        graph.node.splice(at..at, pair);
    }
    model
}

/// Two convolutions with a sum beside them, and global pooling.
fn residual() -> ModelProto {
    let mut graph = GraphBuilder::new("residual");
    graph
        .input("input", Dim::batched(SHAPE))
        .output("logits", Dim::batched([CLASSES]));
    graph.initializer(
        "stem.weight",
        &[FILTERS, SHAPE[0], 3, 3],
        noise(1, FILTERS * SHAPE[0] * 9),
    );
    graph
        .node("Conv", "stem", &["input", "stem.weight"], "stem")
        .ints("pads", [1, 1, 1, 1])
        .ints("strides", [2, 2]);
    graph.initializer(
        "conv.weight",
        &[FILTERS, FILTERS, 3, 3],
        noise(2, FILTERS * FILTERS * 9),
    );
    graph
        .node("Conv", "conv", &["stem", "conv.weight"], "conv")
        .ints("pads", [1, 1, 1, 1]);
    graph.node("Add", "sum", &["conv", "stem"], "sum");
    graph.node("Relu", "relu", &["sum"], "relu");
    graph.node("GlobalAveragePool", "pool", &["relu"], "pool");
    graph.initializer("shape", &[2], vec![0_i64, -1]);
    graph.node("Reshape", "flat", &["pool", "shape"], "flat");
    graph.initializer(
        "dense.weight",
        &[FILTERS, CLASSES],
        noise(3, FILTERS * CLASSES),
    );
    graph.node("MatMul", "dense", &["flat", "dense.weight"], "dense");
    graph.initializer("dense.bias", &[CLASSES], noise(4, CLASSES));
    graph.node("Add", "bias", &["dense", "dense.bias"], "logits");
    finish(graph)
}

fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: operator.into(),
        name: output.into(),
        input: inputs.iter().map(|&input| input.into()).collect(),
        output: vec![output.into()],
        ..NodeProto::default()
    }
}

fn with_ints(mut node: NodeProto, name: &str, ints: Vec<i64>) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: name.into(),
        r#type: AttributeType::Ints as i32,
        ints,
        ..AttributeProto::default()
    });
    node
}

fn with_int(mut node: NodeProto, name: &str, int: i64) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: name.into(),
        r#type: AttributeType::Int as i32,
        i: Some(int),
        ..AttributeProto::default()
    });
    node
}

fn with_graph(mut node: NodeProto, name: &str, graph: GraphProto) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: name.into(),
        r#type: AttributeType::Graph as i32,
        g: Some(graph),
        ..AttributeProto::default()
    });
    node
}

fn mutate(model: &mut ModelProto, random: &mut Random, number: usize) {
    match random.below(12) {
        0 | 1 => change_attribute(model, random),
        2 => change_shape(model, random),
        3 => change_values(model, random),
        4 => change_inputs(model, random),
        5 => change_operator(model, random),
        6..=8 => insert(model, random, number),
        9 => wrap(model, random, number),
        10 => make_sparse(model, random),
        _ => change_nodes(model, random),
    }
}

fn graph_of(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().unwrap()
}

fn change_attribute(model: &mut ModelProto, random: &mut Random) {
    let nodes = &mut graph_of(model).node;
    let with_attributes: Vec<usize> = (0..nodes.len())
        .filter(|&at| !nodes[at].attribute.is_empty())
        .collect();
    let Some(at) = random.index(&with_attributes) else {
        return;
    };
    let attributes = &mut nodes[with_attributes[at]].attribute;
    let at = random.below(attributes.len());
    let attribute = &mut attributes[at];
    match random.below(6) {
        0 => attribute.i = Some(random.int()),
        1 => attribute.f = Some(random.float()),
        2 => attribute.r#type = random.below(16) as i32,
        3 => attribute.ints.push(random.int()),
        4 => drop(attribute.ints.pop()),
        _ => match random.index(&attribute.ints) {
            Some(at) => attribute.ints[at] = random.int(),
            None => attribute.i = Some(random.int()),
        },
    }
}

fn change_shape(model: &mut ModelProto, random: &mut Random) {
    let graph = graph_of(model);
    let Some(at) = random.index(&graph.initializer) else {
        return;
    };
    let tensor = &mut graph.initializer[at];
    match random.below(4) {
        0 => tensor.dims.push(random.int()),
        1 => drop(tensor.dims.pop()),
        2 => tensor.data_type = random.below(28) as i32,
        _ => match random.index(&tensor.dims) {
            Some(at) => tensor.dims[at] = random.int(),
            None => tensor.raw_data.clear(),
        },
    }
}

fn change_values(model: &mut ModelProto, random: &mut Random) {
    let graph = graph_of(model);
    let Some(at) = random.index(&graph.initializer) else {
        return;
    };
    let tensor = &mut graph.initializer[at];
    let bytes = if tensor.data_type == DataType::Int64 as i32 {
        random.int().to_le_bytes().to_vec()
    } else {
        random.float().to_le_bytes().to_vec()
    };
    let places = tensor.raw_data.len() / bytes.len();
    if places > 0 {
        let at = random.below(places) * bytes.len();
        tensor.raw_data[at..at + bytes.len()].copy_from_slice(&bytes);
    }
}

fn names(graph: &GraphProto) -> Vec<String> {
    let outputs = graph.node.iter().flat_map(|node| node.output.clone());
    let constants = graph.initializer.iter().map(|tensor| tensor.name.clone());
    let inputs = graph.input.iter().map(|input| input.name.clone());
    outputs.chain(constants).chain(inputs).collect()
}

fn change_inputs(model: &mut ModelProto, random: &mut Random) {
    let graph = graph_of(model);
    let names = names(graph);
    let at = random.below(graph.node.len());
    let inputs = &mut graph.node[at].input;
    let Some(at) = random.index(inputs) else {
        return;
    };
    match random.below(5) {
        0 => drop(inputs.remove(at)),
        1 => inputs.insert(at, inputs[at].clone()),
        2 => inputs.reverse(),
        3 => inputs[at].clear(),
        _ => inputs[at].clone_from(random.of(&names)),
    }
}

fn change_operator(model: &mut ModelProto, random: &mut Random) {
    let graph = graph_of(model);
    let at = random.below(graph.node.len());
    (*random.of(&OPERATORS)).clone_into(&mut graph.node[at].op_type);
    if random.below(2) == 0 {
        graph.node[at].attribute.clear();
    }
}

fn change_nodes(model: &mut ModelProto, random: &mut Random) {
    if random.below(4) == 0 {
        model.opset_import[0].version = *random.of(&[1, 6, 7, 9, 10, 11, 12, 13, 17, 18, 20, 22]);
        return;
    }
    let nodes = &mut graph_of(model).node;
    let at = random.below(nodes.len());
    match random.below(4) {
        0 => drop(nodes.remove(at)),
        1 => nodes.insert(at, nodes[at].clone()),
        2 => {
            let other = random.below(nodes.len());
            nodes.swap(at, other);
        }
        _ => nodes[at].output.push("more".into()),
    }
}

/// Puts an operator that makes something between a value and those who take it: in place of the value,
/// or as its mean beside it, so that shapes go on fitting.
fn insert(model: &mut ModelProto, random: &mut Random, number: usize) {
    let graph = graph_of(model);
    let at = random.below(graph.node.len());
    let Some(input) = random.index(&graph.node[at].input) else {
        return;
    };
    let value = graph.node[at].input[input].clone();
    let name = |what: &str| format!("{what}{number}");
    let (made, constants) = (name("made"), [name("a"), name("b"), name("c")]);
    let [a, b, c] = constants.each_ref().map(String::as_str);
    let count = 1 + random.below(4);
    let ints: Vec<i64> = (0..count).map(|_| random.int()).collect();
    let floats: Vec<f32> = (0..4).map(|_| random.float()).collect();
    let four: Vec<i64> = (0..4)
        .map(|_| {
            if random.below(2) == 0 {
                1
            } else {
                random.int()
            }
        })
        .collect();
    let pads: Vec<i64> = (0..8)
        .map(|_| {
            if random.below(3) == 0 {
                random.int()
            } else {
                0
            }
        })
        .collect();
    let list = |name: &str, ints: &[i64]| TensorProto::from_i64(name, &[ints.len()], ints);
    let scalar = |name: &str, int: i64| TensorProto::from_i64(name, &[], &[int]);
    let (inserted, tensors) = match random.below(17) {
        0 => {
            let scales = TensorProto::from_f32(a, &[4], &floats);
            (node("Resize", &[&value, "", a], &made), vec![scales])
        }
        1 => (
            node("Resize", &[&value, "", "", a], &made),
            vec![list(a, &four)],
        ),
        2 => (node("Expand", &[&value, a], &made), vec![list(a, &four)]),
        3 => (node("Tile", &[&value, a], &made), vec![list(a, &four)]),
        4 => (node("ConstantOfShape", &[a], &made), vec![list(a, &ints)]),
        5 => (node("Pad", &[&value, a], &made), vec![list(a, &pads)]),
        6 => {
            let tensors = vec![
                scalar(a, random.int()),
                scalar(b, random.int()),
                scalar(c, random.int()),
            ];
            (node("Range", &[a, b, c], &made), tensors)
        }
        7 => {
            let values = TensorProto::from_f32(c, &[2], &[0.0, 1.0]);
            let tensors = vec![list(a, &ints), scalar(b, random.int()), values];
            (node("OneHot", &[a, b, c], &made), tensors)
        }
        8 => (
            with_ints(node("RandomNormal", &[], &made), "shape", ints),
            vec![],
        ),
        9 => {
            let pool = with_ints(
                node("MaxPool", &[&value], &made),
                "kernel_shape",
                vec![random.int(), 2],
            );
            (with_ints(pool, "pads", four), vec![])
        }
        10 => {
            let weights = TensorProto::from_f32(a, &[FILTERS, 1, 2, 2], &noise(3, FILTERS * 4));
            let conv = with_ints(
                node("ConvTranspose", &[&value, a], &made),
                "strides",
                vec![random.int(), 1],
            );
            (conv, vec![weights])
        }
        11 => (
            with_int(
                node("DepthToSpace", &[&value], &made),
                "blocksize",
                random.int(),
            ),
            vec![],
        ),
        12 => (node("Reshape", &[&value, a], &made), vec![list(a, &four)]),
        13 => (node("Gather", &[&value, a], &made), vec![list(a, &ints)]),
        14 => {
            let left = TensorProto::from_f32(a, &[60_000, 1], &vec![1.0; 60_000]);
            let right = TensorProto::from_f32(b, &[1, 60_000], &vec![1.0; 60_000]);
            (node("MatMul", &[a, b], &made), vec![left, right])
        }
        15 => {
            let slice = node("Slice", &[&value, a, b], &made);
            let ends: Vec<i64> = ints.iter().map(|_| random.int()).collect();
            (slice, vec![list(a, &ints), list(b, &ends)])
        }
        _ => (
            with_int(
                node("Concat", &[&value, &value], &made),
                "axis",
                random.int(),
            ),
            vec![],
        ),
    };
    graph.initializer.extend(tensors);
    let mut inserted = vec![inserted];
    if random.below(3) == 0 {
        graph.node[at].input[input] = made;
    } else {
        let (mean, sum) = (name("mean"), name("sum"));
        inserted.push(with_int(node("ReduceMean", &[&made], &mean), "keepdims", 0));
        inserted.push(node("Add", &[&value, &mean], &sum));
        graph.node[at].input[input] = sum;
    }
    graph.node.splice(at..at, inserted);
}

/// Puts a branch, a loop or a function around a value.
fn wrap(model: &mut ModelProto, random: &mut Random, number: usize) {
    let graph = graph_of(model);
    let at = random.below(graph.node.len());
    let Some(input) = random.index(&graph.node[at].input) else {
        return;
    };
    let value = graph.node[at].input[input].clone();
    let wrapped = format!("wrapped{number}");
    let named = |name: &str| ValueInfoProto {
        name: name.into(),
        ..ValueInfoProto::default()
    };
    let inner = |nodes: Vec<NodeProto>, inputs: &[&str], outputs: &[&str]| GraphProto {
        name: "inner".into(),
        node: nodes,
        input: inputs.iter().map(|name| named(name)).collect(),
        output: outputs.iter().map(|name| named(name)).collect(),
        ..GraphProto::default()
    };
    let wrapping = match random.below(4) {
        0 => {
            let condition = TensorProto {
                name: format!("condition{number}"),
                data_type: DataType::Bool as i32,
                int32_data: vec![1],
                ..TensorProto::default()
            };
            let branch = node("If", &[&condition.name], &wrapped);
            graph.initializer.push(condition);
            let one = inner(vec![node("Identity", &[&value], "one")], &[], &["one"]);
            let sizes = TensorProto::from_i64("sizes", &[1], &[random.int()]);
            let mut other = inner(
                vec![node("ConstantOfShape", &["sizes"], "other")],
                &[],
                &["other"],
            );
            other.initializer.push(sizes);
            with_graph(with_graph(branch, "then_branch", one), "else_branch", other)
        }
        1 | 2 => {
            let trips = TensorProto::from_i64(&format!("trips{number}"), &[], &[random.int()]);
            let step = match random.below(3) {
                0 => node("Identity", &["state"], "next"),
                1 => with_int(node("Concat", &["state", "state"], "next"), "axis", 0),
                _ => node("Add", &["state", "state"], "next"),
            };
            let nodes = vec![node("Identity", &["goes_on"], "goes"), step];
            let body = inner(nodes, &["count", "goes_on", "state"], &["goes", "next"]);
            let repeated = node("Loop", &[&trips.name, "", &value], &wrapped);
            graph.initializer.push(trips);
            with_graph(repeated, "body", body)
        }
        _ => {
            let depth = *random.of(&[1, 3, 12, 40]);
            let wide = random.below(2) + 1;
            let function = |at: usize| FunctionProto {
                name: format!("f{at}"),
                domain: "test".into(),
                input: vec!["v0".into()],
                output: vec![format!("v{wide}")],
                node: (0..wide)
                    .map(|call| {
                        let name = if at < depth {
                            format!("f{}", at + 1)
                        } else {
                            "Relu".into()
                        };
                        let domain = if at < depth { "test" } else { "" };
                        NodeProto {
                            domain: domain.into(),
                            ..node(&name, &[&format!("v{call}")], &format!("v{}", call + 1))
                        }
                    })
                    .collect(),
                opset_import: ["", "test"]
                    .map(|domain| operators(domain, if domain.is_empty() { 17 } else { 1 }))
                    .to_vec(),
                ..FunctionProto::default()
            };
            model.functions = (0..=depth).map(function).collect();
            model.opset_import.push(operators("test", 1));
            NodeProto {
                domain: "test".into(),
                ..node("f0", &[&value], &wrapped)
            }
        }
    };
    let graph = graph_of(model);
    graph.node[at].input[input] = wrapped;
    graph.node.insert(at, wrapping);
}

fn operators(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto {
        domain: domain.into(),
        version,
    }
}

/// Gives the values of an initializer as a sparse tensor.
fn make_sparse(model: &mut ModelProto, random: &mut Random) {
    let graph = graph_of(model);
    let Some(at) = random.index(&graph.initializer) else {
        return;
    };
    let dense = graph.initializer.remove(at);
    let mut dims = dense.dims.clone();
    if let (Some(at), 0) = (random.index(&dims), random.below(2)) {
        dims[at] = random.int();
    }
    let index = if random.below(2) == 0 {
        0
    } else {
        random.int()
    };
    let sparse = SparseTensorProto {
        values: Some(TensorProto::from_f32(&dense.name, &[1], &[1.0])),
        indices: Some(TensorProto::from_i64("", &[1], &[index])),
        dims,
    };
    graph.sparse_initializer.push(sparse);
}
