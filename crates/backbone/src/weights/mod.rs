//! VGG16's weights, read from an ONNX file. Nothing here knows Burn.

mod attributes;
mod chain;
mod constants;
mod conv;
mod error;
mod find;
mod padding;
mod pool;
#[cfg(test)]
mod tests;
mod transpose;

pub use error::BackboneError;

use std::fmt;

use kiln_onnx::{ModelProto, TensorProto};

use crate::layout::CONVS;
use conv::Conv;

/// The weights of VGG16's 13 convolutions, in order.
///
/// The order of the first convolution's input channels and the range of the pixels are those that the file's network was
/// trained with; a file does not say which. Keras's weights expect Caffe's preprocessing: BGR, 0 to 255, less the mean
/// 103.939, 116.779, 123.68. torchvision's expect RGB, 0 to 1, less the mean 0.485, 0.456, 0.406, divided by 0.229,
/// 0.224, 0.225.
#[derive(Debug, Clone, PartialEq)]
pub struct Vgg16Weights {
    /// `block1_conv1` to `block5_conv3`.
    pub convs: [ConvWeights; CONVS],
}

/// The weights of one convolution.
#[derive(Clone, PartialEq)]
pub struct ConvWeights {
    /// Kernel `[filters, channels, 3, 3]`, row-major, as ONNX and PyTorch order it.
    pub weight: Vec<f32>,
    /// Bias, one value per filter.
    pub bias: Vec<f32>,
    /// Number of output channels.
    pub filters: usize,
    /// Number of input channels.
    pub channels: usize,
}

impl Vgg16Weights {
    /// Reads the weights out of a VGG16 model, of whichever exporter.
    ///
    /// The layers are found by following the image from the graph's one input: transposes NHWC to NCHW first, if any;
    /// then each convolution with its bias (its own or a separate `Add`), its padding (its own or a separate `Pad`) and
    /// its `Relu`, and the pooling layers between the blocks. What comes after the fifth pooling is ignored; a graph may
    /// end before it. A graph with anything else is refused with the first difference, since weights of another network
    /// would train badly without saying why.
    pub fn from_onnx(model: &ModelProto) -> Result<Self, BackboneError> {
        let convs = find::convs(model)?;
        let convs = convs.iter().map(ConvWeights::read).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { convs: convs.try_into().expect("`find::convs` gives 13") })
    }
}

impl ConvWeights {
    fn read(conv: &Conv<'_>) -> Result<Self, BackboneError> {
        let values = |tensor: &TensorProto| {
            let values = tensor
                .to_f32()
                .map_err(|source| BackboneError::Tensor { node: conv.node.clone(), source: source.into() })?;
            match values.iter().find(|value| !value.is_finite()) {
                None => Ok(values),
                Some(&value) => {
                    Err(BackboneError::NotFinite { node: conv.node.clone(), tensor: tensor.name.clone(), value })
                }
            }
        };
        Ok(Self {
            weight: values(conv.weight)?,
            bias: values(conv.bias)?,
            filters: conv.filters,
            channels: conv.channels,
        })
    }
}

/// Without the values, which are millions.
impl fmt::Debug for ConvWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { filters, channels, .. } = self;
        f.debug_struct("ConvWeights").field("filters", filters).field("channels", channels).finish_non_exhaustive()
    }
}
