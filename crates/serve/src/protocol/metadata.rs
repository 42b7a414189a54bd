//! What the server and its models say of themselves.

use serde::Serialize;

use crate::model::Served;

/// The server's name in its metadata.
pub const SERVER_NAME: &str = "kiln";
/// What the server has beyond the protocol, by the names that Triton gave them.
pub const EXTENSIONS: [&str; 3] = ["binary_tensor_data", "classification", "model_repository"];

/// Answer to a question about the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerMetadata {
    pub name: &'static str,
    pub version: &'static str,
    pub extensions: Vec<&'static str>,
}

/// Answer to a question about a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelMetadata {
    pub name: String,
    pub versions: Vec<String>,
    pub platform: String,
    pub inputs: Vec<TensorMetadata>,
    pub outputs: Vec<TensorMetadata>,
}

/// Name, type and shape of a tensor; -1 is any number of images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TensorMetadata {
    pub name: String,
    pub datatype: &'static str,
    pub shape: Vec<i64>,
}

/// Returns what the server says of itself.
pub fn server_metadata() -> ServerMetadata {
    ServerMetadata {
        name: SERVER_NAME,
        version: kiln_util::VERSION,
        extensions: EXTENSIONS.into(),
    }
}

/// Returns the input of a model's graph.
pub fn model_input(served: &Served) -> TensorMetadata {
    let shape = served.image_shape().map(|side| side as i64);
    TensorMetadata {
        name: served.input_name.clone(),
        datatype: if served.takes_pixels() {
            "UINT8"
        } else {
            "FP32"
        },
        shape: std::iter::once(-1).chain(shape).collect(),
    }
}

/// Returns what a model says of itself. Its input is that of the graph; images as `BYTES` are taken in its place.
pub fn model_metadata(served: &Served, versions: Vec<String>) -> ModelMetadata {
    let output = |name: &str, datatype, shape: &[usize]| TensorMetadata {
        name: name.to_owned(),
        datatype,
        shape: std::iter::once(-1)
            .chain(shape.iter().map(|&side| side as i64))
            .collect(),
    };
    let spec = served.model.spec();
    let classes = served.model.labels().len();
    let scores = if spec.scores.is_binary { 1 } else { classes };
    let mut outputs = vec![output(&spec.output_name, "FP32", &[scores])];
    for (name, datatype, shape) in [
        (super::infer::PROBABILITIES, "FP32", &[classes][..]),
        (super::infer::LABEL, "BYTES", &[]),
    ] {
        if name != spec.output_name {
            outputs.push(output(name, datatype, shape));
        }
    }
    ModelMetadata {
        name: served.name.clone(),
        versions,
        platform: format!("onnx_{}", served.engine().name()),
        inputs: vec![model_input(served)],
        outputs,
    }
}
