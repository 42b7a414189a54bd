//! What a program that embeds a model relies on.

use kiln_inference::image::{DynamicImage, GrayImage};
use kiln_inference::{
    DecodeError, LoadError, LoadErrorKind, Model, Options, Prediction, RunError, Verification,
    VerifyError,
};

use crate::engines;

#[test]
fn models_and_results_cross_threads() {
    fn crosses<T: Send + Sync + 'static>() {}
    crosses::<Model>();
    crosses::<Prediction>();
    crosses::<LoadError>();
    crosses::<RunError>();
    crosses::<Verification>();
    crosses::<VerifyError>();
}

#[test]
fn images_and_reasons_can_be_named_without_further_dependencies() {
    let model = Model::from_bytes(
        include_bytes!("../../examples/digits.onnx"),
        &Options::default(),
    )
    .unwrap();
    let image = DynamicImage::from(GrayImage::new(28, 28));
    let prediction = model.classify(&image).unwrap();
    assert_eq!(
        (prediction.scores.len(), prediction.probabilities.len()),
        (10, 10)
    );
    let error = Model::from_bytes(&[], &Options::default()).unwrap_err();
    assert!(
        matches!(error.kind, LoadErrorKind::Decode(DecodeError::Empty)),
        "{error}"
    );
}

/// The model that the example compiles in was trained, exported and given its golden vectors by
/// kiln.
#[test]
fn the_model_of_the_examples_verifies_on_every_engine() {
    for engine in engines() {
        let file = include_bytes!("../../examples/digits.onnx");
        let model = Model::from_bytes(file, &Options::default().with_engine(engine)).unwrap();
        let verification = model.verify().unwrap();
        assert!(
            verification.passed() && verification.replays.len() == 10,
            "{engine}: {verification}"
        );
    }
}
