//! A model as a Burn module.

mod block;
mod flow;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use kiln_run::{Weights, WeightsError};
use kiln_spec::{Layer, Model};

use block::Block;
pub use flow::Flow;

/// The layers of a model with their parameters.
#[derive(Module, Debug)]
pub struct Network {
    blocks: Vec<Block>,
    #[module(skip)]
    layers: Vec<Layer>,
}

impl Network {
    /// Builds a model with the given weights, which must be the model's.
    pub fn new(model: &Model, weights: &Weights, device: &Device) -> Result<Self, WeightsError> {
        weights.check(model)?;
        let layers = model.layers().to_vec();
        let blocks = layers.iter().map(|layer| Block::new(layer, weights, device)).collect::<Result<_, _>>()?;
        Ok(Self { blocks, layers })
    }

    /// The current weights by name.
    pub fn weights(&self) -> Weights {
        Weights(self.layers.iter().zip(&self.blocks).flat_map(|(layer, block)| block.tensors(&layer.name)).collect())
    }

    /// Class scores `[n, classes]` before any softmax, from inputs `[n, channels, height, width]`.
    pub fn logits(&self, input: Tensor<4>) -> Tensor<2> {
        let blocks = self.layers.iter().zip(&self.blocks);
        blocks.fold(Flow::Image(input), |flow, (layer, block)| block.forward(&layer.kind, flow)).into_vector()
    }

    /// What every layer gives, its activation included and softmax left out, in order.
    pub fn layer_outputs(&self, input: Tensor<4>) -> Vec<(&str, Flow)> {
        let mut flow = Flow::Image(input);
        let mut outputs = Vec::with_capacity(self.layers.len());
        for (layer, block) in self.layers.iter().zip(&self.blocks) {
            flow = block.forward(&layer.kind, flow);
            outputs.push((layer.name.as_str(), flow.clone()));
        }
        outputs
    }
}
