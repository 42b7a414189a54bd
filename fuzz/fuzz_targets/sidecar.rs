//! Any text is a sidecar or an error.
#![no_main]

use kiln_model::{Channels, ModelOverrides};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(said) = ModelOverrides::parse(text, "model.toml", &[], |file| Ok(vec![file.to_owned()])) {
        if let Ok(record) = said.or(ModelOverrides::default()).preprocessing(Some([28, 28]), Channels::Gray) {
            assert_eq!(record.check(), Ok(()));
        }
    }
});
