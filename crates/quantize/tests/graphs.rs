//! Quantized graphs on an engine: close to the float graph, and in 8 bits where they are to be.

use std::collections::BTreeMap;

use kiln_inference::{Model, NamedTensor, Options};
use kiln_model::{Channels, Preprocessing};
use kiln_onnx::{
    Dim, GraphBuilder, Metadata, ModelFile, ModelProto, NodeProto, OutputKind, TensorProto,
    check_structure, encode,
};
use kiln_quantize::{
    Activations, Calibration, Method, Observer, Precision, Prepared, QuantizeError, Settings,
    shrink_weights,
};

const SIDE: usize = 12;
const IMAGES: usize = 16;

/// Numbers from -1 to 1, the same on every run.
fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// A graph that is put together operator by operator, with an image of three channels as input.
struct Net {
    graph: GraphBuilder,
    count: usize,
}

impl Net {
    fn new(opset: i64) -> Self {
        let mut graph = GraphBuilder::new("net");
        graph.opset(opset);
        graph.input("x", Dim::batched([3, SIDE, SIDE]));
        Self { graph, count: 0 }
    }

    fn name(&mut self, what: &str) -> String {
        self.count += 1;
        format!("{what}{}", self.count)
    }

    fn constant(&mut self, shape: &[usize], scale: f32, offset: f32) -> String {
        let name = self.name("w");
        let values = noise(shape.iter().product(), self.count as u64);
        let values: Vec<f32> = values.iter().map(|x| x * scale + offset).collect();
        self.graph.initializer(&name, shape, values);
        name
    }

    fn op(&mut self, op: &str, inputs: &[&str]) -> String {
        let name = self.name(&op.to_lowercase());
        self.graph.node(op, &name, inputs, &name);
        name
    }

    fn conv(
        &mut self,
        input: &str,
        [channels, filters]: [usize; 2],
        kernel: usize,
        groups: usize,
    ) -> String {
        let weight = self.constant(
            &[filters, channels / groups, kernel, kernel],
            0.6 / kernel as f32,
            0.0,
        );
        let bias = self.constant(&[filters], 0.2, 0.0);
        let name = self.name("conv");
        let pad = (kernel / 2) as i64;
        self.graph
            .node("Conv", &name, &[input, &weight, &bias], &name)
            .ints("pads", vec![pad; 4])
            .int("group", groups as i64);
        name
    }

    fn batch_norm(&mut self, input: &str, channels: usize) -> String {
        let scale = self.constant(&[channels], 0.3, 1.0);
        let [shift, mean] = [0.2, 0.1].map(|size| self.constant(&[channels], size, 0.0));
        let variance = self.constant(&[channels], 0.3, 1.0);
        self.op(
            "BatchNormalization",
            &[input, &scale, &shift, &mean, &variance],
        )
    }

    /// The mean of each channel, and a dense layer.
    fn classifier(&mut self, input: &str, channels: usize) -> String {
        let pooled = self.op("GlobalAveragePool", &[input]);
        let flat = self.op("Flatten", &[&pooled]);
        let weight = self.constant(&[5, channels], 0.8, 0.0);
        let bias = self.constant(&[5], 0.1, 0.0);
        let name = self.name("gemm");
        self.graph
            .node("Gemm", &name, &[&flat, &weight, &bias], &name)
            .int("transB", 1);
        name
    }

    fn finish(mut self, output: &str) -> ModelProto {
        self.graph.output(output, Dim::batched([5]));
        let mut model = self.graph.finish().unwrap();
        let preprocessing = Preprocessing::unit(SIDE as u32, SIDE as u32, Channels::Rgb);
        model.set_metadata(&Metadata {
            preprocessing: Some(preprocessing),
            labels: Some((0..5).map(|label| label.to_string()).collect()),
            output: Some(OutputKind::Logits),
            ..Metadata::default()
        });
        model
    }
}

