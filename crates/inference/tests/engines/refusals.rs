//! Models that cannot be used are refused with a reason.

use kiln_inference::{
    Device, EngineError, EngineId, LoadErrorKind, Model, Options, RunError, StreamOptions,
};
#[cfg(feature = "ort")]
use kiln_inference::{OrtError, OrtOptions};
use kiln_onnx::{DecodeError, Dim, GraphBuilder, encode};

use crate::engines;
use crate::model::{CLASSES, IMAGE, SHAPE, bytes, finish, graph, noise};
#[cfg(feature = "ort")]
use crate::with_concurrent_runs;

fn load(file: &[u8], engine: EngineId) -> Result<Model, LoadErrorKind> {
    Model::from_bytes(file, &Options::default().with_engine(engine)).map_err(|error| error.kind)
}

/// A graph of one node on the test model's input.
fn single(op: &str, domain: &str) -> Vec<u8> {
    let mut graph = GraphBuilder::new("single");
    graph
        .input("input", Dim::batched(SHAPE))
        .output("logits", Dim::batched([CLASSES]));
    graph.node(op, "the node", &["input"], "logits");
    let mut model = finish(graph);
    model.graph.as_mut().unwrap().node[0]
        .domain
        .push_str(domain);
    encode(&model)
}

#[test]
fn the_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.onnx");
    let message = |contents: &[u8]| {
        std::fs::write(&path, contents).unwrap();
        Model::open(&path).unwrap_err().to_string()
    };
    let start = format!("cannot load `{}`: ", path.display());
    for (contents, reason) in [
        (&b"<html></html>"[..], "this is HTML or XML"),
        (&b""[..], "the file is empty"),
        (
            &bytes()[..bytes().len() / 2],
            "not an ONNX file, or a truncated one",
        ),
    ] {
        let message = message(contents);
        assert!(
            message.starts_with(&start) && message.contains(reason),
            "{message}"
        );
    }
    let missing = Model::open(folder.path().join("missing.onnx")).unwrap_err();
    assert!(matches!(missing.kind, LoadErrorKind::Read(_)), "{missing}");
    std::fs::write(&path, bytes()).unwrap();
    assert_eq!(Model::open(&path).unwrap().labels().len(), CLASSES);
}

#[test]
fn an_unknown_operator_is_named_with_its_node() {
    for engine in engines() {
        for (op, domain) in [("Frobnicate", ""), ("Relu", "com.example")] {
            let error = load(&single(op, domain), engine).unwrap_err().to_string();
            assert!(
                error.contains(op) && error.contains("the node"),
                "{engine}: {error}"
            );
        }
    }
}

#[test]
fn a_graph_that_contradicts_itself_is_refused_without_panic() {
    let file = |channels: usize, axis: i64| {
        let mut graph = GraphBuilder::new("bad");
        graph
            .input("input", Dim::batched(SHAPE))
            .output("logits", Dim::batched([CLASSES]));
        graph.initializer("w", &[2, channels, 3, 3], noise(1, 18 * channels));
        graph
            .node("Conv", "conv", &["input", "w"], "conv")
            .ints("kernel_shape", [3, 3]);
        graph
            .node("Flatten", "flatten", &["conv"], "logits")
            .int("axis", axis);
        encode(&finish(graph))
    };
    for engine in engines() {
        // An axis that is not there, which the engine finds.
        let error = load(&file(SHAPE[0], 9), engine).unwrap_err();
        assert!(
            matches!(error, LoadErrorKind::Engine(EngineError::Load { .. })),
            "{error}"
        );
        // A convolution whose weight has another number of input channels.
        let error = load(&file(8, 1), engine).unwrap_err();
        assert!(
            matches!(error, LoadErrorKind::Decode(DecodeError::Limits(_))),
            "{error}"
        );
    }
}

#[test]
fn damaged_files_never_end_the_process() {
    let file = bytes();
    for engine in engines() {
        for at in (0..file.len()).step_by(5) {
            let mut damaged = file.clone();
            damaged[at] = damaged[at].wrapping_add(1);
            if let Ok(model) = load(&damaged, engine) {
                let _ = model.run(&noise(1, 2 * IMAGE), 2);
            }
        }
    }
}

