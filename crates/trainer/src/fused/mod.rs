//! Sequences of layers that kiln's kernels compute in one pass, as an extension of Burn's backend.
//!
//! Burn's own operations go through memory once for each layer, forward and backward; what they
//! spend on that is several times what the arithmetic takes. An [`Operation`] covers a convolution
//! or dense layer with its activation, and the batch normalization, pooling and dropout after it:
//! the activations of a small image stay in the cache from one to the next.
//!
//! [`KernelOps`] adds it to the CPU backend, and its gradients to that backend's autodiff. The
//! layers' parameters stay where they are, in Burn's modules; other devices run the modules
//! themselves.

// Who uses whom: this file → passes → operation; passes and adam → layout.
mod adam;
mod layout;
mod operation;
mod passes;

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, ExtensionType, Flex, backend_extension};
use burn::tensor::Tensor;

pub use adam::Adam;
pub use operation::{Buffers, Epilogue, Operation, Parameter, Parameters, Statistics};
use passes::{Forward, Saved, Wanted, forward};

/// Result of an operation.
#[derive(ExtensionType)]
pub struct Fused<B: Backend> {
    /// `[n, channels, height, width]` or `[n, features]`, as the input.
    pub output: FloatTensor<B>,
    /// Means of the batch by channel; empty where statistics of the batch were not used.
    pub mean: Vec<f32>,
    /// Variances of the batch by channel (divided by the count); empty likewise.
    pub variance: Vec<f32>,
}

/// kiln's kernels as operations of a backend.
#[backend_extension(Flex, Autodiff)]
pub trait KernelOps: Backend {
    /// Runs an [`Operation`] on `[n, channels, height, width]` or `[n, features]`.
    fn fused(
        x: FloatTensor<Self>,
        #[extension_type] parameters: Parameters<Self>,
        operation: Operation,
    ) -> Fused<Self>;
}

impl KernelOps for Flex {
    fn fused(
        x: FloatTensor<Self>,
        parameters: Parameters<Self>,
        operation: Operation,
    ) -> Fused<Self> {
        let Forward {
            output,
            moments: [mean, variance],
            ..
        } = forward(x, parameters, operation);
        Fused {
            output,
            mean,
            variance,
        }
    }
}

impl<C: CheckpointStrategy> KernelOps for Autodiff<Flex, C> {
    fn fused(
        x: FloatTensor<Self>,
        parameters: Parameters<Self>,
        operation: Operation,
    ) -> Fused<Self> {
        let Parameters {
            weight,
            bias,
            gamma,
            beta,
        } = parameters;
        // A node has five parents in any case: a constant takes the place of an absent parameter.
        let absent = FloatTensor::<Self>::new(x.primitive().clone());
        let node = |parameter: &Parameter<Self>| parameter.as_ref().unwrap_or(&absent).node();
        let guards = [
            x.node(),
            node(&weight),
            node(&bias),
            node(&gamma),
            node(&beta),
        ];
        let primitive = |parameter: Parameter<Self>| match parameter {
            Parameter::Given(tensor) => Parameter::Given(tensor.into_parts().0),
            Parameter::Absent => Parameter::Absent,
        };
        let parameters = Parameters {
            weight: primitive(weight),
            bias: primitive(bias),
            gamma: primitive(gamma),
            beta: primitive(beta),
        };
        let Forward {
            output,
            moments: [mean, variance],
            saved,
        } = forward(x.into_parts().0, parameters, operation);
        let output = match FusedBackward
            .prepare::<C>(guards)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish(Arc::new(saved), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        };
        Fused {
            output,
            mean,
            variance,
        }
    }
}

#[derive(Debug)]
struct FusedBackward;

impl Backward<Flex, 5> for FusedBackward {
    type State = Arc<Saved>;

    fn backward(self, ops: Ops<Self::State, 5>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = grads.consume::<Flex>(&ops.node);
        let [input, weight, bias, gamma, beta] = ops.parents;
        let wanted = Wanted {
            input: input.is_some(),
            weight: weight.is_some(),
            bias: bias.is_some(),
        };
        let found = ops.state.backward(gradient, wanted);
        let all = [
            (input, found.input),
            (weight, found.weight),
            (bias, found.bias),
            (gamma, found.gamma),
            (beta, found.beta),
        ];
        for (node, gradient) in all {
            if let (Some(node), Some(gradient)) = (node, gradient) {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}

/// Runs an operation on a tensor of the CPU, with or without gradients. Returns the output, and mean
/// and variance of the batch by channel where the operation normalizes by them.
pub fn fused<const D: usize>(
    x: Tensor<D>,
    parameters: Parameters<Dispatch>,
    operation: Operation,
) -> (Tensor<D>, [Vec<f32>; 2]) {
    let Fused {
        output,
        mean,
        variance,
    } = <Dispatch as KernelOps>::fused(x.into_dispatch(), parameters, operation);
    (Tensor::from_dispatch(output), [mean, variance])
}
