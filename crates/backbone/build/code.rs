//! Rust code for bases: burn-onnx's, and a table of it by name.

use std::error::Error;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

use burn_import::{LoadStrategy, ModelGen};
use kiln_model::{Base, LayerKind};
use kiln_onnx::encode;

use crate::graph::graph;

/// Writes `<name>.rs` to the output folder: a constant `COMPILED` of what `src/generated.rs` calls
/// `Compiled`, one for each base.
pub fn write(name: &str, bases: &[Base]) -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(env::var("OUT_DIR")?).join(name);
    fs::create_dir_all(&folder)?;
    let (mut modules, mut compiled) = (String::new(), String::new());
    for (number, base) in bases.iter().enumerate() {
        // Numbers, because a base's name need not be one that Rust takes.
        let module = format!("base{number}");
        let description = base.to_toml();
        // As the program does at run time, when it is too late for an error.
        Base::parse(&description, &base.name)?;
        burn_code(base, &folder, &module)?;
        fs::write(folder.join(&module).with_extension("toml"), description)?;
        let own = into_modules(base);
        writeln!(
            modules,
            "pub mod {module} {{\n    include!(\"{name}/{module}.rs\");\n\n{own}}}\n"
        )?;
        writeln!(
            compiled,
            "    Compiled {{\n        description: include_str!(\"{name}/{module}.toml\"),\n        \
             modules: |device| {module}::Model::new(device).into_modules(),\n    }},"
        )?;
    }
    let code = format!("{modules}pub const COMPILED: &[Compiled] = &[\n{compiled}];\n");
    Ok(fs::write(folder.with_extension("rs"), code)?)
}

/// Has burn-onnx write `<module>.rs`: a struct `Model` with a field for each layer that has one.
fn burn_code(base: &Base, folder: &Path, module: &str) -> Result<(), Box<dyn Error>> {
    let onnx = folder.join(module).with_extension("onnx");
    fs::write(&onnx, encode(&graph(base)?))?;
    let input = onnx
        .to_str()
        .ok_or("the path of the target folder is not UTF-8: move it")?;
    let output = folder
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    ModelGen::new()
        .input(input)
        .out_dir(output)
        .load_strategy(LoadStrategy::None)
        .run_from_script();
    // Megabytes of zeros: only the shapes were of interest, the weights themselves are read at run
    // time.
    fs::remove_file(onnx.with_extension("bpk"))?;
    Ok(fs::remove_file(onnx)?)
}

/// Access to the generated layers, whose fields are private to their module.
fn into_modules(base: &Base) -> String {
    let [mut convs, mut pools, mut norms] = [0; 3];
    // burn-onnx numbers the fields of each type from 1.
    let mut field = |kind: &LayerKind| {
        let (variant, field, number) = if let LayerKind::Conv2d(_) = kind {
            ("Conv2d", "conv2d", &mut convs)
        } else if let LayerKind::MaxPool(_) = kind {
            ("MaxPool2d", "maxpool2d", &mut pools)
        } else if let LayerKind::BatchNorm(_) = kind {
            ("BatchNorm", "batchnormalization", &mut norms)
        } else {
            return None;
        };
        *number += 1;
        Some(format!("Imported::{variant}(self.{field}{number})"))
    };
    let entries = base.layers.iter().filter_map(|layer| {
        let name = layer.name.as_deref().unwrap_or_default();
        Some(format!(
            "                ({name:?}, {}),\n",
            field(&layer.kind)?
        ))
    });
    let entries: String = entries.collect();
    format!(
        "    use crate::Imported;\n\n    impl Model {{\n        pub fn into_modules(self) -> Vec<(&'static str, Imported)> \
         {{\n            vec![\n{entries}            ]\n        }}\n    }}\n"
    )
}
