//! One layer as a Burn module: its parameters and how it computes.

use burn::module::{Module, Param, ParamId, RunningState};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::interpolate::{Interpolate2d, Interpolate2dConfig, InterpolateMode};
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::nn::{
    BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Identity, Linear, PaddingConfig2d,
};
use burn::tensor::{Device, Int, Tensor, TensorData};
use kiln_backbone::Imported;
use kiln_model::{Activation, Interpolation, Layer, LayerKind, Pads, Resize2d, Shape};
use kiln_run::{Tensor as Values, Weights, WeightsError};
use sha2::{Digest, Sha256};

use super::Flow;

#[derive(Module, Debug)]
pub enum Block {
    Conv2d(Conv2d),
    MaxPool(MaxPool2d),
    AvgPool(AvgPool2d),
    Resize(Interpolate2d),
    BatchNorm(BatchNorm),
    Dropout(Dropout),
    Dense(Linear),
    /// Activations, reductions and changes of shape: nothing to keep.
    Stateless(Identity),
}

impl Block {
    /// The layer with the given weights, made of the module that was generated of it where there is
    /// one.
    pub fn new(
        layer: &Layer,
        imported: Option<Imported>,
        weights: &Weights,
        device: &Device,
    ) -> Result<Self, WeightsError> {
        let values = |parameter: &str| weights.require(&format!("{}.{parameter}", layer.name));
        Ok(match &layer.kind {
            LayerKind::Conv2d(conv) => {
                let module = if let Some(Imported::Conv2d(module)) = imported {
                    module
                } else {
                    conv2d(layer, conv, device)
                };
                Self::Conv2d(Conv2d {
                    weight: Param::from_tensor(tensor(values("weight")?, device)),
                    bias: module
                        .bias
                        .map(|_| Ok(Param::from_tensor(tensor(values("bias")?, device))))
                        .transpose()?,
                    ..module
                })
            }
            LayerKind::MaxPool(pool) => {
                Self::MaxPool(if let Some(Imported::MaxPool2d(module)) = imported {
                    module
                } else {
                    let config = MaxPool2dConfig::new(pool.pool_size).with_strides(pool.strides);
                    config
                        .with_padding(explicit(pool.pads(layer.image_size())))
                        .init()
                })
            }
            LayerKind::AvgPool(pool) => {
                let config = AvgPool2dConfig::new(pool.pool_size).with_strides(pool.strides);
                // As in Keras, the mean is of what lies in the image.
                let config = config
                    .with_padding(explicit(pool.pads(layer.image_size())))
                    .with_count_include_pad(false);
                Self::AvgPool(config.init())
            }
            LayerKind::Resize(Resize2d {
                height,
                width,
                interpolation: Interpolation::Bilinear,
            }) => {
                let config = Interpolate2dConfig::new().with_output_size(Some([*height, *width]));
                Self::Resize(
                    config
                        .with_mode(InterpolateMode::Linear)
                        .with_align_corners(false)
                        .init(),
                )
            }
            LayerKind::BatchNorm(norm) => {
                let mean = values("running_mean")?;
                let module = match imported {
                    Some(Imported::BatchNorm(module)) => module,
                    _ => BatchNormConfig::new(mean.data.len())
                        .with_epsilon(norm.epsilon)
                        .init(device),
                };
                Self::BatchNorm(BatchNorm {
                    gamma: Param::from_tensor(tensor(values("weight")?, device)),
                    beta: Param::from_tensor(tensor(values("bias")?, device)),
                    running_mean: RunningState::new(tensor(mean, device)),
                    running_var: RunningState::new(tensor(values("running_var")?, device)),
                    // Keras's and ONNX's momentum is the share that is kept, Burn's the share that
                    // is replaced.
                    momentum: 1.0 - norm.momentum,
                    ..module
                })
            }
            LayerKind::Dropout { rate } => Self::Dropout(DropoutConfig::new(*rate).init()),
            LayerKind::Dense(_) => Self::Dense(Linear {
                // Burn keeps [inputs, outputs].
                weight: Param::from_tensor(tensor::<2>(values("weight")?, device).transpose()),
                bias: match values("bias") {
                    Ok(bias) => Some(Param::from_tensor(tensor(bias, device))),
                    Err(_) => None,
                },
            }),
            LayerKind::Flatten {}
            | LayerKind::GlobalMaxPool {}
            | LayerKind::GlobalAvgPool {}
            | LayerKind::ChannelMax {}
            | LayerKind::Reshape { .. }
            | LayerKind::Resize(_)
            | LayerKind::Activation { .. }
            | LayerKind::Relu {}
            | LayerKind::Softmax {} => Self::Stateless(Identity::new()),
        })
    }

