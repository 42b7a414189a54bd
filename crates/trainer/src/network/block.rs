//! One layer as a Burn module: its parameters, its settings and how it computes.

use burn::module::{Module, Param, ParamId, RunningState};
use burn::nn::conv::Conv2dConfig;
use burn::nn::interpolate::{Interpolate2d, Interpolate2dConfig, InterpolateMode};
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, PaddingConfig2d, conv};
use burn::tensor::{Device, Int, Tensor, TensorData};
use kiln_backbone::Imported;
use kiln_model::{
    Activation, AvgPool, Interpolation, Layer, LayerKind, MaxPool, Pads, ParamRole, Pool, Resize2d,
    SegmentLayer, Shape, ShapeError,
};
use kiln_run::{Tensor as Values, Weights, WeightsError};
use sha2::{Digest, Sha256};

use super::Activations;
use super::graph::Graph;
use crate::TrainError;

/// A layer with everything that it computes with.
#[derive(Module, Debug)]
pub enum Block {
    Conv2d(Conv2d),
    MaxPool(MaxPool2d),
    AvgPool(AvgPool2d),
    Bilinear(Interpolate2d),
    BatchNorm(BatchNorm),
    Dropout(Dropout),
    Dense(Dense),
    /// Activations, reductions and changes of shape.
    Stateless(Stateless),
    Segment(Graph),
}

/// A convolution with the function applied to its result.
#[derive(Module, Debug)]
pub struct Conv2d {
    pub conv: conv::Conv2d,
    #[module(skip)]
    activation: Option<Activation>,
}

/// A dense layer with the function applied to its result.
#[derive(Module, Debug)]
pub struct Dense {
    pub linear: Linear,
    #[module(skip)]
    activation: Option<Activation>,
}

/// A layer without parameters that Burn has no module for.
#[derive(Module, Debug)]
pub struct Stateless {
    #[module(skip)]
    function: Function,
}

/// What a layer without parameters computes.
#[derive(Debug, Clone)]
enum Function {
    Flatten,
    GlobalMaxPool,
    GlobalAvgPool,
    ChannelMax,
    Nearest(Resize2d),
    Reshape(Shape),
    Activation(Activation),
}

impl Block {
    /// The layer with the given weights, made of the module that was generated of it where there is
    /// one.
    pub fn new(
        layer: &Layer,
        imported: Option<Imported>,
        weights: &Weights,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let parameters = Parameters {
            layer: &layer.name,
            weights,
            device,
        };
        let stateless = |function| Self::Stateless(Stateless { function });
        Ok(match &layer.kind {
            LayerKind::Conv2d(settings) => {
                let module = match imported {
                    Some(Imported::Conv2d(module)) => module,
                    _ => conv2d(layer, settings, device)?,
                };
                Self::Conv2d(Conv2d {
                    conv: conv::Conv2d {
                        weight: parameters.read(ParamRole::Weight)?,
                        bias: parameters.read_if(settings.use_bias, ParamRole::Bias)?,
                        ..module
                    },
                    activation: settings.activation,
                })
            }
            LayerKind::MaxPool(MaxPool(pool)) => Self::MaxPool(match imported {
                Some(Imported::MaxPool2d(module)) => module,
                _ => MaxPool2dConfig::new(pool.pool_size)
                    .with_strides(pool.strides)
                    .with_padding(pool_padding(layer, pool)?)
                    .init(),
            }),
            LayerKind::AvgPool(AvgPool(pool)) => Self::AvgPool(
                AvgPool2dConfig::new(pool.pool_size)
                    .with_strides(pool.strides)
                    .with_padding(pool_padding(layer, pool)?)
                    .with_count_include_pad(pool.count_include_pad)
                    .init(),
            ),
            LayerKind::Resize(resize) => match resize.interpolation {
                Interpolation::Bilinear => Self::Bilinear(
                    Interpolate2dConfig::new()
                        .with_output_size(Some([resize.height, resize.width]))
                        .with_mode(InterpolateMode::Linear)
                        .with_align_corners(false)
                        .init(),
                ),
                Interpolation::Nearest => stateless(Function::Nearest(resize.clone())),
            },
            LayerKind::BatchNorm(norm) => {
                let mean = parameters.values(ParamRole::RunningMean)?;
                let variance = parameters.values(ParamRole::RunningVar)?;
                let module = BatchNormConfig::new(mean.data.len())
                    .with_epsilon(norm.epsilon)
                    .init(device);
                Self::BatchNorm(BatchNorm {
                    gamma: parameters.read(ParamRole::Weight)?,
                    beta: parameters.read(ParamRole::Bias)?,
                    running_mean: RunningState::new(tensor(mean, device)),
                    running_var: RunningState::new(tensor(variance, device)),
                    // Keras's and ONNX's momentum is the share that is kept, Burn's the share that
                    // is replaced.
                    momentum: 1.0 - norm.momentum,
                    ..module
                })
            }
            LayerKind::Dropout(dropout) => Self::Dropout(DropoutConfig::new(dropout.rate).init()),
            LayerKind::Dense(settings) => {
                let weight = tensor::<2>(parameters.values(ParamRole::Weight)?, device);
                Self::Dense(Dense {
                    linear: Linear {
                        // Burn keeps [inputs, outputs].
                        weight: parameters.identified(weight.transpose(), ParamRole::Weight),
                        bias: parameters.read_if(settings.use_bias, ParamRole::Bias)?,
                    },
                    activation: settings.activation,
                })
            }
            LayerKind::Flatten(_) => stateless(Function::Flatten),
            LayerKind::GlobalMaxPool(_) => stateless(Function::GlobalMaxPool),
            LayerKind::GlobalAvgPool(_) => stateless(Function::GlobalAvgPool),
            LayerKind::ChannelMax(_) => stateless(Function::ChannelMax),
            LayerKind::Reshape(reshape) => stateless(Function::Reshape(reshape.target_shape)),
            LayerKind::Activation(layer) => stateless(Function::Activation(layer.activation)),
            LayerKind::Relu(_) => stateless(Function::Activation(Activation::Relu)),
            LayerKind::Graph(_) => return Err(TrainError::InFile(layer.name.clone())),
            LayerKind::Segment(settings) => Self::Segment(parameters.graph(layer, settings)?),
            LayerKind::DepthwiseConv2d(_)
            | LayerKind::SeparableConv2d(_)
            | LayerKind::LayerNorm(_)
            | LayerKind::LayerScale(_)
            | LayerKind::SqueezeExcite(_)
            | LayerKind::Sequential(_)
            | LayerKind::Residual(_)
            | LayerKind::Branches(_) => {
                let settings = layer.kind.segment(&layer.name, layer.input);
                let settings = settings.expect("a checked model's shapes fit");
                Self::Segment(parameters.graph(layer, &settings)?)
            }
            LayerKind::Softmax(_) => stateless(Function::Activation(Activation::Softmax)),
        })
    }

