//! Any bytes are a model or an error, and a model's metadata can be replaced.
#![no_main]

use kiln_onnx::{Metadata, decode, replace_metadata};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = decode(bytes) {
        let _ = (model.metadata(), model.inputs(), model.outputs(), model.operators(), model.parameters());
        for tensor in &model.graph.as_ref().expect("decoded models have a graph").initializer {
            let _ = (tensor.to_f32(), tensor.to_i64());
        }
        assert!(replace_metadata(bytes, &Metadata::default()).is_ok());
    }
});
