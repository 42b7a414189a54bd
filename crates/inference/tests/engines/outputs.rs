//! Graphs with more outputs than the scores.

use kiln_inference::{Model, Options, StreamOptions};
use kiln_onnx::{DataType, Dim, ModelProto, TypeValue, encode};

use crate::engines;
use crate::model::{CLASSES, IMAGE, expected, finish, graph, noise};

/// The test model with the class of each image, int64, and the mean of all scores, a scalar, as
/// further outputs.
fn with_further_outputs() -> ModelProto {
    let mut graph = graph(&Dim::Symbol("batch".into()));
    graph
        .output("class", [Dim::Symbol("batch".into())])
        .output("mean", []);
    graph
        .node("ArgMax", "argmax", &["logits"], "class")
        .int("axis", 1)
        .int("keepdims", 0);
    graph
        .node("ReduceMean", "average", &["logits"], "mean")
        .int("keepdims", 0);
    let mut model = finish(graph);
    let output = &mut model.graph.as_mut().unwrap().output[2];
    let Some(TypeValue::TensorType(class)) = output.r#type.as_mut().unwrap().value.as_mut() else {
        panic!("the builder writes tensors")
    };
    class.elem_type = DataType::Int64 as i32;
    model
}

#[test]
fn only_the_scores_need_be_floats_with_the_batch_first() {
    let file = encode(&with_further_outputs());
    for engine in engines() {
        let model = Model::from_bytes(
            &file,
            &Options::default().with_engine(engine).with_threads(2),
        )
        .unwrap();
        let values = noise(5, 3 * IMAGE);
        let scores = model
            .run(&values, 3)
            .unwrap_or_else(|error| panic!("{engine}: {error}"));
        for (row, image) in scores.rows().zip(values.chunks_exact(IMAGE)) {
            for (found, expected) in row.iter().zip(&expected(image)[0]) {
                assert!(
                    (f64::from(*found) - expected).abs() < 1e-5,
                    "{engine}: {found} {expected}"
                );
            }
        }
        // The same in the sessions of a stream.
        let options = StreamOptions::default()
            .with_batch_size(2)
            .with_warm_up(true);
        let mut rows = 0;
        let prepare = |seed: &u32, out: &mut [f32]| -> Result<(), String> {
            out.copy_from_slice(&noise(*seed, IMAGE));
            Ok(())
        };
        let ended = model.stream(0..5, &options, prepare, |_, result| {
            rows += usize::from(result.unwrap().scores.len() == CLASSES);
            std::ops::ControlFlow::<()>::Continue(())
        });
        assert!(ended.is_ok() && rows == 5, "{engine}: {:?}", ended.err());
        // Asked for by name, each output must be one.
        assert!(model.run_named(&values, 3).is_err());
    }
}
