//! Any model is a chain of segments or an error, whether its image's size is known or not, and has a network's weights or not.
#![no_main]

use kiln_model::Base;
use kiln_onnx::decode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(model) = decode(bytes) else { return };
    if let Ok(parameters) = kiln_import::weights(&Base::vgg16(), &model) {
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
