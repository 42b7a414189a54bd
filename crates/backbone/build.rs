//! Generates the Burn code of the backbones from ONNX graphs that are built here: no download, no file to keep.

use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;

use burn_import::{LoadStrategy, ModelGen};
use kiln_onnx::{BuildError, Dim, GraphBuilder, ModelProto, encode};

#[path = "src/layout.rs"]
mod layout;

use layout::{Layer, layers};

/// A backbone's name, which is the generated file's (`<name>.rs`), and what builds its graph.
type Backbone = (&'static str, fn() -> Result<ModelProto, BuildError>);

/// The backbones to generate. To add one: a line here, its graph below, and its twin of `src/generated.rs`.
const BACKBONES: [Backbone; 1] = [("vgg16", vgg16)];

fn main() -> Result<(), Box<dyn Error>> {
    // The graphs depend on nothing else.
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/layout.rs");
    let out_dir = env::var("OUT_DIR")?;
    for (name, graph) in BACKBONES {
        let onnx = Path::new(&out_dir).join(format!("{name}.onnx"));
        fs::write(&onnx, encode(&graph()?))?;
        let input = onnx.to_str().ok_or("the path of the target folder is not UTF-8: move it")?;
        ModelGen::new().input(input).out_dir("").load_strategy(LoadStrategy::None).run_from_script();
        // Megabytes of zeros: only the shapes were of interest, the weights themselves are read at run time.
        fs::remove_file(onnx.with_extension("bpk"))?;
        fs::remove_file(onnx)?;
    }
    Ok(())
}

/// VGG16 without its classifier, NCHW.
///
/// The weights are zeros, as initializers: burn-onnx makes modules of convolutions only where their weights are in the
/// graph.
fn vgg16() -> Result<ModelProto, BuildError> {
    let symbol = |name: &str| Dim::Symbol(name.to_owned());
    let mut graph = GraphBuilder::new("vgg16");
    graph.input("input", [symbol(Dim::BATCH), Dim::Fixed(3), symbol("height"), symbol("width")]);
    let mut value = "input".to_owned();
    for layer in layers() {
        let name = layer.name();
        let output = format!("{name}.out");
        match layer {
            Layer::Conv { channels, filters, .. } => {
                let (weight, bias, sum) = (format!("{name}.weight"), format!("{name}.bias"), format!("{name}.sum"));
                graph.initializer(&weight, &[filters, channels, 3, 3], vec![0.0_f32; filters * channels * 9]);
                graph.initializer(&bias, &[filters], vec![0.0_f32; filters]);
                graph.node("Conv", &name, &[&value, &weight, &bias], &sum).ints("pads", [1; 4]);
                graph.node("Relu", &format!("{name}_relu"), &[&sum], &output);
            }
            Layer::Pool { .. } => {
                let pool = &mut graph.node("MaxPool", &name, &[&value], &output);
                pool.ints("kernel_shape", [2; 2]).ints("strides", [2; 2]);
            }
        }
        value = output;
    }
    graph.output(&value, [symbol(Dim::BATCH), Dim::Fixed(512), symbol("rows"), symbol("columns")]);
    graph.finish()
}
