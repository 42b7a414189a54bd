//! Rust code for a base: burn-onnx's, and access to its layers.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::{env, fs};

use burn_import::{LoadStrategy, ModelGen};
use kiln_model::{Base, LayerKind};
use kiln_onnx::encode;

use crate::graph::graph;

/// Writes `<name>/<name>.rs` to the output folder: a struct `Model` with a field for each layer that
/// has one, made by burn-onnx, and its function `into_modules`.
pub fn write(base: &Base) -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(env::var("OUT_DIR")?).join(&base.name);
    fs::create_dir_all(&folder)?;
    let onnx = folder.join(&base.name).with_extension("onnx");
    fs::write(&onnx, encode(&graph(base)?))?;
    let input = onnx
        .to_str()
        .ok_or("the path of the target folder is not UTF-8: move it")?;
    ModelGen::new()
        .input(input)
        .out_dir(&base.name)
        .load_strategy(LoadStrategy::None)
        .run_from_script();
    // Megabytes of zeros: only the shapes were of interest, the weights themselves are read at run
    // time.
    fs::remove_file(onnx.with_extension("bpk"))?;
    fs::remove_file(&onnx)?;
    let mut code = fs::OpenOptions::new()
        .append(true)
        .open(onnx.with_extension("rs"))?;
    Ok(code.write_all(into_modules(base)?.as_bytes())?)
}

/// Access to the generated layers, whose fields are private to their module.
fn into_modules(base: &Base) -> Result<String, Box<dyn Error>> {
    let [mut convs, mut pools] = [0; 2];
    let mut entries = String::new();
    for layer in &base.layers {
        // burn-onnx numbers the fields of each type from 1.
        let (variant, field, number) = if let LayerKind::Conv2d(_) = layer.kind {
            ("Conv2d", "conv2d", &mut convs)
        } else {
            // The graph has no others.
            ("MaxPool2d", "maxpool2d", &mut pools)
        };
        *number += 1;
        let name = layer.name.as_deref().unwrap_or_default();
        writeln!(
            entries,
            "            ({name:?}, crate::Imported::{variant}(self.{field}{number})),"
        )?;
    }
    Ok(format!(
        "\nimpl Model {{\n    pub fn into_modules(self) -> Vec<(&'static str, crate::Imported)> {{\n        vec![\n{entries}        ]\n    }}\n}}\n"
    ))
}