/// Two residual blocks, the second depthwise, with batch normalizations and both kinds of clipping.
fn residual(opset: i64) -> ModelProto {
    let mut net = Net::new(opset);
    let stem = net.conv("x", [3, 8], 3, 1);
    let stem = net.batch_norm(&stem, 8);
    let stem = net.op("Relu", &[&stem]);
    let stem = net.op("MaxPool", &[&stem]);
    let inner = net.conv(&stem, [8, 8], 3, 1);
    let inner = net.batch_norm(&inner, 8);
    let inner = net.op("Relu", &[&inner]);
    let inner = net.conv(&inner, [8, 8], 1, 1);
    let sum = net.op("Add", &[&inner, &stem]);
    let sum = net.op("Relu", &[&sum]);
    let (low, high) = ("low", "high");
    net.graph.initializer(low, &[], vec![0.0_f32]);
    net.graph.initializer(high, &[], vec![6.0_f32]);
    let wide = net.conv(&sum, [8, 16], 1, 1);
    let wide = net.op("Clip", &[&wide, low, high]);
    let deep = net.conv(&wide, [16, 16], 3, 16);
    let deep = net.op("Clip", &[&deep, low, high]);
    let both = net.op("Concat", &[&deep, &wide]);
    let gate = net.op("Sigmoid", &[&both]);
    let gated = net.op("Mul", &[&gate, &both]);
    let scores = net.classifier(&gated, 32);
    let mut model = net.finish(&scores);
    for node in &mut model.graph.as_mut().unwrap().node {
        let attribute = match node.op_type.as_str() {
            "MaxPool" => ("kernel_shape", vec![1, 1]),
            _ => continue,
        };
        node.attribute.push(kiln_onnx::AttributeProto {
            name: attribute.0.into(),
            r#type: kiln_onnx::AttributeType::Ints as i32,
            ints: attribute.1,
            ..kiln_onnx::AttributeProto::default()
        });
    }
    for node in &mut model.graph.as_mut().unwrap().node {
        if node.op_type == "Concat" {
            node.attribute.push(kiln_onnx::AttributeProto {
                name: "axis".into(),
                r#type: kiln_onnx::AttributeType::Int as i32,
                i: Some(1),
                ..kiln_onnx::AttributeProto::default()
            });
        }
    }
    model
}

fn pixels() -> Vec<f32> {
    noise(IMAGES * 3 * SIDE * SIDE, 99)
}

fn run(model: &ModelProto) -> Vec<NamedTensor> {
    check_structure(model.graph.as_ref().unwrap()).unwrap();
    let loaded = Model::load(&ModelFile::from_bytes(encode(model)), &Options::default()).unwrap();
    loaded.run_named(&pixels(), IMAGES).unwrap()
}

fn scores(model: &ModelProto) -> Vec<f32> {
    run(model).swap_remove(0).data
}

fn calibrated(prepared: &Prepared, method: Method) -> Calibration {
    let (observable, names) = prepared.observable();
    let mut values: BTreeMap<String, (Vec<usize>, Vec<f32>)> = run(&observable)
        .into_iter()
        .filter(|output| names.contains(&output.name))
        .map(|output| (output.name, (output.shape, output.data)))
        .collect();
    values.insert("x".into(), (vec![IMAGES, 3, SIDE, SIDE], pixels()));
    let observers = values.into_iter().map(|(name, (shape, data))| {
        let mut observer = Observer::new(shape[1], &shape[2..]);
        observer.push(&name, &data).unwrap();
        (name, observer)
    });
    Calibration::new(&observers.collect(), method)
}

/// The root of the mean squared difference, by the deviation of the expected values.
fn noise_of(found: &[f32], expected: &[f32]) -> f64 {
    let count = expected.len() as f64;
    let mean = expected.iter().copied().map(f64::from).sum::<f64>() / count;
    let variance = expected
        .iter()
        .map(|&x| (f64::from(x) - mean).powi(2))
        .sum::<f64>();
    let squares = found
        .iter()
        .zip(expected)
        .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
    (squares.sum::<f64>() / variance).sqrt()
}

fn operators(model: &ModelProto, of: &str) -> usize {
    model.operators().get(of).copied().unwrap_or_default()
}

fn nodes<'a>(model: &'a ModelProto, op: &'a str) -> impl Iterator<Item = &'a NodeProto> {
    let graph = model.graph.as_ref().unwrap();
    graph.node.iter().filter(move |node| node.op_type == op)
}

