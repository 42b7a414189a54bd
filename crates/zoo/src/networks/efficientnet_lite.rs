//! EfficientNet-Lite: inverted residual blocks with `ReLU6`, without squeeze and excitation.

use kiln_model::networks::{EFFICIENTNET_B0, Stage};
use kiln_onnx::ModelProto;

use super::assembly::{Assembly, Conv, ConvTensors, Maps, Padding};
use crate::error::ConvertError;

/// TensorFlow's default.
const EPSILON: f32 = 1e-3;

/// EfficientNet-Lite0 with its classifier. Tensors are named as in the package `efficientnet-lite-pytorch`.
pub(super) fn lite0(mut net: Assembly<'_>) -> Result<ModelProto, ConvertError> {
    let input = net.input();
    let stem = conv_bn(&mut net, "", "_conv_stem", "_bn0", &input, conv(32, 3, 2))?;
    let mut maps = net.relu6("relu0", &stem);
    let mut number = 0;
    for stage in &EFFICIENTNET_B0 {
        for at in 0..stage.blocks {
            let stride = if at == 0 { stage.stride } else { 1 };
            maps = block(&mut net, number, &maps, stage, stride)?;
            number += 1;
        }
    }
    let head = conv_bn(&mut net, "", "_conv_head", "_bn1", &maps, conv(1280, 1, 1))?;
    let head = net.relu6("relu1", &head);
    let features = net.pooled(&head, "features");
    net.dense("fc", (&features, head.channels), "_fc", ("logits", 1000))?;
    net.finish("logits", 1000)
}

/// Widens, convolves each channel, narrows, and adds the input where it has the same shape.
fn block(
    net: &mut Assembly<'_>,
    number: usize,
    input: &Maps,
    stage: &Stage,
    stride: usize,
) -> Result<Maps, ConvertError> {
    let prefix = format!("_blocks.{number}.");
    let node = |name: &str| format!("blocks_{number}_{name}");
    let wide = input.channels * stage.expansion;
    let mut maps = input.clone();
    if stage.expansion > 1 {
        maps = conv_bn(
            net,
            &prefix,
            "_expand_conv",
            "_bn0",
            &maps,
            conv(wide, 1, 1),
        )?;
        maps = net.relu6(&node("relu0"), &maps);
    }
    let depthwise = Conv {
        depthwise: true,
        ..conv(wide, stage.kernel, stride)
    };
    maps = conv_bn(net, &prefix, "_depthwise_conv", "_bn1", &maps, depthwise)?;
    maps = net.relu6(&node("relu1"), &maps);
    let narrow = conv(stage.filters, 1, 1);
    maps = conv_bn(net, &prefix, "_project_conv", "_bn2", &maps, narrow)?;
    if stride == 1 && input.channels == stage.filters {
        maps = net.add(&node("add"), &maps, input);
    }
    Ok(maps)
}

const fn conv(filters: usize, kernel: usize, stride: usize) -> Conv {
    Conv::new(filters, kernel, stride, Padding::Same)
}

/// Adds a convolution and its batch normalization: `_blocks.0._bn1` becomes the node `blocks_0_bn1`.
fn conv_bn(
    net: &mut Assembly<'_>,
    prefix: &str,
    conv_name: &str,
    norm_name: &str,
    input: &Maps,
    conv: Conv,
) -> Result<Maps, ConvertError> {
    let node = |name: &str| {
        let path = format!("{prefix}{name}").replace("._", "_");
        path.trim_start_matches('_').replace('.', "_")
    };
    let tensors = format!("{prefix}{conv_name}");
    let maps = net.conv(&node(conv_name), input, ConvTensors::Torch(&tensors), conv)?;
    let tensors = format!("{prefix}{norm_name}");
    net.batch_norm(&node(norm_name), &maps, &tensors, EPSILON)
}