    /// The parameters of the layer of this name, by their full names.
    pub fn tensors(&self, layer: &str) -> Vec<(String, Values)> {
        let named = |role: ParamRole, values: Values| (role.of(layer), values);
        let with_bias = |weight: Values, bias: Option<&Param<Tensor<1>>>| {
            let bias = bias.map(|bias| named(ParamRole::Bias, values(bias.val())));
            std::iter::once(named(ParamRole::Weight, weight))
                .chain(bias)
                .collect()
        };
        match self {
            Self::Conv2d(Conv2d { conv, .. }) => {
                with_bias(values(conv.weight.val()), conv.bias.as_ref())
            }
            Self::Dense(Dense { linear, .. }) => with_bias(
                values(linear.weight.val().transpose()),
                linear.bias.as_ref(),
            ),
            Self::BatchNorm(norm) => vec![
                named(ParamRole::Weight, values(norm.gamma.val())),
                named(ParamRole::Bias, values(norm.beta.val())),
                // `value` may lag one step behind.
                named(
                    ParamRole::RunningMean,
                    values(norm.running_mean.value_sync()),
                ),
                named(ParamRole::RunningVar, values(norm.running_var.value_sync())),
            ],
            Self::Segment(graph) => graph.tensors(layer),
            Self::MaxPool(_)
            | Self::AvgPool(_)
            | Self::Bilinear(_)
            | Self::Dropout(_)
            | Self::Stateless(_) => Vec::new(),
        }
    }

    /// Computes the layer's output, its activation included, any softmax left out.
    pub fn forward(&self, input: Activations) -> Result<Activations, TrainError> {
        Ok(match self {
            Self::Conv2d(Conv2d { conv, activation }) => {
                Activations::Image(conv.forward(input.into_image()?)).activate(*activation)
            }
            Self::Dense(Dense { linear, activation }) => {
                Activations::Vector(linear.forward(input.into_vector()?)).activate(*activation)
            }
            Self::MaxPool(module) => Activations::Image(module.forward(input.into_image()?)),
            Self::AvgPool(module) => Activations::Image(module.forward(input.into_image()?)),
            Self::Bilinear(module) => Activations::Image(module.forward(input.into_image()?)),
            Self::BatchNorm(module) => match input {
                Activations::Image(image) => Activations::Image(module.forward(image)),
                Activations::Vector(vector) => Activations::Vector(module.forward(vector)),
                Activations::Tokens(tokens) => Activations::Tokens(module.forward(tokens)),
            },
            Self::Dropout(module) => match input {
                Activations::Image(image) => Activations::Image(module.forward(image)),
                Activations::Vector(vector) => Activations::Vector(module.forward(vector)),
                Activations::Tokens(tokens) => Activations::Tokens(module.forward(tokens)),
            },
            Self::Stateless(Stateless { function }) => function.apply(input)?,
            Self::Segment(graph) => graph.forward(input)?,
        })
    }

