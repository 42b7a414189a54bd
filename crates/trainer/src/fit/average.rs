//! The moving average of the weights.

use kiln_model::Layer;
use kiln_run::Weights;

use crate::network::Network;
use crate::{Device, TrainError};

/// A network whose weights, and running statistics of normalizations, follow those of another one:
/// `average += (1 - decay) * (weights - average)` after each step (Polyak and Juditsky, 1992). Frozen layers stay as
/// they are, bit for bit.
#[derive(Debug)]
pub struct MovingAverage {
    network: Network,
    decay: f64,
}

impl MovingAverage {
    /// An average that stands where it begins or is resumed.
    pub fn new(
        layers: &[Layer],
        weights: &Weights,
        device: &Device,
        decay: f64,
    ) -> Result<Self, TrainError> {
        Ok(Self {
            network: Network::new(layers, weights, device)?,
            decay,
        })
    }

    /// Returns the network with the average weights, without gradients.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Returns the average weights by name.
    pub fn weights(&self) -> Weights {
        self.network.weights()
    }

    /// Moves towards the weights after so many steps, at least 1.
    pub fn follow(&mut self, network: &Network, steps: u64) {
        let decay = self.decay.min((1.0 + steps as f64) / (10.0 + steps as f64));
        self.network.blend(network, 1.0 - decay);
    }
}
