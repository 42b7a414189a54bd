//! Any model is a chain of segments or an error, whether its image's size is known or not, and holds the weights of the seed
//! `digits.onnx` or does not.
#![no_main]

use kiln_model::{Activation, Base, Conv2d, LayerKind, LayerSpec};
use kiln_onnx::decode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(model) = decode(bytes) else { return };
    if let Ok(parameters) = kiln_import::weights(&digits(), &model) {
        let mut values = parameters.iter().flat_map(|parameter| &parameter.values);
        assert!(values.all(|value| value.is_finite()));
    }
    for size in [None, Some([8, 8])] {
        let Ok(graph) = kiln_import::graph(&model, size) else { continue };
        for segment in &graph.segments {
            let _ = (segment.kind(), segment.check_typed(), segment.shape());
            for parameter in segment.parameters.iter().filter(|parameter| parameter.len() < 1 << 16) {
                let _ = kiln_import::parameter_values(&model, parameter);
            }
        }
        let _ = graph.features();
    }
});

/// The layers of `digits.onnx` before its classifier.
fn digits() -> Base {
    let conv = |name: &str, filters| LayerSpec {
        name: Some(name.into()),
        kind: LayerKind::Conv2d(Conv2d {
            strides: [2, 2],
            activation: Some(Activation::Relu),
            ..Conv2d::of_size(filters, [3, 3])
        }),
    };
    Base {
        name: "digits".into(),
        channels: 1,
        weights: None,
        layers: vec![conv("conv2d", 8), conv("conv2d_1", 16)],
        file: None,
    }
}
