//! From images to predictions.

use image::{DynamicImage, Rgb, RgbImage};
use kiln_inference::{
    Device, Hint, Model, ModelOverrides, Options, OutputKind, RawImage, RunError,
};
use kiln_onnx::NodeProto;

use crate::engines;
use crate::model::{CLASSES, SHAPE, bytes, expected};

/// An image of the model's size, different for each seed.
fn picture(seed: u8) -> DynamicImage {
    let pixel = |x: u32, y: u32| {
        Rgb([
            x as u8 * 31 + seed,
            y as u8 * 17,
            seed.wrapping_mul(x as u8),
        ])
    };
    RgbImage::from_fn(SHAPE[2] as u32, SHAPE[1] as u32, pixel).into()
}

/// The model's input for an image, computed here: CHW, 0 to 1.
fn prepared(image: &DynamicImage) -> Vec<f32> {
    let bytes = image.as_bytes();
    (0..3)
        .flat_map(|c| {
            bytes
                .iter()
                .skip(c)
                .step_by(3)
                .map(|&p| f32::from(p) * (1.0 / 255.0))
        })
        .collect()
}

#[test]
fn predictions_are_the_softmax_of_the_logits() {
    let images: Vec<_> = (0..5).map(picture).collect();
    for engine in engines() {
        let model = Model::from_bytes(&bytes(), &Options::default().with_engine(engine)).unwrap();
        let predictions = model.classify_batch(&images).unwrap();
        for (image, prediction) in images.iter().zip(&predictions) {
            let [logits, _] = expected(&prepared(image));
            let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
            for (found, logit) in prediction.probabilities.iter().zip(&logits) {
                assert!((f64::from(*found) - logit.exp() / sum).abs() < 1e-5);
            }
            let best = (0..CLASSES)
                .max_by(|&a, &b| logits[a].total_cmp(&logits[b]))
                .unwrap();
            assert_eq!(
                (prediction.index, prediction.label.clone()),
                (best, format!("class {best}"))
            );
            assert_eq!(prediction.top_k(1)[0].label, prediction.label);
            for (found, logit) in prediction.scores.iter().zip(&logits) {
                assert!((f64::from(*found) - logit).abs() < 1e-5);
            }
            assert_eq!(prediction.scores.len(), CLASSES);
            let alone = model.classify(image).unwrap();
            assert_eq!(alone.index, prediction.index);
        }
    }
}

#[test]
fn raw_pixels_give_what_the_image_gives() {
    let image = picture(9);
    let raw = RawImage {
        pixels: image.as_bytes(),
        height: SHAPE[1] as u32,
        width: SHAPE[2] as u32,
        channels: 3,
    };
    for engine in engines() {
        let model = Model::from_bytes(&bytes(), &Options::default().with_engine(engine)).unwrap();
        let [from_raw] = model
            .classify_raw_batch(&[raw])
            .unwrap()
            .try_into()
            .unwrap();
        assert_eq!(
            from_raw.probabilities,
            model.classify(&image).unwrap().probabilities
        );
    }
}

#[test]
fn probabilities_are_left_as_they_are() {
    for engine in engines() {
        let declared = ModelOverrides {
            output: Some(OutputKind::Probabilities),
            ..ModelOverrides::default()
        };
        let options = Options::default()
            .with_engine(engine)
            .with_declared(declared);
        let mut model = kiln_onnx::decode(&bytes()).unwrap();
        let nodes = &mut model.graph.as_mut().unwrap().node;
        let last = nodes.last_mut().unwrap();
        let output = std::mem::replace(&mut last.output[0], "scores".into());
        let softmax = NodeProto {
            op_type: "Softmax".into(),
            ..NodeProto::default()
        };
        nodes.push(NodeProto {
            input: vec!["scores".into()],
            output: vec![output],
            ..softmax
        });
        let model = Model::from_bytes(&kiln_onnx::encode(&model), &options).unwrap();
        let image = picture(1);
        let scores = model.run(&prepared(&image), 1).unwrap();
        assert!((scores.data.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!(model.classify(&image).unwrap().probabilities, scores.data);
    }
}

#[test]
fn scores_that_are_no_probabilities_are_an_error_where_they_should_be() {
    for engine in engines() {
        let declared = ModelOverrides {
            output: Some(OutputKind::Probabilities),
            ..ModelOverrides::default()
        };
        let options = Options::default()
            .with_engine(engine)
            .with_declared(declared);
        let model = Model::from_bytes(&bytes(), &options).unwrap();
        let error = model.classify(&picture(1)).unwrap_err();
        assert!(
            matches!(error, RunError::NoProbability { index: 0, .. }),
            "{error}"
        );
        assert_eq!(error.hint(), Some(Hint::OutputIsLogits));
    }
}

#[test]
fn bad_input_is_an_error_that_names_the_image() {
    for engine in engines() {
        let model = Model::from_bytes(&bytes(), &Options::default().with_engine(engine)).unwrap();
        let size: usize = SHAPE.iter().product();
        assert!(matches!(
            model.run(&vec![0.0; size], 2),
            Err(RunError::InputLength { images: 2, .. })
        ));
        assert!(matches!(
            model.run(&[], usize::MAX),
            Err(RunError::InputLength { .. })
        ));
        let mut pixels = vec![0.0; 2 * size];
        pixels[size + 1] = f32::NAN;
        assert!(matches!(
            model.run(&pixels, 2),
            Err(RunError::InputValue { index: 1, .. })
        ));
        let raw = |height| RawImage {
            pixels: &[0; 3],
            height,
            width: 1,
            channels: 3,
        };
        let error = model
            .classify_raw_batch(&[raw(1), raw(2), raw(3)])
            .unwrap_err();
        assert!(
            matches!(error, RunError::Preprocess { index: 1, .. }),
            "{error}"
        );
    }
}

#[test]
fn auto_falls_back_to_the_processor_and_says_why() {
    for engine in engines() {
        let options = Options::default()
            .with_engine(engine)
            .with_device(Device::Auto);
        let model = Model::from_bytes(&bytes(), &options).unwrap();
        let runtime = model.runtime();
        assert_eq!(runtime.requested, Device::Auto);
        assert_eq!(runtime.device == Device::Cpu, runtime.fallback.is_some());
        model.classify(&picture(3)).unwrap();
    }
}
