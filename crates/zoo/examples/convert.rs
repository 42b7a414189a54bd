//! `convert NETWORK WEIGHTS LABELS ONNX`: converts published weights; `-` for a network without labels.

use std::collections::BTreeMap;
use std::error::Error;
use std::{env, fs};

use kiln_zoo::{Network, read_labels};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [network, weights, labels, onnx] = &arguments[..] else {
        return Err("expected NETWORK WEIGHTS LABELS ONNX".into());
    };
    let network: Network = network.parse()?;
    let labels = if labels == "-" {
        Vec::new()
    } else {
        read_labels(&fs::read(labels)?)?
    };
    let model = network.convert(&fs::read(weights)?, labels, BTreeMap::new())?;
    fs::write(onnx, kiln_onnx::encode(&model))?;
    Ok(())
}
