//! VGG16's convolution base as Burn layers.

use burn::module::Param;
use burn::nn::conv::Conv2d;
use burn::nn::pool::MaxPool2d;
use burn::tensor::{Device, TensorData};

use crate::generated::vgg16::Model;
use crate::weights::{ConvWeights, Vgg16Weights};

/// The layers of VGG16's convolution base with weights, in order.
///
/// A `Relu` follows each convolution; a pooling layer follows convolutions 2, 4, 7, 10 and 13. From an input
/// `[batch, 3, height, width]` the whole base makes `[batch, 512, floor(height / 32), floor(width / 32)]`.
#[derive(Debug, Clone)]
pub struct Vgg16 {
    /// The 13 convolutions: 3x3, stride 1, padding 1, with bias.
    pub convs: Vec<Conv2d>,
    /// The 5 max-pooling layers: 2x2, stride 2.
    pub pools: Vec<MaxPool2d>,
}

impl Vgg16 {
    /// The layers with copies of these weights on `device`. On an autodiff device all parameters ask for gradients.
    ///
    /// # Panics
    ///
    /// If the weights' sizes are not VGG16's; those from [`Vgg16Weights::from_onnx`] always are.
    pub fn new(weights: &Vgg16Weights, device: &Device) -> Self {
        let (convs, pools) = model(weights, device).into_layers();
        Self { convs: convs.into(), pools: pools.into() }
    }
}

/// The generated model with copies of these weights.
fn model(weights: &Vgg16Weights, device: &Device) -> Model {
    let mut model = Model::new(device);
    for (conv, weights) in model.convs_mut().into_iter().zip(&weights.convs) {
        set(conv, weights, device);
    }
    model
}

/// Replaces a convolution's parameters. They are initialised lazily, so that no random weights are drawn for nothing.
fn set(conv: &mut Conv2d, weights: &ConvWeights, device: &Device) {
    let ConvWeights { weight, bias, filters, channels } = weights;
    let [rows, columns] = conv.kernel_size;
    conv.weight = Param::from_data(TensorData::new(weight.clone(), [*filters, *channels, rows, columns]), device);
    conv.bias = Some(Param::from_data(TensorData::new(bias.clone(), [*filters]), device));
}

#[cfg(test)]
mod tests {
    use burn::nn::PaddingConfig2d;
    use burn::tensor::activation::relu;
    use burn::tensor::{Distribution, Tensor};

    use super::*;
    use crate::layout::{Layer, layers};

    /// Weights that keep the size of the values about the same from layer to layer (He's), so that no layer's mistake is
    /// lost on the way.
    fn weights() -> Vgg16Weights {
        let mut state = 1_u32;
        let mut uniform = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        };
        let convs = layers().into_iter().filter_map(|layer| match layer {
            Layer::Conv { channels, filters, .. } => {
                let bound = (6.0 / (channels * 9) as f32).sqrt();
                let weight = (0..filters * channels * 9).map(|_| bound * uniform()).collect();
                let bias = (0..filters).map(|_| 0.1 * uniform()).collect();
                Some(ConvWeights { weight, bias, filters, channels })
            }
            Layer::Pool { .. } => None,
        });
        Vgg16Weights { convs: convs.collect::<Vec<_>>().try_into().unwrap() }
    }

    #[test]
    fn the_layers_compose_to_the_generated_network() {
        let (weights, device) = (weights(), Device::default());
        // Sides that are no multiple of 32, and different ones.
        let image = Tensor::<4>::random([2, 3, 71, 38], Distribution::Uniform(-1.0, 1.0), &device);
        let expected = model(&weights, &device).forward(image.clone());
        assert_eq!(expected.dims(), [2, 512, 2, 1]);
        let vgg16 = Vgg16::new(&weights, &device);
        let (mut convs, mut pools) = (vgg16.convs.iter(), vgg16.pools.iter());
        let found = layers().into_iter().fold(image, |value, layer| match layer {
            Layer::Conv { .. } => relu(convs.next().unwrap().forward(value)),
            Layer::Pool { .. } => pools.next().unwrap().forward(value),
        });
        let (expected, found) = (expected.into_data(), found.into_data());
        assert_eq!(found, expected);
        let values = expected.as_slice::<f32>().unwrap();
        assert!(values.iter().filter(|&&value| value > 0.01).count() > values.len() / 4, "the features vanished");
    }

    #[test]
    fn the_layers_are_vgg16s_and_hold_the_weights() {
        let weights = weights();
        let vgg16 = Vgg16::new(&weights, &Device::default());
        for (conv, weights) in vgg16.convs.iter().zip(&weights.convs) {
            assert_eq!(conv.weight.dims(), [weights.filters, weights.channels, 3, 3]);
            assert_eq!((conv.stride, conv.dilation, conv.groups), ([1, 1], [1, 1], 1));
            assert_eq!(conv.padding, PaddingConfig2d::Explicit(1, 1, 1, 1));
            assert_eq!(conv.weight.val().into_data().as_slice::<f32>().unwrap(), weights.weight);
            let bias = conv.bias.as_ref().unwrap();
            assert_eq!(bias.val().into_data().as_slice::<f32>().unwrap(), weights.bias);
        }
        for pool in &vgg16.pools {
            assert_eq!((pool.kernel_size, pool.stride, pool.ceil_mode), ([2, 2], [2, 2], false));
            assert_eq!(pool.padding, PaddingConfig2d::Valid);
        }
    }
}
