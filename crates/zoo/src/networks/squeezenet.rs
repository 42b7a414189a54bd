//! `SqueezeNet` 1.1.

use kiln_onnx::ModelProto;

use super::assembly::{Assembly, Conv, ConvTensors, Maps, Padding};
use crate::error::ConvertError;

/// Fire modules and their filters: of the squeezing convolution, and of each of the two that follow.
const FIRES: [(usize, usize, usize); 8] = [
    (2, 16, 64),
    (3, 16, 64),
    (4, 32, 128),
    (5, 32, 128),
    (6, 48, 192),
    (7, 48, 192),
    (8, 64, 256),
    (9, 64, 256),
];

/// `SqueezeNet` 1.1 with its classifier, a convolution. Tensors have the names of layers and lie as in Keras.
pub(super) fn classifier(mut net: Assembly<'_>) -> Result<ModelProto, ConvertError> {
    let input = net.input();
    let mut maps = conv_relu(&mut net, "conv1", &input, conv(64, 3, 2))?;
    maps = net.max_pool("pool1", &maps, 3, 2);
    for (number, squeeze, expand) in FIRES {
        maps = fire(&mut net, number, &maps, squeeze, expand)?;
        if matches!(number, 3 | 5) {
            maps = net.max_pool(&format!("pool{number}"), &maps, 3, 2);
        }
    }
    maps = net.conv(
        "conv10",
        &maps,
        ConvTensors::Keras("conv10"),
        conv(1000, 1, 1),
    )?;
    net.pooled(&maps, "logits");
    net.finish("logits", maps.channels)
}

/// Narrows, then widens by kernels of two sizes side by side.
fn fire(
    net: &mut Assembly<'_>,
    number: usize,
    input: &Maps,
    squeeze: usize,
    expand: usize,
) -> Result<Maps, ConvertError> {
    let layer = |name: &str| format!("fire{number}/{name}");
    let squeezed = conv_relu(net, &layer("squeeze1x1"), input, conv(squeeze, 1, 1))?;
    let left = conv_relu(net, &layer("expand1x1"), &squeezed, conv(expand, 1, 1))?;
    let right = conv_relu(net, &layer("expand3x3"), &squeezed, conv(expand, 3, 1))?;
    Ok(net.concat(&format!("fire{number}_concat"), &left, &right))
}

const fn conv(filters: usize, kernel: usize, stride: usize) -> Conv {
    Conv::new(filters, kernel, stride, Padding::Same)
}

fn conv_relu(
    net: &mut Assembly<'_>,
    name: &str,
    input: &Maps,
    conv: Conv,
) -> Result<Maps, ConvertError> {
    let node = name.replace('/', "_");
    let maps = net.conv(&node, input, ConvTensors::Keras(name), conv)?;
    Ok(net.relu(&format!("{node}_relu"), &maps))
}