#[test]
fn scores_of_another_shape_or_value_are_errors() {
    for engine in engines() {
        // Declared [batch, classes]; what comes out is [batch, image].
        let mut wide = GraphBuilder::new("wide");
        wide.input("input", Dim::batched(SHAPE))
            .output("logits", vec![Dim::Symbol("batch".into()), Dim::Unknown]);
        wide.node("Flatten", "flatten", &["input"], "logits")
            .int("axis", 1);
        let model = load(&encode(&finish(wide)), engine).unwrap();
        let error = model.run(&noise(1, 2 * IMAGE), 2).unwrap_err();
        assert!(
            matches!(&error, RunError::OutputShape { found, .. } if *found == [2, IMAGE]),
            "{error}"
        );

        let mut model = finish(graph(&Dim::Symbol("batch".into())));
        let weights = &mut model.graph.as_mut().unwrap().initializer;
        let bias = weights
            .iter_mut()
            .find(|tensor| tensor.name == "dense.bias")
            .unwrap();
        bias.raw_data[4..8].copy_from_slice(&f32::NAN.to_le_bytes());
        let error = load(&encode(&model), engine)
            .unwrap()
            .run(&noise(1, 2 * IMAGE), 2)
            .unwrap_err();
        assert!(
            matches!(error, RunError::OutputValue { index: 0, .. }),
            "{error}"
        );
    }
}

#[test]
fn a_device_that_is_not_there_is_an_error() {
    for engine in engines() {
        let options = Options::default()
            .with_engine(engine)
            .with_device(Device::Cuda);
        match Model::from_bytes(&bytes(), &options) {
            Ok(model) => assert_eq!(model.runtime().device, Device::Cuda),
            Err(error) => {
                let LoadErrorKind::Engine(kind) = &error.kind else {
                    panic!("{error}")
                };
                let known = match kind {
                    EngineError::Device { .. } => true,
                    #[cfg(feature = "ort")]
                    EngineError::Ort(OrtError::Cuda(_)) => true,
                    _ => false,
                };
                assert!(known, "{error}");
                assert!(error.hint().is_some(), "{error}");
            }
        }
    }
}

#[test]
fn zero_is_no_number_of_anything() {
    for engine in engines() {
        for (options, name) in [
            (Options::default().with_threads(0), "threads"),
            #[cfg(feature = "ort")]
            (
                with_concurrent_runs(Options::default(), 0),
                "concurrent_runs",
            ),
            (Options::default().with_max_batch(0), "max_batch"),
        ] {
            let error = Model::from_bytes(&bytes(), &options.with_engine(engine)).unwrap_err();
            assert!(
                matches!(error.kind, LoadErrorKind::Zero { option } if option == name),
                "{error}"
            );
        }
        let model = load(&bytes(), engine).unwrap();
        let options = StreamOptions::default()
            .with_batch_size(0)
            .with_warm_up(false);
        let prepare = |_: &u32, _: &mut [f32]| -> Result<(), String> { Ok(()) };
        let ended = model.stream(0..3, &options, prepare, |_, _| {
            std::ops::ControlFlow::<()>::Continue(())
        });
        assert!(matches!(
            ended,
            Err(RunError::Zero {
                option: "batch_size"
            })
        ));
    }
}

#[test]
#[cfg(feature = "ort")]
#[ignore = "downloads ONNX Runtime"]
fn there_are_no_more_sessions_than_threads() {
    engines();
    let engine = EngineId::ORT;
    let options = with_concurrent_runs(Options::default().with_engine(engine).with_threads(2), 8);
    let model = Model::from_bytes(&bytes(), &options).unwrap();
    assert_eq!(
        (
            model.runtime().threads,
            model.runtime().ort.as_ref().map(|ort| ort.concurrent_runs),
        ),
        (2, Some(2))
    );
}

#[test]
#[cfg(feature = "ort")]
#[ignore = "downloads ONNX Runtime"]
fn a_second_library_is_refused() {
    engines();
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("libonnxruntime.so");
    std::fs::write(&other, "another file").unwrap();
    let options = Options::default()
        .with_engine(EngineId::ORT)
        .with_ort(OrtOptions::default().with_library(other));
    let error = Model::from_bytes(&bytes(), &options).unwrap_err();
    assert!(
        matches!(
            error.kind,
            LoadErrorKind::Engine(EngineError::Ort(OrtError::SecondLibrary { .. }))
        ),
        "{error}"
    );
}
