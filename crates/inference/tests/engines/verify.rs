//! Golden vectors are replayed from raw pixels to scores.

use kiln_inference::{EngineId, Model, Options, Verification, VerifyError};
use kiln_model::{Channels, OutputKind, Preprocessing};
use kiln_onnx::{Dim, Golden, GoldenVector, Metadata, NodeProto, TensorProto, encode};

use crate::engines;
use crate::model::{CLASSES, SHAPE, expected, finish, graph, metadata};

/// An image of the model's size with what the naive operators make of it.
fn vector(seed: u8) -> GoldenVector {
    let [channels, height, width] = SHAPE;
    let pixels: Vec<u8> = (0..channels * height * width)
        .map(|i| (i as u8).wrapping_mul(37).wrapping_add(seed))
        .collect();
    let plane = |c: usize| {
        pixels
            .iter()
            .skip(c)
            .step_by(channels)
            .map(|&p| f32::from(p) * (1.0 / 255.0))
    };
    let [scores, _] = expected(&(0..channels).flat_map(plane).collect::<Vec<f32>>());
    let best = (0..CLASSES)
        .max_by(|&a, &b| scores[a].total_cmp(&scores[b]))
        .unwrap();
    GoldenVector {
        source: format!("seed {seed}"),
        height: height as u32,
        width: width as u32,
        channels: channels as u32,
        pixels,
        scores: scores.iter().map(|&score| score as f32).collect(),
        label: format!("class {best}"),
        tolerance: 1e-5,
    }
}

fn golden(vectors: Vec<GoldenVector>) -> Golden {
    Golden {
        computed_by: "naive operators in f64".into(),
        vectors,
    }
}

fn load(engine: EngineId, metadata: &Metadata) -> Model {
    let mut model = finish(graph(&Dim::Symbol("batch".into())));
    model.set_metadata(metadata);
    Model::from_bytes(&encode(&model), &Options::default().with_engine(engine)).unwrap()
}

fn verify(
    engine: EngineId,
    change: impl FnOnce(&mut Metadata),
) -> Result<Verification, VerifyError> {
    let mut metadata = Metadata {
        golden: Some(golden((0..7).map(vector).collect())),
        ..metadata()
    };
    change(&mut metadata);
    load(engine, &metadata).verify()
}

fn vectors(metadata: &mut Metadata) -> &mut Vec<GoldenVector> {
    &mut metadata.golden.as_mut().unwrap().vectors
}

#[test]
fn what_is_computed_correctly_passes() {
    for engine in engines() {
        let verification = verify(engine, |_| ()).unwrap();
        assert!(verification.passed(), "{engine}: {verification}");
        assert_eq!(
            (
                verification.replays.len(),
                verification.computed_by.as_str()
            ),
            (7, "naive operators in f64")
        );
        let line = verification.to_string();
        assert!(
            line.starts_with("7 golden vectors, largest difference ")
                && line.ends_with("(allowed 1.0e-5)"),
            "{line}"
        );
    }
}

#[test]
fn a_score_beyond_the_tolerance_fails_and_is_named() {
    for engine in engines() {
        let verification =
            verify(engine, |metadata| vectors(metadata)[4].scores[2] += 2e-4).unwrap();
        assert!(!verification.passed());
        assert_eq!(
            verification
                .replays
                .iter()
                .filter(|replay| !replay.passed())
                .count(),
            1
        );
        let worst = verification.worst();
        assert_eq!(worst.source, "seed 4");
        assert!(
            (worst.difference - 2e-4).abs() < 2e-5,
            "{}",
            worst.difference
        );
        assert!(
            verification
                .to_string()
                .ends_with("(allowed 1.0e-5) for seed 4"),
            "{verification}"
        );
        let wider = verify(engine, |metadata| {
            vectors(metadata)[4].scores[2] += 2e-4;
            vectors(metadata)[4].tolerance = 3e-4;
        });
        assert!(wider.unwrap().passed());
    }
}

#[test]
fn preprocessing_and_labels_are_part_of_it() {
    for engine in engines() {
        let scaled = verify(engine, |metadata| {
            metadata.preprocessing.as_mut().unwrap().scale *= 1.01;
        })
        .unwrap();
        assert!(!scaled.passed());
        let other = Preprocessing::unit(SHAPE[1] as u32, SHAPE[2] as u32, Channels::Bgr);
        assert!(
            !verify(engine, |metadata| metadata.preprocessing = Some(other))
                .unwrap()
                .passed()
        );
        let renamed = verify(engine, |metadata| {
            metadata.labels.as_mut().unwrap().rotate_left(1);
        })
        .unwrap();
        assert!(!renamed.passed() && renamed.worst().difference <= 1e-5);
        assert!(
            renamed
                .to_string()
                .contains("which the model calls `class "),
            "{renamed}"
        );
    }
}