#[test]
fn preparing_changes_nothing_but_the_last_digits() {
    let model = residual(13);
    let expected = scores(&model);
    for equalize in [false, true] {
        let mut settings = Settings::default();
        settings.equalize = equalize;
        let prepared = Prepared::new(model.clone(), settings).unwrap();
        assert_eq!(operators(prepared.model(), "BatchNormalization"), 0);
        let noise = noise_of(&scores(prepared.model()), &expected);
        assert!(noise < 1e-5, "{equalize}: {noise}");
    }
}

/// As in the report's networks: convolution, `ReLU`, normalization, pooling.
#[test]
fn normalizations_behind_relu_are_folded_into_what_comes_after() {
    for (negative, left) in [(false, 0), (true, 1)] {
        let mut net = Net::new(13);
        let first = net.conv("x", [3, 8], 3, 1);
        let first = net.op("Relu", &[&first]);
        let normal = net.batch_norm(&first, 8);
        let pooled = net.name("pool");
        net.graph
            .node("MaxPool", &pooled, &[&normal], &pooled)
            .ints("kernel_shape", vec![2, 2])
            .ints("strides", vec![2, 2]);
        let weight = net.constant(&[8, 4, 3, 3], 0.3, 0.0);
        let second = net.name("second");
        net.graph
            .node("Conv", &second, &[&pooled, &weight], &second)
            .int("group", 2);
        let second = net.op("Relu", &[&second]);
        let normal = net.batch_norm(&second, 8);
        let flat = net.op("Flatten", &[&normal]);
        let (weight, bias) = (
            net.constant(&[128, 5], 0.2, 0.0),
            net.constant(&[5], 0.2, 0.0),
        );
        let scores_name = net.op("Gemm", &[&flat, &weight, &bias]);
        let mut model = net.finish(&scores_name);
        if negative {
            // The greatest number times a negative one is the least.
            let graph = model.graph.as_mut().unwrap();
            let scale = graph
                .node
                .iter()
                .find(|node| node.op_type == "BatchNormalization")
                .unwrap()
                .input[1]
                .clone();
            let tensor = graph
                .initializer
                .iter_mut()
                .find(|tensor| tensor.name == scale)
                .unwrap();
            let mut values = tensor.to_f32().unwrap();
            values[3] = -0.5;
            *tensor = TensorProto::from_f32(&scale, &[8], &values);
        }
        let expected = scores(&model);
        let prepared = Prepared::new(model, Settings::default()).unwrap();
        assert_eq!(operators(prepared.model(), "BatchNormalization"), left);
        // No constant is left that nothing takes.
        let graph = prepared.model().graph.as_ref().unwrap();
        let taken: Vec<&String> = graph.node.iter().flat_map(|node| &node.input).collect();
        assert!(
            graph
                .initializer
                .iter()
                .all(|tensor| taken.contains(&&tensor.name))
        );
        let noise = noise_of(&scores(prepared.model()), &expected);
        assert!(noise < 1e-5, "{noise}");
        let small = prepared
            .quantize(&calibrated(&prepared, Method::MinMax), &|_| false)
            .unwrap();
        let noise = noise_of(&scores(&small), &expected);
        assert!(noise > 1e-4 && noise < 0.1, "{noise}");
    }
}

#[test]
fn a_residual_network_is_in_8_bits_from_end_to_end() {
    let model = residual(17);
    let expected = scores(&model);
    let prepared = Prepared::new(model, Settings::default()).unwrap();
    // Entropy clips most, and few images more than many.
    let methods = [
        (Method::MinMax, 0.1),
        (Method::Mse, 0.1),
        (Method::Percentile(0.9999), 0.1),
        (Method::Entropy, 0.4),
    ];
    for (method, most) in methods {
        let calibration = calibrated(&prepared, method);
        let small = prepared.quantize(&calibration, &|_| false).unwrap();
        let noise = noise_of(&scores(&small), &expected);
        assert!(noise > 1e-4 && noise < most, "{method:?}: {noise}");
        // Every operator but clipping takes what was an integer.
        let restored: Vec<&String> = nodes(&small, "DequantizeLinear")
            .flat_map(|node| &node.output)
            .collect();
        for op in [
            "Conv",
            "Gemm",
            "Add",
            "Mul",
            "Concat",
            "Sigmoid",
            "MaxPool",
            "GlobalAveragePool",
            "Flatten",
        ] {
            for node in nodes(&small, op) {
                assert!(
                    node.input.iter().all(|input| restored.contains(&input)),
                    "{node:?}"
                );
            }
        }
        // Nothing rounds between a convolution and its clipping, nor the scores.
        for node in nodes(&small, "QuantizeLinear") {
            assert!(!node.input[0].starts_with("gemm"), "{node:?}");
        }
        let clipped = nodes(&small, "Relu").chain(nodes(&small, "Clip"));
        assert!(
            clipped
                .into_iter()
                .all(|node| !restored.contains(&&node.input[0]))
        );
        // No weights are left in float.
        let graph = small.graph.as_ref().unwrap();
        let floats = graph
            .initializer
            .iter()
            .filter(|tensor| tensor.to_f32().is_ok_and(|it| it.len() > 32));
        assert_eq!(floats.count(), 0);
    }
}

