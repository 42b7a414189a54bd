//! One layer as a Burn module: its parameters and how it computes.

use burn::module::{Module, Param, RunningState};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Identity, Linear, PaddingConfig2d};
use burn::tensor::{Device, Tensor, TensorData};
use kiln_backbone::Imported;
use kiln_run::{Tensor as Values, Weights, WeightsError};
use kiln_spec::{Activation, Layer, LayerKind, Padding, Shape};

use super::Flow;

#[derive(Module, Debug)]
pub enum Block {
    Conv2d(Conv2d),
    MaxPool(MaxPool2d),
    BatchNorm(BatchNorm),
    Dropout(Dropout),
    Dense(Linear),
    /// Flatten, relu, softmax: nothing to keep.
    Stateless(Identity),
}

impl Block {
    /// The layer with the given weights, made of the module that was generated of it where there is one.
    pub fn new(
        layer: &Layer,
        imported: Option<Imported>,
        weights: &Weights,
        device: &Device,
    ) -> Result<Self, WeightsError> {
        let values = |parameter: &str| weights.get(&format!("{}.{parameter}", layer.name));
        Ok(match &layer.kind {
            LayerKind::Conv2d(conv) => {
                let module =
                    if let Some(Imported::Conv2d(module)) = imported { module } else { conv2d(layer, conv, device) };
                Self::Conv2d(Conv2d {
                    weight: load(module.weight, values("weight")?, device),
                    bias: module.bias.map(|bias| Ok(load(bias, values("bias")?, device))).transpose()?,
                    ..module
                })
            }
            LayerKind::MaxPool(pool) => Self::MaxPool(match imported {
                Some(Imported::MaxPool2d(module)) => module,
                _ => MaxPool2dConfig::new(pool.pool_size).with_strides(pool.strides).init(),
            }),
            LayerKind::BatchNorm(norm) => {
                let mean = values("running_mean")?;
                let module = match imported {
                    Some(Imported::BatchNorm(module)) => module,
                    _ => BatchNormConfig::new(mean.data.len()).with_epsilon(norm.epsilon).init(device),
                };
                Self::BatchNorm(BatchNorm {
                    gamma: load(module.gamma, values("weight")?, device),
                    beta: load(module.beta, values("bias")?, device),
                    running_mean: RunningState::new(tensor(mean, device)),
                    running_var: RunningState::new(tensor(values("running_var")?, device)),
                    // Keras's and ONNX's momentum is the share that is kept, Burn's the share that is replaced.
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
            LayerKind::Flatten {} | LayerKind::Relu {} | LayerKind::Softmax {} => Self::Stateless(Identity::new()),
        })
    }

    /// The layer's parameters by their full names.
    pub fn tensors(&self, layer: &str) -> Vec<(String, Values)> {
        let named = |parameter: &str, values: Values| (format!("{layer}.{parameter}"), values);
        match self {
            Self::Conv2d(conv) => std::iter::once(named("weight", values(conv.weight.val())))
                .chain(conv.bias.as_ref().map(|bias| named("bias", values(bias.val()))))
                .collect(),
            Self::Dense(dense) => std::iter::once(named("weight", values(dense.weight.val().transpose())))
                .chain(dense.bias.as_ref().map(|bias| named("bias", values(bias.val()))))
                .collect(),
            Self::BatchNorm(norm) => vec![
                named("weight", values(norm.gamma.val())),
                named("bias", values(norm.beta.val())),
                // `value` may lag one step behind.
                named("running_mean", values(norm.running_mean.value_sync())),
                named("running_var", values(norm.running_var.value_sync())),
            ],
            Self::MaxPool(_) | Self::Dropout(_) | Self::Stateless(_) => Vec::new(),
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
            (Self::Stateless(_), LayerKind::Relu {}) => flow.activate(Some(Activation::Relu)),
            (Self::Stateless(_), LayerKind::Softmax {}) => flow.activate(Some(Activation::Softmax)),
            _ => unreachable!("a block is built from its layer"),
        }
    }
}

/// A convolution with weights of no meaning.
fn conv2d(layer: &Layer, conv: &kiln_spec::Conv2d, device: &Device) -> Conv2d {
    let Shape::Image { channels, .. } = layer.input else { unreachable!("a checked model gives a convolution images") };
    let padding = match conv.padding {
        Padding::Valid => PaddingConfig2d::Valid,
        Padding::Same => PaddingConfig2d::Same,
    };
    Conv2dConfig::new([channels, conv.filters], conv.kernel_size)
        .with_stride(conv.strides)
        .with_padding(padding)
        .with_bias(conv.use_bias)
        .init(device)
}

fn tensor<const D: usize>(values: &Values, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.data.clone(), values.shape.clone()), device)
}

/// Gives a parameter other values.
fn load<const D: usize>(param: Param<Tensor<D>>, values: &Values, device: &Device) -> Param<Tensor<D>> {
    let (id, _, mapper) = param.consume();
    Param::from_mapped_value(id, tensor::<D>(values, device), mapper).set_require_grad(true)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Values {
    let shape = tensor.dims().to_vec();
    let data = tensor.try_into_vec_as().expect("parameters are f32");
    Values { shape, data }
}