    /// The same with identities that follow from the layer's name.
    pub fn identified(self, layer: &str) -> Self {
        match self {
            Self::Conv2d(conv) => Self::Conv2d(Conv2d {
                weight: identified(conv.weight, layer, "weight"),
                bias: conv.bias.map(|bias| identified(bias, layer, "bias")),
                ..conv
            }),
            Self::Dense(dense) => Self::Dense(Linear {
                weight: identified(dense.weight, layer, "weight"),
                bias: dense.bias.map(|bias| identified(bias, layer, "bias")),
            }),
            Self::BatchNorm(norm) => Self::BatchNorm(BatchNorm {
                gamma: identified(norm.gamma, layer, "weight"),
                beta: identified(norm.beta, layer, "bias"),
                ..norm
            }),
            other @ (Self::MaxPool(_)
            | Self::AvgPool(_)
            | Self::Resize(_)
            | Self::Dropout(_)
            | Self::Stateless(_)) => other,
        }
    }

    /// The layer's parameters by their full names.
    pub fn tensors(&self, layer: &str) -> Vec<(String, Values)> {
        let named = |parameter: &str, values: Values| (format!("{layer}.{parameter}"), values);
        match self {
            Self::Conv2d(conv) => std::iter::once(named("weight", values(conv.weight.val())))
                .chain(
                    conv.bias
                        .as_ref()
                        .map(|bias| named("bias", values(bias.val()))),
                )
                .collect(),
            Self::Dense(dense) => {
                std::iter::once(named("weight", values(dense.weight.val().transpose())))
                    .chain(
                        dense
                            .bias
                            .as_ref()
                            .map(|bias| named("bias", values(bias.val()))),
                    )
                    .collect()
            }
            Self::BatchNorm(norm) => vec![
                named("weight", values(norm.gamma.val())),
                named("bias", values(norm.beta.val())),
                // `value` may lag one step behind.
                named("running_mean", values(norm.running_mean.value_sync())),
                named("running_var", values(norm.running_var.value_sync())),
            ],
            Self::MaxPool(_)
            | Self::AvgPool(_)
            | Self::Resize(_)
            | Self::Dropout(_)
            | Self::Stateless(_) => Vec::new(),
        }
    }

