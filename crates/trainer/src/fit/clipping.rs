//! Clipping by the norm of all gradients together. (By value, and by the norm of each, Burn's
//! optimizers do it.)

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use crate::TrainError;
use crate::network::{Network, values};

/// Scales the gradients down by one factor where their Euclidean norm, taken as of one vector, is
/// above `most`; Keras's `global_clipnorm`.
pub fn by_global_norm(
    network: &Network,
    gradients: GradientsParams,
    most: f64,
) -> Result<GradientsParams, TrainError> {
    let mut squares = Squares {
        gradients: &gradients,
        sum: Ok(0.0),
    };
    network.visit(&mut squares);
    let norm = squares.sum?.sqrt();
    if norm <= most {
        return Ok(gradients);
    }
    let mut scaling = Scaling {
        gradients,
        factor: (most / norm) as f32,
    };
    network.visit(&mut scaling);
    Ok(scaling.gradients)
}

/// Adds up the squares of all gradients; those of one parameter on the device, the others in f64.
struct Squares<'a> {
    gradients: &'a GradientsParams,
    sum: Result<f64, TrainError>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let (Some(gradient), Ok(sum)) = (self.gradients.get::<D>(param.id), &mut self.sum) else {
            return;
        };
        match values(gradient.square().sum()) {
            Ok(square) => *sum += f64::from(square[0]),
            Err(error) => self.sum = Err(error),
        }
    }
}

struct Scaling {
    gradients: GradientsParams,
    factor: f32,
}

impl ModuleVisitor for Scaling {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.gradients.register(param.id, gradient * self.factor);
        }
    }
}
