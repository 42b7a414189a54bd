//! Any file is an array or an error, and an array's length matches its axes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let path = std::env::temp_dir().join(format!("kiln-fuzz-{}.idx", std::process::id()));
    std::fs::write(&path, bytes).expect("the temporary folder can be written to");
    if let Ok(array) = kiln_data::read_idx(&path) {
        let values: u64 = array.dims.iter().map(|&axis| u64::from(axis)).product();
        assert_eq!(values, array.data.len() as u64);
    }
});