#[test]
fn symmetric_activations_have_no_zero_point() {
    let mut settings = Settings::default();
    settings.activations = Activations::Symmetric;
    let model = residual(13);
    let expected = scores(&model);
    let prepared = Prepared::new(model, settings).unwrap();
    let small = prepared
        .quantize(&calibrated(&prepared, Method::MinMax), &|_| false)
        .unwrap();
    assert!(noise_of(&scores(&small), &expected) < 0.1);
    let graph = small.graph.as_ref().unwrap();
    let zeros = graph
        .initializer
        .iter()
        .filter(|tensor| tensor.name.ends_with("_zero_point"));
    let zeros: Vec<&TensorProto> = zeros.collect();
    assert!(!zeros.is_empty());
    assert!(
        zeros
            .iter()
            .all(|tensor| tensor.to_ints().unwrap().iter().all(|&zero| zero == 0))
    );
}

/// What is left in float has its own weights and no rounding before it that nothing else needs.
#[test]
fn any_layer_can_be_left_in_float() {
    let model = residual(13);
    let expected = scores(&model);
    let prepared = Prepared::new(model, Settings::default()).unwrap();
    let calibration = calibrated(&prepared, Method::MinMax);
    assert_eq!(prepared.nodes().len(), 6);
    for layer in prepared.nodes() {
        let without = prepared
            .quantize(&calibration, &|label| label == layer)
            .unwrap();
        let alone = prepared
            .quantize(&calibration, &|label| label != layer)
            .unwrap();
        for model in [&without, &alone] {
            let noise = noise_of(&scores(model), &expected);
            assert!(noise < 0.1, "{layer}: {noise}");
        }
        let node = nodes(&without, "Conv")
            .chain(nodes(&without, "Gemm"))
            .find(|node| node.name == *layer);
        assert!(!node.unwrap().input[1].ends_with("_dequantized"), "{layer}");
        let rounded = nodes(&alone, "Conv").chain(nodes(&alone, "Gemm"));
        assert_eq!(
            rounded
                .filter(|node| node.input[1].ends_with("_dequantized"))
                .count(),
            1
        );
    }
    assert_eq!(
        prepared.quantize(&calibration, &|_| true),
        Err(QuantizeError::Nothing)
    );
}