    pub fn forward(&self, kind: &LayerKind, flow: Flow) -> Flow {
        match (self, kind) {
            (Self::Conv2d(module), LayerKind::Conv2d(conv)) => {
                Flow::Image(module.forward(flow.into_image())).activate(conv.activation)
            }
            (Self::Dense(module), LayerKind::Dense(dense)) => {
                Flow::Vector(module.forward(flow.into_vector())).activate(dense.activation)
            }
            (Self::AvgPool(module), _) => Flow::Image(module.forward(flow.into_image())),
            (Self::Resize(module), _) => Flow::Image(module.forward(flow.into_image())),
            (Self::MaxPool(module), _) => Flow::Image(module.forward(flow.into_image())),
            (Self::BatchNorm(module), _) => match flow {
                Flow::Image(image) => Flow::Image(module.forward(image)),
                Flow::Vector(vector) => Flow::Vector(module.forward(vector)),
            },
            (Self::Dropout(module), _) => match flow {
                Flow::Image(image) => Flow::Image(module.forward(image)),
                Flow::Vector(vector) => Flow::Vector(module.forward(vector)),
            },
            (Self::Stateless(_), LayerKind::Flatten {}) => flow.flatten(),
            (Self::Stateless(_), LayerKind::GlobalMaxPool {}) => Flow::Vector(
                flow.into_image()
                    .flatten::<3>(2, 3)
                    .max_dim(2)
                    .squeeze_dim(2),
            ),
            (Self::Stateless(_), LayerKind::GlobalAvgPool {}) => Flow::Vector(
                flow.into_image()
                    .flatten::<3>(2, 3)
                    .mean_dim(2)
                    .squeeze_dim(2),
            ),
            (Self::Stateless(_), LayerKind::ChannelMax {}) => {
                Flow::Image(flow.into_image().max_dim(1))
            }
            (Self::Stateless(_), LayerKind::Resize(resize)) => {
                Flow::Image(nearest(flow.into_image(), resize))
            }
            (Self::Stateless(_), LayerKind::Reshape { target_shape }) => {
                flow.reshape(match target_shape[..] {
                    [channels, height, width] => Shape::Image {
                        channels,
                        height,
                        width,
                    },
                    _ => Shape::Vector(target_shape.iter().product()),
                })
            }
            (Self::Stateless(_), LayerKind::Activation { activation }) => {
                flow.activate(Some(*activation))
            }
            (Self::Stateless(_), LayerKind::Relu {}) => flow.activate(Some(Activation::Relu)),
            (Self::Stateless(_), LayerKind::Softmax {}) => flow.activate(Some(Activation::Softmax)),
            _ => unreachable!("a block is built from its layer"),
        }
    }
}

/// Each pixel is the one in whose area its centre lies. Burn's own nearest neighbour takes the one
/// at its upper left corner.
fn nearest(image: Tensor<4>, resize: &Resize2d) -> Tensor<4> {
    let device = image.device();
    let [_, _, height, width] = image.dims();
    let indices = |from: usize, to: usize| {
        let at: Vec<i64> = (0..to)
            .map(|i| ((2 * i + 1) * from / (2 * to)) as i64)
            .collect();
        Tensor::<1, Int>::from_data(TensorData::new(at, [to]), &device)
    };
    image
        .select(2, indices(height, resize.height))
        .select(3, indices(width, resize.width))
}

/// A convolution with weights of no meaning.
fn conv2d(layer: &Layer, conv: &kiln_model::Conv2d, device: &Device) -> Conv2d {
    let channels = layer.input.dims()[0];
    Conv2dConfig::new([channels, conv.filters], conv.kernel_size)
        .with_stride(conv.strides)
        .with_padding(explicit(conv.pads(layer.image_size())))
        .with_dilation(conv.dilation_rate)
        .with_groups(conv.groups)
        .with_bias(conv.use_bias)
        .init(device)
}

fn explicit(
    Pads {
        top,
        left,
        bottom,
        right,
    }: Pads,
) -> PaddingConfig2d {
    PaddingConfig2d::Explicit(top, left, bottom, right)
}

fn tensor<const D: usize>(values: &Values, device: &Device) -> Tensor<D> {
    Tensor::from_data(
        TensorData::new(values.data.clone(), values.shape.clone()),
        device,
    )
}

/// The same parameter with an identity that follows from its name, and so is the same in every
/// process: the optimizer's state goes by it.
fn identified<const D: usize>(
    param: Param<Tensor<D>>,
    layer: &str,
    parameter: &str,
) -> Param<Tensor<D>> {
    let (_, tensor, mapper) = param.consume();
    let hash = Sha256::digest(format!("{layer}.{parameter}"));
    let id = u64::from_le_bytes(*hash.first_chunk().expect("a digest has 32 bytes"));
    Param::from_mapped_value(ParamId::from(id), tensor, mapper)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Values {
    let shape = tensor.dims().to_vec();
    let data = tensor.try_into_vec_as().expect("parameters are f32");
    Values { shape, data }
}
