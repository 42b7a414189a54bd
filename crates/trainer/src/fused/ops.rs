//! The extension of Burn's backend.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, ExtensionType, Flex, backend_extension};
use burn::tensor::Tensor;

use super::Operation;
use super::backward::Wanted;
use super::forward::{Forward, Saved, forward};

/// A parameter that a layer may lack.
#[derive(ExtensionType)]
pub enum Parameter<B: Backend> {
    /// The layer's.
    Given(FloatTensor<B>),
    /// There is none.
    Absent,
}

/// The parameters of an operation's layers, as Burn's modules keep them.
#[derive(ExtensionType)]
pub struct Parameters<B: Backend> {
    /// Of a convolution, `[filters, channels, rows, columns]`, or of a dense layer, `[inputs,
    /// outputs]`.
    #[extension_type]
    pub weight: Parameter<B>,
    /// `[filters]`.
    #[extension_type]
    pub bias: Parameter<B>,
    /// Scale of the normalisation, `[channels]`.
    #[extension_type]
    pub gamma: Parameter<B>,
    /// Shift of the normalisation, `[channels]`.
    #[extension_type]
    pub beta: Parameter<B>,
}

impl<B: Backend> Parameter<B> {
    /// The tensor, if there is one.
    pub fn given(self) -> Option<FloatTensor<B>> {
        match self {
            Self::Given(tensor) => Some(tensor),
            Self::Absent => None,
        }
    }

    fn as_ref(&self) -> Option<&FloatTensor<B>> {
        match self {
            Self::Given(tensor) => Some(tensor),
            Self::Absent => None,
        }
    }
}

impl<const D: usize> From<Option<Tensor<D>>> for Parameter<Dispatch> {
    fn from(tensor: Option<Tensor<D>>) -> Self {
        tensor.map_or(Self::Absent, |tensor| Self::Given(tensor.into_dispatch()))
    }
}

/// What an operation gives.
#[derive(ExtensionType)]
pub struct Fused<B: Backend> {
    /// `[n, channels, height, width]` or `[n, features]`, as the input.
    pub output: FloatTensor<B>,
    /// Means of the batch by channel; empty where the batch was not asked.
    pub mean: Vec<f32>,
    /// Variances of the batch by channel (divided by the count); empty where the batch was not
    /// asked.
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
        // A parameter that is not there stands in the graph as a constant.
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

/// Runs an operation on a tensor of the CPU, with or without gradients. Gives the output, and mean
/// and variance of the batch by channel where the operation normalises by them.
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