#[test]
fn scores_that_are_no_numbers_are_a_difference() {
    for engine in engines() {
        let mut model = finish(graph(&Dim::Symbol("batch".into())));
        let initializers = &mut model.graph.as_mut().unwrap().initializer;
        let bias = initializers
            .iter_mut()
            .find(|tensor| tensor.name == "dense.bias")
            .unwrap();
        *bias = kiln_onnx::TensorProto::from_f32(
            "dense.bias",
            &[CLASSES],
            &[0.0, f32::NAN, 0.0, 0.0, 0.0],
        );
        model.set_metadata(&Metadata {
            golden: Some(golden(vec![vector(1)])),
            ..metadata()
        });
        let model =
            Model::from_bytes(&encode(&model), &Options::default().with_engine(engine)).unwrap();
        let verification = model.verify().unwrap();
        assert!(
            !verification.passed() && verification.worst().difference.is_infinite(),
            "{verification}"
        );
    }
}

#[test]
fn what_cannot_be_replayed_is_an_error() {
    let engine = engines()[0];
    let none = verify(engine, |metadata| metadata.golden = None).unwrap_err();
    assert!(
        matches!(none, VerifyError::NoVectors) && none.to_string().contains("`kiln.golden`"),
        "{none}"
    );
    let short = verify(engine, |metadata| vectors(metadata)[2].scores.truncate(3))
        .unwrap_err()
        .to_string();
    assert!(
        short.contains("seed 2 has 3 scores, the model 5 labels"),
        "{short}"
    );
    let huge = verify(engine, |metadata| {
        let vector = &mut vectors(metadata)[0];
        (vector.height, vector.width, vector.channels, vector.pixels) =
            (40_000, 1, 1, vec![0; 40_000]);
    });
    assert!(matches!(huge, Err(VerifyError::Run(_))));
}

/// The model with its scores times `factor` and then a softmax.
fn sure(engine: EngineId, factor: f32, golden: Golden) -> Model {
    let mut model = finish(graph(&Dim::Symbol("batch".into())));
    model.set_metadata(&Metadata {
        golden: Some(golden),
        output: Some(OutputKind::Probabilities),
        ..metadata()
    });
    let graph = model.graph.as_mut().unwrap();
    graph
        .initializer
        .push(TensorProto::from_f32("factor", &[1], &[factor]));
    let producer = graph
        .node
        .iter_mut()
        .find(|node| node.output[0] == "logits")
        .unwrap();
    producer.output[0] = "scores".into();
    let mut node = |op: &str, inputs: &[&str], output: &str| {
        let input = inputs.iter().map(|&name| name.to_owned()).collect();
        graph.node.push(NodeProto {
            op_type: op.into(),
            input,
            output: vec![output.into()],
            ..NodeProto::default()
        });
    };
    node("Mul", &["scores", "factor"], "scaled");
    node("Softmax", &["scaled"], "logits");
    Model::from_bytes(&encode(&model), &Options::default().with_engine(engine)).unwrap()
}

#[test]
fn what_a_sure_model_gives_is_compared_by_logarithms() {
    const FACTOR: f32 = 8.0;
    let mut vectors: Vec<GoldenVector> = (0..7).map(vector).collect();
    for vector in &mut vectors {
        let scaled = vector.scores.iter().map(|&score| f64::from(score * FACTOR));
        let largest = scaled.clone().fold(f64::NEG_INFINITY, f64::max);
        let exponentials: Vec<f64> = scaled.map(|score| (score - largest).exp()).collect();
        vector.scores = exponentials
            .iter()
            .map(|value| (value / exponentials.iter().sum::<f64>()) as f32)
            .collect();
        vector.tolerance = 1e-3;
        assert!(
            vector
                .scores
                .iter()
                .all(|&p| !(1e-5..1.0 - 1e-5).contains(&p)),
            "not sure: {:?}",
            vector.scores
        );
        assert!(
            vector.scores.iter().any(|&p| (1e-25..1e-5).contains(&p)),
            "too sure: {:?}",
            vector.scores
        );
    }
    for engine in engines() {
        let right = sure(engine, FACTOR, golden(vectors.clone()))
            .verify()
            .unwrap();
        assert!(right.passed(), "{engine}: {right}");
        let wrong = sure(engine, FACTOR * 1.01, golden(vectors.clone()))
            .verify()
            .unwrap();
        assert!(
            wrong.replays.iter().all(|replay| !replay.passed()),
            "{engine}: {wrong}"
        );
    }
}