/// A transformer's products: dense layers on tokens, and those of two activations.
#[test]
fn products_of_activations_are_in_8_bits() {
    let mut net = Net::new(17);
    net.graph.initializer("tokens", &[3], vec![0_i64, 48, 9]);
    let tokens = net.op("Reshape", &["x", "tokens"]);
    let project = |net: &mut Net, input: &str| {
        let weight = net.constant(&[9, 9], 0.5, 0.0);
        net.op("MatMul", &[input, &weight])
    };
    let [query, key, value] = [0; 3].map(|_| project(&mut net, &tokens));
    let key = net.op("Transpose", &[&key]);
    let attention = net.op("MatMul", &[&query, &key]);
    let attention = net.op("Softmax", &[&attention]);
    let mixed = net.op("MatMul", &[&attention, &value]);
    net.graph.initializer("flat", &[2], vec![0_i64, 432]);
    let flat = net.op("Reshape", &[&mixed, "flat"]);
    let weight = net.constant(&[432, 5], 0.2, 0.0);
    let scores_name = net.op("MatMul", &[&flat, &weight]);
    let mut model = net.finish(&scores_name);
    for node in &mut model.graph.as_mut().unwrap().node {
        if node.op_type == "Transpose" {
            node.attribute.push(kiln_onnx::AttributeProto {
                name: "perm".into(),
                r#type: kiln_onnx::AttributeType::Ints as i32,
                ints: vec![0, 2, 1],
                ..kiln_onnx::AttributeProto::default()
            });
        }
    }
    let expected = scores(&model);
    let prepared = Prepared::new(model, Settings::default()).unwrap();
    assert_eq!(prepared.nodes().len(), 6);
    let small = prepared
        .quantize(&calibrated(&prepared, Method::MinMax), &|_| false)
        .unwrap();
    let noise = noise_of(&scores(&small), &expected);
    assert!(noise > 1e-4 && noise < 0.1, "{noise}");
    let restored: Vec<&String> = nodes(&small, "DequantizeLinear")
        .flat_map(|node| &node.output)
        .collect();
    assert!(
        nodes(&small, "MatMul")
            .all(|node| node.input.iter().all(|input| restored.contains(&input)))
    );
}

#[test]
fn weights_alone_are_restored() {
    for (precision, most) in [(Precision::Float16, 1e-3), (Precision::Int8, 0.05)] {
        let mut net = Net::new(13);
        let conv = net.conv("x", [3, 32], 3, 1);
        let conv = net.conv(&conv, [32, 32], 3, 1);
        let scores_name = net.classifier(&conv, 32);
        let model = net.finish(&scores_name);
        let small = shrink_weights(model.clone(), precision).unwrap();
        let noise = noise_of(&scores(&small), &scores(&model));
        assert!(noise > 1e-6 && noise < most, "{precision:?}: {noise}");
        assert!(
            encode(&small).len() < encode(&model).len() * 2 / 3,
            "{precision:?}"
        );
    }
}

#[test]
fn what_cannot_be_smaller_is_refused() {
    let old = Prepared::new(residual(11), Settings::default()).unwrap_err();
    assert_eq!(
        old.to_string(),
        "opset 11 has no scale for each channel of a weight: opset 13 or later is needed"
    );
    let prepared = Prepared::new(residual(13), Settings::default()).unwrap();
    let small = prepared
        .quantize(&calibrated(&prepared, Method::MinMax), &|_| false)
        .unwrap();
    let again = Prepared::new(small, Settings::default()).unwrap_err();
    assert!(
        again
            .to_string()
            .starts_with("the model is quantized already: node `"),
        "{again}"
    );
    let unobserved = prepared
        .quantize(&Calibration::default(), &|_| false)
        .unwrap_err();
    assert!(
        unobserved
            .to_string()
            .starts_with("nothing was observed of the value `"),
        "{unobserved}"
    );
    let mut net = Net::new(13);
    net.graph.initializer("flat", &[2], vec![0_i64, 432]);
    let flat = net.op("Reshape", &["x", "flat"]);
    let tanh = net.op("Tanh", &[&flat]);
    let nothing = Prepared::new(net.finish(&tanh), Settings::default()).unwrap_err();
    assert_eq!(nothing, QuantizeError::Nothing);
    let mut large = residual(13);
    let graph = large.graph.as_mut().unwrap();
    let weight = graph
        .initializer
        .iter_mut()
        .find(|tensor| tensor.dims == [8, 8, 3, 3])
        .unwrap();
    let mut values = weight.to_f32().unwrap();
    values[0] = 1e5;
    *weight = TensorProto::from_f32(&weight.name, &[8, 8, 3, 3], &values);
    let error = shrink_weights(large.clone(), Precision::Float16).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("reach 100000, beyond the 65504 of half precision"),
        "{error}"
    );
    let graph = large.graph.as_mut().unwrap();
    let weight = graph
        .initializer
        .iter_mut()
        .find(|tensor| tensor.dims == [8, 8, 3, 3])
        .unwrap();
    values[0] = f32::NAN;
    *weight = TensorProto::from_f32(&weight.name, &[8, 8, 3, 3], &values);
    let error = Prepared::new(large, Settings::default()).unwrap_err();
    assert!(matches!(error, QuantizeError::Weights { .. }), "{error}");
}
