//! Pretrained convolution bases that a recipe can name.

use serde::Serialize;

use crate::{Activation, Conv2d, LayerKind, LayerSpec, Padding, Pool};

/// `[backbone]`: a pretrained base in front of the recipe's own layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Backbone {
    /// Which network.
    pub name: BackboneName,
    /// An asset's name or the path of an ONNX file.
    pub weights: String,
}

/// A pretrained base that kiln knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BackboneName {
    /// VGG16 without its dense layers: 13 convolutions in 5 blocks. Simonyan and Zisserman (2015), configuration D.
    Vgg16,
}

impl BackboneName {
    /// As written in a recipe.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vgg16 => "vgg16",
        }
    }

    /// Its layers, called as in Keras: `block1_conv1`, …, `block5_pool`.
    pub fn layers(self) -> Vec<LayerSpec> {
        match self {
            Self::Vgg16 => vgg16(),
        }
    }
}

/// Filters of the convolutions of each block.
const VGG16: [&[usize]; 5] = [&[64, 64], &[128, 128], &[256, 256, 256], &[512, 512, 512], &[512, 512, 512]];

fn vgg16() -> Vec<LayerSpec> {
    let mut layers = Vec::new();
    for (block, filters) in (1..).zip(VGG16) {
        layers.extend((1..).zip(filters).map(|(number, &filters)| LayerSpec {
            name: Some(format!("block{block}_conv{number}")),
            kind: LayerKind::Conv2d(Conv2d {
                filters,
                kernel_size: [3, 3],
                strides: [1, 1],
                padding: Padding::Same,
                dilation_rate: [1, 1],
                groups: 1,
                use_bias: true,
                activation: Some(Activation::Relu),
            }),
        }));
        let pool = Pool { pool_size: [2, 2], strides: [2, 2] };
        layers.push(LayerSpec { name: Some(format!("block{block}_pool")), kind: LayerKind::MaxPool(pool) });
    }
    layers
}
