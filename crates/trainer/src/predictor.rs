//! Running a trained model in Burn.

use kiln_model::Model;
use kiln_run::Weights;

use crate::network::{DropoutKey, Network};
use crate::{Device, TrainError};

/// A model with its weights, in evaluation mode: no dropout, running statistics in batch
/// normalization.
pub struct Predictor {
    network: Network,
    /// Values of one image.
    size: usize,
    device: Device,
}

/// Output of one layer for a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerOutput {
    /// The layer's name.
    pub name: String,
    /// Values of the whole batch, row-major, batch first.
    pub data: Vec<f32>,
}

impl Predictor {
    /// Builds the model with these weights.
    ///
    /// # Errors
    ///
    /// [`TrainError::Weights`] if they are not the model's.
    pub fn new(model: &Model, weights: &Weights, device: &Device) -> Result<Self, TrainError> {
        Self::after(0, model, weights, device)
    }

    /// Builds the layers after the first `count`: in place of images it takes what those give.
    ///
    /// # Errors
    ///
    /// [`TrainError::Weights`] if they are not the model's.
    pub fn after(
        count: usize,
        model: &Model,
        weights: &Weights,
        device: &Device,
    ) -> Result<Self, TrainError> {
        weights.check(model)?;
        let layers = &model.layers()[count..];
        let network = Network::new(layers, weights, device)?;
        let size = match layers.first() {
            Some(first) if count > 0 => first.input.len(),
            _ => model.preprocessing().len(),
        };
        Ok(Self {
            network,
            size,
            device: device.clone(),
        })
    }

    /// Computes the logits `[n, classes]`, row-major, of prepared images `[n, channels, height, width]`.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if the kernels or the device refuse the batch.
    ///
    /// # Panics
    ///
    /// If `pixels` is not a whole number of images.
    pub fn logits(&self, pixels: &[f32]) -> Result<Vec<f32>, TrainError> {
        self.check(pixels);
        let input = self.network.input(pixels.to_vec(), &self.device.burn);
        self.network
            .forward(input, DropoutKey::default())?
            .into_values()
    }

    /// Computes the output of each layer for prepared images, its activation included; a softmax is
    /// left out.
    /// Layer by layer means by Burn's own operations.
    ///
    /// # Errors
    ///
    /// [`TrainError`] if the kernels or the device refuse the batch.
    ///
    /// # Panics
    ///
    /// If `pixels` is not a whole number of images.
    pub fn layer_outputs(&self, pixels: &[f32]) -> Result<Vec<LayerOutput>, TrainError> {
        self.check(pixels);
        let outputs = self
            .network
            .layer_outputs(self.network.input(pixels.to_vec(), &self.device.burn))?
            .into_iter();
        outputs
            .map(|(name, flow)| {
                Ok(LayerOutput {
                    name: name.into(),
                    data: flow.into_values()?,
                })
            })
            .collect()
    }

    fn check(&self, pixels: &[f32]) {
        assert_eq!(
            pixels.len() % self.size,
            0,
            "pixels are whole images of {} values",
            self.size
        );
    }
}
