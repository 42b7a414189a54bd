//! Any bytes are tensors or an error.
#![no_main]

use kiln_zoo::Tensors;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(tensors) = Tensors::read(bytes) {
        for (_, tensor) in tensors.iter() {
            let values = tensor.to_f32();
            assert!(values.is_none_or(|values| values.len() == tensor.len()));
        }
    }
});
