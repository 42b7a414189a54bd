//! Running a trained model in Burn.

use burn::tensor::{Tensor, TensorData};
use kiln_run::{Weights, WeightsError};
use kiln_spec::Model;

use crate::Device;
use crate::network::{Flow, Network};

/// A model with its weights, in evaluation mode: no dropout, running statistics in batch normalisation.
pub struct Predictor {
    network: Network,
    input: [usize; 3],
    device: burn::tensor::Device,
}

/// What one layer gave for a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerOutput {
    /// The layer's name.
    pub name: String,
    /// Values of the whole batch, row-major, batch first.
    pub data: Vec<f32>,
}

impl Predictor {
    /// Builds the model with these weights.
    pub fn new(model: &Model, weights: &Weights, device: &Device) -> Result<Self, WeightsError> {
        let network = Network::new(model, weights, &device.0)?;
        Ok(Self { network, input: model.preprocessing().shape(), device: device.0.clone() })
    }

    /// Logits `[n, classes]`, row-major, of prepared images `[n, channels, height, width]`.
    ///
    /// # Panics
    ///
    /// If `pixels` is not a whole number of images.
    pub fn logits(&self, pixels: &[f32]) -> Vec<f32> {
        to_vec(self.network.logits(self.tensor(pixels)))
    }

    /// What each layer gives for prepared images, its activation included; a softmax is left out.
    ///
    /// # Panics
    ///
    /// If `pixels` is not a whole number of images.
    pub fn layer_outputs(&self, pixels: &[f32]) -> Vec<LayerOutput> {
        let outputs = self.network.layer_outputs(self.tensor(pixels)).into_iter();
        let data = |flow| match flow {
            Flow::Image(image) => to_vec(image),
            Flow::Vector(vector) => to_vec(vector),
        };
        outputs.map(|(name, flow)| LayerOutput { name: name.into(), data: data(flow) }).collect()
    }

    fn tensor(&self, pixels: &[f32]) -> Tensor<4> {
        let [c, h, w] = self.input;
        assert_eq!(pixels.len() % (c * h * w), 0, "pixels are whole images of {c}x{h}x{w}");
        let shape = [pixels.len() / (c * h * w), c, h, w];
        Tensor::from_data(TensorData::new(pixels.to_vec(), shape), &self.device)
    }
}

fn to_vec<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as().expect("activations are f32")
}
