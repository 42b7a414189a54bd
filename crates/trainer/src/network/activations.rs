//! Values between layers.

use burn::tensor::{Tensor, activation};
use kiln_model::{Activation, Shape, ShapeError};

use crate::TrainError;

/// A batch of images or of vectors.
#[derive(Debug, Clone)]
pub enum Activations {
    /// `[n, channels, height, width]`.
    Image(Tensor<4>),
    /// `[n, features]`.
    Vector(Tensor<2>),
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
        }
    }

    /// Returns the values of the whole batch, row-major, batch first.
    pub fn into_values(self) -> Result<Vec<f32>, TrainError> {
        match self {
            Self::Image(image) => values(image),
            Self::Vector(vector) => values(vector),
        }
    }

    /// Images to vectors in ONNX order: channels, height, width.
    pub fn flatten(self) -> Self {
        match self {
            Self::Image(image) => Self::Vector(image.flatten(1, 3)),
            vector @ Self::Vector(_) => vector,
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
            }
        }
        match self {
            Self::Image(image) => to(image, target),
            Self::Vector(vector) => to(vector, target),
        }
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
        Activation::Softmax => x,
    }
}

/// Waits for a tensor and copies it out.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, TrainError> {
    tensor
        .try_into_vec_as::<f32>()
        .map_err(|error| TrainError::Device(error.to_string()))
}
