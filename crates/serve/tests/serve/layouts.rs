//! Graphs that take pixels, or channels last: tensors are as the graph takes them.

use std::io::Cursor;
use std::path::Path;

use kiln_inference::image::{ImageFormat, Rgb, RgbImage};
use kiln_inference::{Channels, Layout, OutputKind, Preprocessing};
use kiln_onnx::{DataType, Dim, GraphBuilder, Metadata, encode};
use serde_json::{Value, json};

use crate::server::Server;

/// A model whose scores are the means of red, green and blue of an image of 3x2 pixels, channels last.
fn means(path: &Path, data_type: DataType) {
    let shape = |sides: &[usize]| {
        let batch = std::iter::once(Dim::Symbol("batch".into()));
        let sides = sides.iter().map(|&side| Dim::Fixed(side));
        batch.chain(sides).collect::<Vec<_>>()
    };
    let mut graph = GraphBuilder::new("means");
    graph.opset(13);
    graph
        .input_of(data_type, "pixels", shape(&[3, 2, 3]))
        .output("scores", shape(&[3]));
    graph
        .node("Cast", "cast", &["pixels"], "floats")
        .int("to", 1);
    graph
        .node("ReduceMean", "mean", &["floats"], "scores")
        .ints("axes", [1, 2])
        .int("keepdims", 0);
    let mut model = graph.finish().unwrap();
    model.set_metadata(&Metadata {
        preprocessing: Some(Preprocessing::raw(3, 2, Channels::Rgb)),
        labels: Some(["red", "green", "blue"].map(str::to_owned).to_vec()),
        layout: Some(Layout::Nhwc),
        output: Some(OutputKind::Logits),
        ..Metadata::default()
    });
    std::fs::write(path, encode(&model)).unwrap();
}

#[test]
fn pixels_and_channels_last_are_taken_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    means(&folder.path().join("bytes.onnx"), DataType::Uint8);
    means(&folder.path().join("floats.onnx"), DataType::Float);
    let server = Server::start(&[folder.path().to_str().unwrap()]);
    // Every pixel is another, and green is most of each.
    let pixel = |at: u8| [at, 200 + at, 100 - at];
    let pixels: Vec<u8> = (0..6).flat_map(pixel).collect();
    let image = RgbImage::from_fn(2, 3, |x, y| Rgb(pixel((2 * y + x) as u8)));
    let mut png = Cursor::new(Vec::new());
    image.write_to(&mut png, ImageFormat::Png).unwrap();
    for (model, datatype, other) in [("bytes", "UINT8", "FP32"), ("floats", "FP32", "UINT8")] {
        let metadata = server.get(&format!("/v2/models/{model}")).json();
        let input = &metadata["inputs"][0];
        assert_eq!(
            (&input["datatype"], &input["shape"]),
            (&json!(datatype), &json!([-1, 3, 2, 3]))
        );
        let path = format!("/v2/models/{model}/infer");
        let request = |datatype: &str, shape: &[usize]| {
            let input =
                json!({"name": "pixels", "datatype": datatype, "shape": shape, "data": pixels});
            json!({"inputs": [input]}).to_string()
        };
        let answer = server
            .post(&path, &[], request(datatype, &[1, 3, 2, 3]).as_bytes())
            .json();
        let outputs = &answer["outputs"];
        assert_eq!(outputs[0]["data"], json!([2.5, 202.5, 97.5]), "{model}");
        assert_eq!(outputs[2]["data"], json!(["green"]));
        let error = server
            .post(&path, &[], request(other, &[1, 3, 2, 3]).as_bytes())
            .error(400);
        assert!(error.contains(&format!("expected {datatype}")), "{error}");
        server
            .post(&path, &[], request(datatype, &[1, 3, 3, 2]).as_bytes())
            .error(400);
        // Binary, and as an image file.
        let raw: Vec<u8> = match datatype {
            "UINT8" => pixels.clone(),
            _ => pixels
                .iter()
                .flat_map(|&it| f32::from(it).to_le_bytes())
                .collect(),
        };
        let head =
            json!({"inputs": [{"name": "pixels", "datatype": datatype, "shape": [1, 3, 2, 3],
            "parameters": {"binary_data_size": raw.len()}}]})
            .to_string();
        let length = format!("Inference-Header-Content-Length: {}", head.len());
        let body = [head.as_bytes(), &raw].concat();
        let found: Value = server.post(&path, &[&length], &body).json();
        assert_eq!(found["outputs"], answer["outputs"]);
        let prediction = server
            .post(&format!("/predict?model={model}"), &[], png.get_ref())
            .json();
        assert_eq!(prediction["predictions"][0]["label"], "green");
    }
}