    /// The segment, if it is one.
    pub fn segment(&self) -> Option<&Graph> {
        match self {
            Self::Segment(graph) => Some(graph),
            Self::Conv2d(_)
            | Self::MaxPool(_)
            | Self::AvgPool(_)
            | Self::Bilinear(_)
            | Self::BatchNorm(_)
            | Self::Dropout(_)
            | Self::Dense(_)
            | Self::Stateless(_) => None,
        }
    }

    /// The batch normalization, if it is one.
    pub fn batch_norm(&self) -> Option<&BatchNorm> {
        match self {
            Self::BatchNorm(norm) => Some(norm),
            Self::Conv2d(_)
            | Self::MaxPool(_)
            | Self::AvgPool(_)
            | Self::Bilinear(_)
            | Self::Dropout(_)
            | Self::Dense(_)
            | Self::Stateless(_)
            | Self::Segment(_) => None,
        }
    }

    /// The dropout, if it is one.
    pub fn dropout(&self) -> Option<&Dropout> {
        match self {
            Self::Dropout(dropout) => Some(dropout),
            Self::Conv2d(_)
            | Self::MaxPool(_)
            | Self::AvgPool(_)
            | Self::Bilinear(_)
            | Self::BatchNorm(_)
            | Self::Dense(_)
            | Self::Stateless(_)
            | Self::Segment(_) => None,
        }
    }
}

impl Function {
    fn apply(&self, input: Activations) -> Result<Activations, ShapeError> {
        let pixels = |image: Tensor<4>| image.flatten::<3>(2, 3);
        Ok(match self {
            Self::Flatten => input.flatten(),
            Self::GlobalMaxPool => {
                let maxima = pixels(input.into_image()?).max_dim(2);
                Activations::Vector(maxima.squeeze_dim(2))
            }
            Self::GlobalAvgPool => {
                let means = pixels(input.into_image()?).mean_dim(2);
                Activations::Vector(means.squeeze_dim(2))
            }
            Self::ChannelMax => Activations::Image(input.into_image()?.max_dim(1)),
            Self::Nearest(resize) => Activations::Image(nearest(input.into_image()?, resize)),
            Self::Reshape(target) => input.reshape(*target),
            Self::Activation(activation) => input.activate(Some(*activation)),
        })
    }
}

/// Each pixel is the one in whose area its center lies. Burn's own nearest neighbor takes the one
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

/// A convolution with placeholder weights.
fn conv2d(
    layer: &Layer,
    settings: &kiln_model::Conv2d,
    device: &Device,
) -> Result<conv::Conv2d, ShapeError> {
    let channels = layer.input.dims()[0];
    let config = Conv2dConfig::new([channels, settings.filters], settings.kernel_size)
        .with_stride(settings.strides)
        .with_padding(explicit(settings.pads(layer.image_size()?)))
        .with_dilation(settings.dilation_rate)
        .with_groups(settings.groups)
        .with_bias(settings.use_bias);
    Ok(config.init(device))
}

fn pool_padding(layer: &Layer, pool: &Pool) -> Result<PaddingConfig2d, ShapeError> {
    layer.image_size().map(|size| explicit(pool.pads(size)))
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

/// The given parameters of a layer.
struct Parameters<'a> {
    layer: &'a str,
    weights: &'a Weights,
    device: &'a Device,
}

impl Parameters<'_> {
    fn values(&self, role: ParamRole) -> Result<&Values, WeightsError> {
        self.weights.require(&role.of(self.layer))
    }

    fn read<const D: usize>(&self, role: ParamRole) -> Result<Param<Tensor<D>>, WeightsError> {
        Ok(self.identified(tensor(self.values(role)?, self.device), role))
    }

    fn read_if<const D: usize>(
        &self,
        exists: bool,
        role: ParamRole,
    ) -> Result<Option<Param<Tensor<D>>>, WeightsError> {
        exists.then(|| self.read(role)).transpose()
    }

    fn identified<const D: usize>(&self, tensor: Tensor<D>, role: ParamRole) -> Param<Tensor<D>> {
        identified(tensor, &role.of(self.layer))
    }

    fn graph(&self, layer: &Layer, settings: &SegmentLayer) -> Result<Graph, TrainError> {
        Graph::new(
            &layer.name,
            settings,
            &layer.input.dims(),
            self.weights,
            self.device,
        )
    }
}

/// A parameter with an identity that follows from its full name, and so is the same in every
/// process: the optimizer's state goes by it.
pub fn identified<const D: usize>(tensor: Tensor<D>, name: &str) -> Param<Tensor<D>> {
    let (_, tensor, mapper) = Param::from_tensor(tensor).consume();
    Param::from_mapped_value(param_id(name), tensor, mapper)
}

/// The identity of the parameter of this name.
pub fn param_id(name: &str) -> ParamId {
    let hash = Sha256::digest(name);
    let id = u64::from_le_bytes(*hash.first_chunk().expect("a digest has 32 bytes"));
    ParamId::from(id)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Values {
    let shape = tensor.dims().to_vec();
    let data = tensor.try_into_vec_as().expect("parameters are f32");
    Values { shape, data }
}
