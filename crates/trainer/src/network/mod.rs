//! Layers of a model as a Burn module, and the values between them.

mod blend;
mod block;
mod graph;
mod plan;

use std::collections::HashMap;

use burn::module::{Module, ParamGroup};
use burn::tensor::{Tensor, TensorData, activation};
use kiln_model::graph::UnfoldedConv;
use kiln_model::{Activation, Layer, LayerKind, Shape, ShapeError};
use kiln_run::Weights;

pub use crate::fused::DropoutKey;
use crate::fused::{Buffers, Pool};
use crate::{Device, TrainError};
use block::Block;
pub use block::param_id;
pub use plan::Plan;
use plan::Step;

/// Consecutive layers of a model with their parameters.
#[derive(Module, Debug, Default)]
pub struct Network {
    blocks: Vec<Block>,
    #[module(skip)]
    layers: Vec<Layer>,
    #[module(skip)]
    plan: Plan,
    /// Of the plan's steps.
    #[module(skip)]
    buffers: Vec<Buffers>,
    /// Buffers of all programs.
    #[module(skip)]
    pool: Pool,
}

impl Network {
    /// Builds layers with the given weights, which must have theirs. Frozen layers get no
    /// gradients, and neither their running statistics nor their dropout are live. Those of a
    /// pretrained base are the modules that burn-import made of it.
    pub fn new(layers: &[Layer], weights: &Weights, device: &Device) -> Result<Self, TrainError> {
        let base = layers.iter().find_map(|layer| layer.backbone.as_deref());
        let mut imported = base.map_or_else(HashMap::new, |base| {
            kiln_backbone::modules(base, &device.burn)
        });
        let block = |layer: &Layer| {
            // The recipe's own layers have other names.
            let block = Block::new(
                layer,
                imported.remove(layer.name.as_str()),
                weights,
                &device.burn,
            )?;
            Ok::<_, TrainError>(if layer.frozen { block.freeze() } else { block })
        };
        let plan = if device.kernels {
            Plan::fused(layers).with_products(device.products)
        } else {
            Plan::general(layers)
        };
        Ok(Self {
            blocks: layers.iter().map(block).collect::<Result<_, _>>()?,
            layers: layers.to_vec(),
            buffers: plan.steps.iter().map(|_| Buffers::default()).collect(),
            plan,
            pool: Pool::default(),
        })
    }

    /// Returns the current weights by name.
    pub fn weights(&self) -> Weights {
        self.layers
            .iter()
            .zip(&self.blocks)
            .flat_map(|(layer, block)| block.tensors(&layer.name))
            .collect()
    }

    /// Moves the weights of layers that are not frozen, and their running statistics, by this share of the way
    /// towards those of a network of the same layers.
    pub fn blend(&mut self, towards: &Self, share: f64) {
        let blocks = self.blocks.iter_mut().zip(&towards.blocks);
        for (layer, (block, towards)) in self.layers.iter().zip(blocks) {
            if !layer.frozen {
                *block = blend::blend(block.clone(), towards, share);
            }
        }
    }

    /// Returns the parameters of a layer, for an optimizer.
    pub fn group(&self, layer: &str) -> Option<ParamGroup> {
        let at = self
            .layers
            .iter()
            .position(|candidate| candidate.name == layer)?;
        Some(ParamGroup::ids_from_module(self.blocks[at].clone()))
    }

    /// Returns samples in the form that the first layer takes.
    pub fn input(&self, values: Vec<f32>, device: &burn::tensor::Device) -> Activations {
        let shape = self.layers[0].input;
        let samples = values.len() / shape.len();
        match shape {
            Shape::Image {
                channels,
                height,
                width,
            } => {
                let data = TensorData::new(values, [samples, channels, height, width]);
                Activations::Image(Tensor::from_data(data, device))
            }
            Shape::Vector(n) => Activations::Vector(Tensor::from_data(
                TensorData::new(values, [samples, n]),
                device,
            )),
            Shape::Tokens { count, features } => Activations::Tokens(Tensor::from_data(
                TensorData::new(values, [samples, count, features]),
                device,
            )),
        }
    }

    /// Computes the output of the last layer, any softmax left out. With gradients (on a device with
    /// autodiff) layers that are not frozen behave as in training.
    pub fn forward(&self, input: Activations, key: DropoutKey) -> Result<Activations, TrainError> {
        let mut values = input;
        for (step, buffers) in self.plan.steps.iter().zip(&self.buffers) {
            values = match step {
                Step::General(at) => self.blocks[*at].forward(values)?,
                Step::Fused(sequence) => plan::run(sequence, &self.blocks, buffers, values, key)?,
                Step::Program(routine) => {
                    plan::run_program(routine, &self.blocks, &self.pool, values, key)?
                }
            };
        }
        Ok(values)
    }

    /// Computes the layers operator by operator, as in inference; `each` gets the output of each unfolded
    /// convolution, `[n, channels, …]` row-major, with its layer's name.
    pub fn unfolded_outputs(
        &self,
        input: Activations,
        each: &mut dyn FnMut(&str, &UnfoldedConv, Vec<f32>),
    ) -> Result<(), TrainError> {
        let mut values = input;
        for (layer, block) in self.layers.iter().zip(&self.blocks) {
            values = if let LayerKind::Segment(settings) = &layer.kind
                && let Some(graph) = block.segment()
            {
                graph.observe(values, &mut |at, output| {
                    let conv = settings.unfolded.iter().find(|conv| conv.node == at);
                    if let Some(conv) = conv {
                        each(&layer.name, conv, graph::numbers(output)?);
                    }
                    Ok(())
                })?
            } else {
                block.forward(values)?
            };
        }
        Ok(())
    }

