//! Programs: the steps of a whole segment as one operation, with gradients of its own.
//!
//! A segment such as a residual block is a dozen of Burn's operations, or some sequences of kiln's
//! with additions between them. As one operation its values stay channels last, and what lies
//! between is no tensor of Burn's: activations go into the step before them, gradients of values
//! that are used twice are added in place, buffers are used again from step to step.
//!
//! [`Program`] says what is computed; [`run`](forward::run) computes it and leaves a [`Tape`], which
//! computes the gradients.

mod backward;
mod forward;
mod pool;
mod tensors;

use kiln_kernels::{
    Activation, Conv2d, Divisor, Dropout, Elementwise, NormPool, Products, ShapeError,
};

pub use forward::{Moments, Tape, run};
pub use pool::Pool;
pub use tensors::Tensors;

/// Steps over values with channels last. Value 0 is the input, value `i + 1` what step `i` gives;
/// the last one is the output.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    pub steps: Vec<Step>,
    /// Height, width and channels of each value; a vector is an image of one pixel.
    pub sizes: Vec<[usize; 3]>,
    /// Whether the output is vectors.
    pub vectors: bool,
    /// The number of parameters that the steps refer to.
    pub parameters: usize,
    /// How convolutions and dense layers multiply in training; else it is by float32.
    pub products: Products,
}

/// One call of the kernels. Values and parameters are indices; sizes have a batch of 1.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    Conv(Conv),
    NormPool(Normalization),
    /// A function of each number.
    Elementwise {
        function: Elementwise,
        of: usize,
    },
    /// The sum of two values.
    Add {
        of: [usize; 2],
        activation: Activation,
    },
    /// A value times one number for each image and channel.
    Gate {
        of: usize,
        gate: usize,
    },
    /// The mean of each channel.
    GlobalMean {
        of: usize,
    },
    /// The means of windows.
    AveragePool {
        of: usize,
        sizes: NormPool,
        divisor: Divisor,
    },
    /// The channels of values, one after another.
    Concat {
        of: Vec<usize>,
    },
    /// In training, each number with this probability becomes zero, or all those of a sample do; the
    /// others are scaled up. Else nothing changes.
    Drop {
        of: usize,
        rate: f32,
        samples: bool,
    },
}

/// A convolution or dense layer: `activation(conv(of) + bias + residual)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Conv {
    pub of: usize,
    pub sizes: Conv2d,
    pub weight: usize,
    /// Whether the weight is `[inputs, outputs]` instead of `[outputs, inputs]`.
    pub turned: bool,
    pub bias: Option<usize>,
    pub residual: Option<usize>,
    pub activation: Activation,
}

/// Batch normalization and what follows: `pool(activation(norm(of) + residual))`.
#[derive(Debug, Clone, PartialEq)]
pub struct Normalization {
    pub of: usize,
    pub sizes: NormPool,
    pub norm: Option<BatchNorm>,
    pub residual: Option<usize>,
    pub activation: Activation,
}

/// The parameters of a batch normalization.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchNorm {
    pub gamma: usize,
    pub beta: usize,
    pub mean: usize,
    pub variance: usize,
    pub epsilon: f32,
    /// Whether the batch may decide, where the layer is trained.
    pub live: bool,
    /// The node that it is, for whoever keeps its statistics.
    pub node: usize,
}

impl Step {
    /// The values that it takes.
    pub fn values(&self) -> Vec<usize> {
        match self {
            Self::Conv(Conv { of, residual, .. })
            | Self::NormPool(Normalization { of, residual, .. }) => {
                std::iter::once(*of).chain(*residual).collect()
            }
            Self::Elementwise { of, .. }
            | Self::GlobalMean { of }
            | Self::AveragePool { of, .. }
            | Self::Drop { of, .. } => {
                vec![*of]
            }
            Self::Add { of, .. } => of.to_vec(),
            Self::Gate { of, gate } => vec![*of, *gate],
            Self::Concat { of } => of.clone(),
        }
    }

    /// The parameters that it takes and that may have gradients.
    pub fn trained(&self) -> Vec<usize> {
        match self {
            Self::Conv(Conv { weight, bias, .. }) => {
                std::iter::once(*weight).chain(*bias).collect()
            }
            Self::NormPool(Normalization { norm, .. }) => norm
                .iter()
                .flat_map(|norm| [norm.gamma, norm.beta])
                .collect(),
            Self::Elementwise { .. }
            | Self::Add { .. }
            | Self::Gate { .. }
            | Self::GlobalMean { .. }
            | Self::AveragePool { .. }
            | Self::Concat { .. }
            | Self::Drop { .. } => Vec::new(),
        }
    }

    /// Checks that the kernels take its sizes with this batch.
    pub fn check(&self, batch: usize) -> Result<(), ShapeError> {
        match self {
            Self::Conv(Conv { sizes, .. }) => Conv2d { batch, ..*sizes }.checked().map(|_| ()),
            Self::NormPool(Normalization { sizes, .. }) | Self::AveragePool { sizes, .. } => {
                NormPool { batch, ..*sizes }.checked().map(|_| ())
            }
            Self::Elementwise { .. }
            | Self::Add { .. }
            | Self::Gate { .. }
            | Self::GlobalMean { .. }
            | Self::Concat { .. } => Ok(()),
            Self::Drop { rate, .. } => Dropout::new(f64::from(*rate), 0, 0).map(|_| ()),
        }
    }
}

impl Program {
    /// Checks that the kernels take all sizes with this batch.
    pub fn check(&self, batch: usize) -> Result<(), ShapeError> {
        self.steps.iter().try_for_each(|step| step.check(batch))
    }

    /// For each step, the values of earlier steps that none takes after it.
    fn last_uses(&self) -> Vec<Vec<usize>> {
        let mut found = vec![Vec::new(); self.steps.len()];
        for value in 1..self.steps.len() {
            let takes = |step: &Step| step.values().contains(&value);
            if let Some(last) = self.steps.iter().rposition(takes) {
                found[last].push(value);
            }
        }
        found
    }

    /// How many numbers a value has for one image.
    fn len(&self, value: usize) -> usize {
        self.sizes[value].iter().product()
    }
}
