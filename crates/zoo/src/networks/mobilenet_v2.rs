//! `MobileNetV2`.

use kiln_model::networks::MOBILENET_V2;
use kiln_onnx::ModelProto;

use super::assembly::{Assembly, Conv, ConvTensors, Maps, Padding};
use crate::error::ConvertError;

/// `PyTorch`'s default.
const EPSILON: f32 = 1e-5;

/// `MobileNetV2` 1.0 up to its 1,280 features. Tensors and nodes are named by the paths of modules, such as
/// `features.1.conv.0`, where convolution, normalization and `ReLU6` have a number each.
pub(super) fn features(mut net: Assembly<'_>) -> Result<ModelProto, ConvertError> {
    let input = net.input();
    let mut maps = conv_bn(&mut net, "features.0", 0, &input, conv(32, 3, 2))?;
    maps = net.relu6("features_0_2", &maps);
    let mut number = 1;
    for stage in MOBILENET_V2 {
        for at in 0..stage.blocks {
            let stride = if at == 0 { stage.stride } else { 1 };
            maps = block(
                &mut net,
                number,
                &maps,
                stage.expansion,
                stage.filters,
                stride,
            )?;
            number += 1;
        }
    }
    maps = conv_bn(
        &mut net,
        &format!("features.{number}"),
        0,
        &maps,
        conv(1280, 1, 1),
    )?;
    maps = net.relu6(&format!("features_{number}_2"), &maps);
    net.pooled(&maps, "features");
    net.finish("features", maps.channels)
}

/// Widens, convolves each channel, narrows, and adds the input where it has the same shape.
fn block(
    net: &mut Assembly<'_>,
    number: usize,
    input: &Maps,
    expansion: usize,
    filters: usize,
    stride: usize,
) -> Result<Maps, ConvertError> {
    let path = format!("features.{number}.conv");
    let node = |at: usize| format!("features_{number}_conv_{at}");
    let wide = input.channels * expansion;
    let mut maps = input.clone();
    let mut at = 0;
    if expansion > 1 {
        maps = conv_bn(net, &path, at, &maps, conv(wide, 1, 1))?;
        maps = net.relu6(&node(at + 2), &maps);
        at += 3;
    }
    let depthwise = Conv {
        depthwise: true,
        ..conv(wide, 3, stride)
    };
    maps = conv_bn(net, &path, at, &maps, depthwise)?;
    maps = net.relu6(&node(at + 2), &maps);
    maps = conv_bn(net, &path, at + 3, &maps, conv(filters, 1, 1))?;
    if stride == 1 && input.channels == filters {
        maps = net.add(&format!("features_{number}_add"), input, &maps);
    }
    Ok(maps)
}

const fn conv(filters: usize, kernel: usize, stride: usize) -> Conv {
    Conv::new(filters, kernel, stride, Padding::Half)
}

/// Adds the convolution `PATH.AT` and the batch normalization after it, `PATH.(AT + 1)`.
fn conv_bn(
    net: &mut Assembly<'_>,
    path: &str,
    at: usize,
    input: &Maps,
    conv: Conv,
) -> Result<Maps, ConvertError> {
    let node = |name: &str| name.replace('.', "_");
    let name = format!("{path}.{at}");
    let maps = net.conv(&node(&name), input, ConvTensors::Torch(&name), conv)?;
    let name = format!("{path}.{}", at + 1);
    net.batch_norm(&node(&name), &maps, &name, EPSILON)
}
