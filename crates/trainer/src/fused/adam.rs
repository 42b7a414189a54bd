//! Adam by kiln's kernel: one pass over parameter, gradient and moments, in place.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::optim::{AdamState, AdaptiveMomentumState, Optimizer};
use burn::tensor::{Device, Tensor};
use kiln_kernels::{Adam as Step, adam};

use super::layout::{slice, transposed};

type FlexTensor = FloatTensor<Flex>;

/// The optimizer, for tensors of the CPU.
#[derive(Debug, Clone, Copy)]
pub struct Adam {
    pub beta_1: f64,
    pub beta_2: f64,
    pub epsilon: f64,
    /// Decoupled, as `AdamW`'s; 0 is none.
    pub weight_decay: f64,
}

impl Optimizer for Adam {
    /// Burn's own: either optimizer continues from the other's.
    type State<const D: usize> = AdamState<D>;

    fn step<const D: usize>(
        &self,
        learning_rate: f64,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let state = state.map_or_else(
            || AdaptiveMomentumState::new(0, tensor.zeros_like(), tensor.zeros_like()),
            |state| state.momentum,
        );
        let time = state.time + 1;
        let Self {
            beta_1,
            beta_2,
            epsilon,
            weight_decay,
        } = *self;
        let step = Step {
            learning_rate,
            beta_1,
            beta_2,
            epsilon,
            weight_decay,
            step: time,
        };
        let (tensor, moment_1, moment_2) = <Dispatch as AdamOps>::adam(
            tensor.into_dispatch(),
            grad.into_dispatch(),
            state.moment_1.into_dispatch(),
            state.moment_2.into_dispatch(),
            step,
        );
        let [tensor, moment_1, moment_2] = [tensor, moment_1, moment_2].map(Tensor::from_dispatch);
        (
            tensor,
            Some(AdamState::new(AdaptiveMomentumState::new(
                time, moment_1, moment_2,
            ))),
        )
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        AdamState::new(state.momentum.to_device(device))
    }
}

/// The optimizer's step as an operation of a backend; tensors with gradients never come here.
#[backend_extension(Flex)]
trait AdamOps: Backend {
    /// Returns the new parameter and moments.
    fn adam(
        parameter: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        moment_1: FloatTensor<Self>,
        moment_2: FloatTensor<Self>,
        step: Step,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

impl AdamOps for Flex {
    fn adam(
        parameter: FlexTensor,
        gradient: FlexTensor,
        moment_1: FlexTensor,
        moment_2: FlexTensor,
        step: Step,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        // A dense layer's weights are a transposed view of the kernels' order, and so is their
        // gradient: taken as they lie in memory, nothing is copied.
        let turned = parameter.shape().num_dims() == 2 && !parameter.is_contiguous();
        let turn = |tensor: FlexTensor| if turned { transposed(tensor) } else { tensor };
        let [mut parameter, gradient, mut moment_1, mut moment_2] =
            [parameter, gradient, moment_1, moment_2].map(|tensor| turn(tensor).to_contiguous());
        // Memory that others still see is copied first.
        adam(
            &step,
            slice(&gradient),
            parameter.storage_mut(),
            moment_1.storage_mut(),
            moment_2.storage_mut(),
        );
        (turn(parameter), turn(moment_1), turn(moment_2))
    }
}