    /// Computes the output of every layer in order, its activation included and softmax left out.
    pub fn layer_outputs(
        &self,
        input: Activations,
    ) -> Result<Vec<(&str, Activations)>, TrainError> {
        let mut values = input;
        let mut outputs = Vec::with_capacity(self.layers.len());
        for (layer, block) in self.layers.iter().zip(&self.blocks) {
            values = block.forward(values)?;
            outputs.push((layer.name.as_str(), values.clone()));
        }
        Ok(outputs)
    }
}

/// A batch of images, of vectors or of sequences of vectors.
#[derive(Debug, Clone)]
pub enum Activations {
    /// `[n, channels, height, width]`.
    Image(Tensor<4>),
    /// `[n, features]`.
    Vector(Tensor<2>),
    /// `[n, tokens, features]`.
    Tokens(Tensor<3>),
}

impl Activations {
    /// Returns the images; an error for vectors.
    pub fn into_image(self) -> Result<Tensor<4>, ShapeError> {
        match self {
            Self::Image(image) => Ok(image),
            Self::Vector(vector) => Err(ShapeError::NotImage {
                layer: "this layer",
                found: Shape::Vector(vector.dims()[1]),
            }),
            Self::Tokens(tokens) => Err(no_sequence(&tokens)),
        }
    }

    /// Returns the vectors; an error for images.
    pub fn into_vector(self) -> Result<Tensor<2>, ShapeError> {
        match self {
            Self::Vector(vector) => Ok(vector),
            Self::Image(image) => {
                let [_, channels, height, width] = image.dims();
                Err(ShapeError::NotVector {
                    layer: "this layer",
                    found: Shape::Image {
                        channels,
                        height,
                        width,
                    },
                    before: "`flatten`",
                })
            }
            Self::Tokens(tokens) => Err(no_sequence(&tokens)),
        }
    }

    /// Returns the values of the whole batch, row-major, batch first.
    pub fn into_values(self) -> Result<Vec<f32>, TrainError> {
        match self {
            Self::Image(image) => values(image),
            Self::Vector(vector) => values(vector),
            Self::Tokens(tokens) => values(tokens),
        }
    }

    /// Images to vectors in ONNX order: channels, height, width.
    pub fn flatten(self) -> Self {
        match self {
            Self::Image(image) => Self::Vector(image.flatten(1, 3)),
            vector @ Self::Vector(_) => vector,
            Self::Tokens(tokens) => Self::Vector(tokens.flatten(1, 2)),
        }
    }

    /// Applies an activation. A softmax is left out: it stands at the end only, and the loss
    /// contains it.
    pub fn activate(self, activation: Option<Activation>) -> Self {
        let Some(activation) = activation else {
            return self;
        };
        match self {
            Self::Image(image) => Self::Image(activate(image, activation)),
            Self::Vector(vector) => Self::Vector(activate(vector, activation)),
            Self::Tokens(tokens) => Self::Tokens(activate(tokens, activation)),
        }
    }

    /// Returns the same values as images or vectors of another shape.
    pub fn reshape(self, target: Shape) -> Self {
        fn to<const D: usize>(values: Tensor<D>, target: Shape) -> Activations {
            let batch = values.dims()[0];
            match target {
                Shape::Image {
                    channels,
                    height,
                    width,
                } => Activations::Image(values.reshape([batch, channels, height, width])),
                Shape::Vector(features) => Activations::Vector(values.reshape([batch, features])),
                Shape::Tokens { count, features } => {
                    Activations::Tokens(values.reshape([batch, count, features]))
                }
            }
        }
        match self {
            Self::Image(image) => to(image, target),
            Self::Vector(vector) => to(vector, target),
            Self::Tokens(tokens) => to(tokens, target),
        }
    }
}

fn no_sequence(tokens: &Tensor<3>) -> ShapeError {
    let [_, count, features] = tokens.dims();
    ShapeError::Tokens {
        layer: "this layer",
        found: Shape::Tokens { count, features },
    }
}

fn activate<const D: usize>(x: Tensor<D>, activation: Activation) -> Tensor<D> {
    match activation {
        Activation::Relu => activation::relu(x),
        Activation::LeakyRelu => activation::leaky_relu(x, Activation::LEAKY_RELU_SLOPE),
        Activation::Sigmoid => activation::sigmoid(x),
        Activation::Tanh => activation::tanh(x),
        Activation::Gelu => activation::gelu(x),
        Activation::Silu => activation::silu(x),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::HardSigmoid => hard_sigmoid(x),
        Activation::HardSwish => x.clone() * hard_sigmoid(x),
        Activation::Softmax => x,
    }
}

fn hard_sigmoid<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::hard_sigmoid(x, 1.0 / 6.0, 0.5)
}

/// Waits for a tensor and copies it out.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, TrainError> {
    tensor
        .try_into_vec_as::<f32>()
        .map_err(|error| TrainError::Device(error.to_string()))
}

#[cfg(test)]
mod tests;
