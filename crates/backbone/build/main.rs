//! Generates the Burn code of the backbones: VGG16, and those of the ONNX files that
//! `KILN_BACKBONES` lists.

mod code;
mod graph;

use std::env;
use std::error::Error;
use std::path::Path;

use kiln_import::load_base;
use kiln_model::Base;

/// Paths of ONNX files, separated as in `PATH`; relative ones start at the repository's root.
const BACKBONES: &str = "KILN_BACKBONES";

/// The network that the tests compile in, so that they need no setting.
const FIXTURE: &str = "crates/backbone/tests/small/small.onnx";

fn main() {
    if let Err(error) = generate() {
        println!("cargo::error={}", error.to_string().replace('\n', " "));
    }
}

fn generate() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed={BACKBONES}");
    let mut bases = vec![Base::vgg16()];
    for path in env::split_paths(&env::var_os(BACKBONES).unwrap_or_default()) {
        // What an empty value, or a separator at the end, leaves.
        if !path.as_os_str().is_empty() {
            bases.push(load(&path, &bases).map_err(|error| format!("{BACKBONES}: {error}"))?);
        }
    }
    code::write("backbones", &bases)?;
    code::write("fixture", &[load(Path::new(FIXTURE), &[])?])
}

fn load(path: &Path, others: &[Base]) -> Result<Base, Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = root.join(path);
    println!("cargo::rerun-if-changed={}", path.display());
    Ok(load_base(&path, others)?)
}
