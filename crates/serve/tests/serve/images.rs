//! Images, and what a model says of them without a server.

use std::fs;
use std::path::PathBuf;

use kiln_inference::{Model, Prediction, decode_image};

/// An image file, and what is expected of it.
pub struct Image {
    pub bytes: Vec<u8>,
    pub expected: Prediction,
}

/// Distinct digits, each with its prediction, computed one by one as `kiln predict` does for one image.
pub fn digits(count: usize) -> Vec<Image> {
    let model = Model::open(super::server::digits()).unwrap();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/digits/test");
    let mut files: Vec<PathBuf> = Vec::new();
    for class in fs::read_dir(root).unwrap() {
        let class = fs::read_dir(class.unwrap().path()).unwrap();
        files.extend(class.map(|file| file.unwrap().path()));
    }
    // Of all classes, in one order.
    files.sort_by_key(|file| file.file_name().map(ToOwned::to_owned));
    assert!(files.len() >= count, "{} images", files.len());
    files.truncate(count);
    files
        .iter()
        .map(|file| {
            let bytes = fs::read(file).unwrap();
            let expected = model.classify(&decode_image(&bytes).unwrap()).unwrap();
            Image { bytes, expected }
        })
        .collect()
}

/// The prepared values of an image.
pub fn values(image: &Image) -> Vec<f32> {
    let model = Model::open(super::server::digits()).unwrap();
    let mut values = vec![0.0; model.preprocessor().len()];
    let decoded = decode_image(&image.bytes).unwrap();
    model
        .preprocessor()
        .image(&decoded.image, &mut values)
        .unwrap();
    values
}

/// Numbers of an answer as f32, to be compared bit for bit.
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
