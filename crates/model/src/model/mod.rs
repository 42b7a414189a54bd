//! A checked model: every layer with its name, its shapes and its parameters.

mod infer;
mod params;

use crate::shape::ImageShape;
use crate::{LayerKind, LayerSpec, ParamRole, Preprocessing, Shape, ShapeError};

pub use params::Param;

/// A sequence of layers whose shapes fit.
///
/// Built by [`Model::new`] only, which guarantees unique names, fitting shapes and a vector of class
/// scores at the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    preprocessing: Preprocessing,
    layers: Vec<Layer>,
}

/// One layer of a [`Model`].
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Unique in the model; the prefix of its parameters' names.
    pub name: String,
    /// Type and settings.
    pub kind: LayerKind,
    /// The name of the pretrained base that it is part of.
    pub backbone: Option<String>,
    /// Whether training does not change it: no gradients, no change of running statistics, no
    /// dropout.
    pub frozen: bool,
    /// Shape of one sample that goes in.
    pub input: Shape,
    /// Shape of one sample that comes out.
    pub output: Shape,
    /// Parameters in the order of Keras's summary: trainable ones first.
    pub params: Vec<Param>,
}

impl Layer {
    /// Height and width in pixels of the images that go in; an error for a layer of vectors.
    pub fn image_size(&self) -> Result<[usize; 2], ShapeError> {
        Shape::only_image(self.kind.type_name(), &[self.input]).map(ImageShape::size)
    }

    /// The parameter of this role, where the layer has one.
    pub fn param(&self, role: ParamRole) -> Option<&Param> {
        self.params.iter().find(|param| param.role == role)
    }

    /// Number of values in all parameters.
    pub fn count(&self) -> usize {
        self.params.iter().map(Param::len).sum()
    }
}

/// A layer that does not fit where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("layer {number} (`{name}`): {problem}", number = index + 1)]
pub struct ModelError {
    /// Position in the recipe, from 0.
    pub index: usize,
    /// The layer's name, or its type where it has none yet.
    pub name: String,
    /// What was expected and what was found.
    pub problem: String,
}

/// Numbers of parameters, as Keras's summary counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Changed by the optimizer.
    pub trainable: usize,
    /// Not changed by the optimizer: running statistics and frozen layers.
    pub non_trainable: usize,
}

impl Counts {
    /// Both together.
    pub const fn total(self) -> usize {
        self.trainable + self.non_trainable
    }
}

impl Model {
    /// Names the layers and infers their shapes; an error names the first layer that does not fit.
    pub fn new(preprocessing: Preprocessing, layers: &[LayerSpec]) -> Result<Self, ModelError> {
        let [channels, height, width] = preprocessing.shape();
        let layers = infer::layers(
            Shape::Image {
                channels,
                height,
                width,
            },
            layers,
        )?;
        Ok(Self {
            preprocessing,
            layers,
        })
    }

    /// The same model, whose first `layers` layers are those of a pretrained base.
    #[must_use]
    pub fn with_backbone(mut self, name: &str, layers: usize) -> Self {
        for layer in &mut self.layers[..layers] {
            layer.backbone = Some(name.into());
        }
        self
    }

    /// The same model with these layers frozen, one flag per layer, and the others not.
    ///
    /// # Panics
    ///
    /// If there are not as many flags as layers.
    #[must_use]
    pub fn frozen(mut self, frozen: &[bool]) -> Self {
        assert_eq!(frozen.len(), self.layers.len(), "one flag per layer");
        for (layer, &frozen) in self.layers.iter_mut().zip(frozen) {
            layer.frozen = frozen;
            for param in &mut layer.params {
                param.trainable = !frozen && !param.is_statistic();
            }
        }
        self
    }

    /// How many layers from the beginning give the same output for the same image all through the
    /// training: frozen ones, and those that have nothing to train and nothing random. Zero where
    /// no layer with parameters is among them.
    pub fn fixed_prefix(&self) -> usize {
        let fixed =
            |layer: &&Layer| layer.frozen || (layer.params.is_empty() && !layer.kind.is_random());
        let count = self.layers.iter().take_while(fixed).count();
        if self.layers[..count]
            .iter()
            .any(|layer| !layer.params.is_empty())
        {
            count
        } else {
            0
        }
    }

    /// How an image becomes the input.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// The layers in order.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// All parameters in layer order.
    pub fn params(&self) -> impl Iterator<Item = &Param> {
        self.layers.iter().flat_map(|layer| &layer.params)
    }

    /// Number of classes: the length of the last layer's output.
    pub fn classes(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.output.len())
    }

    /// Numbers of trainable and other parameters.
    pub fn counts(&self) -> Counts {
        self.params().fold(Counts::default(), |mut counts, param| {
            *(if param.trainable {
                &mut counts.trainable
            } else {
                &mut counts.non_trainable
            }) += param.len();
            counts
        })
    }
}

#[cfg(test)]
mod tests;
