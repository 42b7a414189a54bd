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

// Who uses whom: this file → passes → operation; this file → program; passes, program and adam → layout.
mod adam;
mod key;
mod layout;
mod operation;
mod passes;
mod program;

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, ExtensionType, Flex, backend_extension};
use burn::tensor::Tensor;

pub use adam::Adam;
pub use key::DropoutKey;
pub use operation::{Buffers, Epilogue, Operation, Parameter, Parameters, Statistics};
use passes::{Forward, Saved, Wanted, forward};
pub use program::{BatchNorm, Conv, Moments, Normalization, Pool, Program, Step};
use program::{Tape, Tensors, run};

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

    /// Runs a [`Program`] on `[n, channels, height, width]` or `[n, features]`.
    fn program(
        x: FloatTensor<Self>,
        #[extension_type] parameters: Tensors<Self>,
        program: Arc<Program>,
        training: Option<DropoutKey>,
        pool: Pool,
    ) -> Computed<Self>;
}

/// Result of a program.
#[derive(ExtensionType)]
pub struct Computed<B: Backend> {
    /// `[n, channels, height, width]` or `[n, features]`.
    pub output: FloatTensor<B>,
    /// Of the batch, where it was normalized by them.
    pub moments: Vec<Moments>,
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

    fn program(
        x: FloatTensor<Self>,
        parameters: Tensors<Self>,
        program: Arc<Program>,
        training: Option<DropoutKey>,
        pool: Pool,
    ) -> Computed<Self> {
        let (output, moments, _) = run(&program, x, parameters.0, training, false, pool);
        Computed { output, moments }
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

    fn program(
        x: FloatTensor<Self>,
        Tensors(parameters): Tensors<Self>,
        program: Arc<Program>,
        training: Option<DropoutKey>,
        pool: Pool,
    ) -> Computed<Self> {
        // The input's place is 0.
        let tensors = || std::iter::once(&x).chain(&parameters).enumerate();
        let tracked: Vec<_> = tensors()
            .filter(|(_, tensor)| tensor.is_tracked())
            .collect();
        // A constant takes the place of parents that there are not.
        let absent = FloatTensor::<Self>::new(x.primitive().clone());
        let guards = std::array::from_fn(|parent| match tracked.get(parent) {
            Some((_, tensor)) => tensor.node(),
            None => absent.node(),
        });
        let tracked: Vec<usize> = tracked.into_iter().map(|(at, _)| at).collect();
        let primitive = |tensor: FloatTensor<Self>| tensor.into_parts().0;
        let parameters = parameters.into_iter().map(primitive).collect();
        let (output, moments, tape) = run(
            &program,
            primitive(x),
            parameters,
            training,
            !tracked.is_empty(),
            pool,
        );
        let output = match ProgramBackward
            .prepare::<C>(guards)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => prep.finish(Arc::new((tape, tracked)), output),
            OpsKind::UnTracked(prep) => prep.finish(output),
        };
        Computed { output, moments }
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

/// The most tensors with gradients that a program takes, its input among them.
pub const MOST_TRACKED: usize = 256;

#[derive(Debug)]
struct ProgramBackward;

impl Backward<Flex, MOST_TRACKED> for ProgramBackward {
    /// What the program left, and which of its tensors the parents are.
    type State = Arc<(Tape, Vec<usize>)>;

    fn backward(
        self,
        ops: Ops<Self::State, MOST_TRACKED>,
        grads: &mut Gradients,
        _: &mut Checkpointer,
    ) {
        let gradient = grads.consume::<Flex>(&ops.node);
        let (tape, tracked) = &*ops.state;
        let wanted = |at: usize| tracked.contains(&at);
        let trained: Vec<bool> = (0..tape.parameters.len())
            .map(|at| wanted(at + 1))
            .collect();
        let found = tape.backward(gradient, wanted(0), &trained);
        let mut found: Vec<_> = std::iter::once(found.input)
            .chain(found.parameters)
            .collect();
        for (node, &at) in ops.parents.into_iter().zip(tracked) {
            if let (Some(node), Some(gradient)) = (node, found[at].take()) {
                grads.register::<Flex>(node.id, gradient);
            }
        }
    }
}

/// Runs a program on a tensor of the CPU, with or without gradients. In `training`, batch normalizations
/// that may go by the batch do so, and masks are drawn.
pub fn compute(
    x: FloatTensor<Dispatch>,
    parameters: Vec<FloatTensor<Dispatch>>,
    program: Arc<Program>,
    training: Option<DropoutKey>,
    pool: Pool,
) -> (FloatTensor<Dispatch>, Vec<Moments>) {
    let Computed { output, moments } =
        <Dispatch as KernelOps>::program(x, Tensors(parameters), program, training, pool);
    (output, moments)
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
