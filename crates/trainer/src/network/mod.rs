//! Layers of a model as a Burn module.

mod block;
mod flow;

use burn::module::{Module, ParamGroup};
use burn::tensor::{Device, Tensor, TensorData};
use kiln_run::{Weights, WeightsError};
use kiln_spec::{Layer, Shape};

use crate::backbone;
use block::Block;
pub use flow::{Flow, values};

/// Consecutive layers of a model with their parameters.
#[derive(Module, Debug)]
pub struct Network {
    blocks: Vec<Block>,
    #[module(skip)]
    layers: Vec<Layer>,
}

impl Network {
    /// Builds layers with the given weights, which must have theirs. Frozen layers get no gradients, and neither their
    /// running statistics nor their dropout are live. Those of a pretrained base are the modules that burn-import made of
    /// it.
    pub fn new(layers: &[Layer], weights: &Weights, device: &Device) -> Result<Self, WeightsError> {
        let mut imported = backbone::modules(layers, weights, device)?;
        let block = |layer: &Layer| {
            let block = match imported.remove(&layer.name) {
                Some(conv) => Block::Conv2d(conv),
                None => Block::new(layer, weights, device)?,
            };
            Ok(if layer.frozen { block.freeze() } else { block })
        };
        Ok(Self { blocks: layers.iter().map(block).collect::<Result<_, _>>()?, layers: layers.to_vec() })
    }

    /// The current weights by name.
    pub fn weights(&self) -> Weights {
        Weights(self.layers.iter().zip(&self.blocks).flat_map(|(layer, block)| block.tensors(&layer.name)).collect())
    }

    /// The parameters of a layer, for an optimizer.
    pub fn group(&self, layer: &str) -> Option<ParamGroup> {
        let at = self.layers.iter().position(|candidate| candidate.name == layer)?;
        Some(ParamGroup::ids_from_module(self.blocks[at].clone()))
    }

    /// Samples in the form that the first layer takes.
    pub fn input(&self, values: Vec<f32>, device: &Device) -> Flow {
        let shape = self.layers[0].input;
        let samples = values.len() / shape.len();
        match shape {
            Shape::Image { channels, height, width } => {
                let data = TensorData::new(values, [samples, channels, height, width]);
                Flow::Image(Tensor::from_data(data, device))
            }
            Shape::Vector(n) => Flow::Vector(Tensor::from_data(TensorData::new(values, [samples, n]), device)),
        }
    }

    /// What the last layer gives, any softmax left out.
    pub fn forward(&self, input: Flow) -> Flow {
        let blocks = self.layers.iter().zip(&self.blocks);
        blocks.fold(input, |flow, (layer, block)| block.forward(&layer.kind, flow))
    }

    /// What every layer gives, its activation included and softmax left out, in order.
    pub fn layer_outputs(&self, input: Flow) -> Vec<(&str, Flow)> {
        let mut flow = input;
        let mut outputs = Vec::with_capacity(self.layers.len());
        for (layer, block) in self.layers.iter().zip(&self.blocks) {
            flow = block.forward(&layer.kind, flow);
            outputs.push((layer.name.as_str(), flow.clone()));
        }
        outputs
    }
}
