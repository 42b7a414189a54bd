//! Checks ONNX files as every reader of kiln's does, and tells how long that takes.
//!
//!     cargo run --release -p kiln-onnx --example check -- FILE...

use std::time::Instant;

fn main() {
    let mut refused = false;
    for path in std::env::args().skip(1) {
        let start = Instant::now();
        let checked = kiln_onnx::load_with_external_data(&path).map(|model| {
            let start = Instant::now();
            let limits = kiln_onnx::check_limits(&model, &kiln_onnx::Budget::default());
            limits.map(|()| start.elapsed())
        });
        let whole = start.elapsed();
        match checked {
            Ok(Ok(limits)) => println!("{path}: read in {whole:.1?}, limits in {limits:.1?}"),
            Ok(Err(error)) => println!("{path}: {error}"),
            Err(error) => {
                refused = true;
                println!("{error}");
            }
        }
    }
    std::process::exit(i32::from(refused));
}
