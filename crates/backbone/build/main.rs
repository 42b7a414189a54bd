//! Generates VGG16's Burn modules.

mod code;
mod graph;

use kiln_model::Base;

fn main() {
    // The package's files alone decide.
    println!("cargo::rerun-if-changed=build");
    if let Err(error) = code::write(&Base::vgg16()) {
        println!("cargo::error={}", error.to_string().replace('\n', " "));
    }
}
