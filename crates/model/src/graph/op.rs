//! Operators with their settings.

use serde::{Deserialize, Serialize};

use super::size::Size;
use super::window::{Conv, Padded, Pool};

/// An operator with its settings. Names are ONNX's; settings that ONNX takes as constant inputs,
/// such as `axes`, are settings here. Axes are counted from the first, 0.
///
/// Inputs are listed as `name [shape]`; those in parentheses may be left out. `[…]` is any shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// 2-D convolution: image `[N, C, H, W]`, weight `[K, C / groups, rows, columns]`, (bias `[K]`).
    Conv(Conv),
    /// Normalization by stored statistics: value `[N, C, …]`; scale, bias, mean, variance `[C]`.
    BatchNormalization {
        /// Added to the variance.
        epsilon: f32,
        /// The share of the stored statistics that a training step keeps.
        momentum: f32,
    },
    /// Normalization over the axes from `axis` on: value; scale and (bias), which broadcast.
    LayerNormalization {
        /// The first axis that is normalized over.
        axis: usize,
        /// Added to the variance.
        epsilon: f32,
    },
    /// Normalization of each group of channels: value `[N, C, …]`; scale, bias `[C]`.
    GroupNormalization {
        /// The number of groups.
        groups: usize,
        /// Added to the variance.
        epsilon: f32,
    },
    /// Normalization of each channel of each image: value `[N, C, …]`; scale, bias `[C]`.
    InstanceNormalization {
        /// Added to the variance.
        epsilon: f32,
    },
    /// Local response normalization across channels: value `[N, C, …]`.
    Lrn(Lrn),
    /// `alpha · A · B + beta · C`: matrices `[M, K]` and `[K, L]`, (`C`, which broadcasts).
    Gemm(Gemm),
    /// Matrix product over the last two axes; the axes before them broadcast.
    MatMul,
    /// Two values that broadcast.
    Binary(Binary),
    /// One value, number by number.
    Unary(Unary),
    /// The maximum of each window: image `[N, C, H, W]`.
    MaxPool(Pool),
    /// The mean of each window: image `[N, C, H, W]`.
    AveragePool(Pool),
    /// The mean of each channel: `[N, C, …]` to `[N, C, 1, …]`.
    GlobalAveragePool,
    /// The maximum of each channel: `[N, C, …]` to `[N, C, 1, …]`.
    GlobalMaxPool,
    /// A statistic over axes.
    Reduce {
        /// Which one.
        reduction: Reduction,
        /// The axes, ascending.
        axes: Vec<usize>,
        /// Whether the axes stay, with a size of 1.
        keep_dims: bool,
    },
    /// Softmax along an axis.
    Softmax {
        /// The axis.
        axis: usize,
    },
    /// Logarithm of the softmax along an axis.
    LogSoftmax {
        /// The axis.
        axis: usize,
    },
    /// Values one after another along an axis.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// Parts of some axes.
    Slice(Vec<SliceAxis>),
    /// Entries of one axis, in whose place come the axes of the indices.
    Gather {
        /// The axis.
        axis: usize,
        /// The entries, row-major.
        indices: Vec<usize>,
        /// The shape of the indices; empty for a single index, which removes the axis.
        dims: Vec<usize>,
    },
    /// Another order of axes.
    Transpose {
        /// For each axis of the output, that of the input.
        perm: Vec<usize>,
    },
    /// The same values in another shape.
    Reshape {
        /// The shape.
        dims: Vec<Size>,
    },
    /// A matrix: the axes before `axis` as rows, the others as columns.
    Flatten {
        /// The first axis of the columns.
        axis: usize,
    },
    /// Without axes of size 1.
    Squeeze {
        /// The axes, ascending.
        axes: Vec<usize>,
    },
    /// With more axes of size 1.
    Unsqueeze {
        /// The axes of the output, ascending.
        axes: Vec<usize>,
    },
    /// Repeated along axes of size 1.
    Expand {
        /// The shape, with which the value broadcasts.
        dims: Vec<Size>,
    },
    /// More values at the ends of axes.
    Pad(Padded),
    /// In training, values are set to zero and the others scaled up by `1 / (1 - rate)`; else
    /// nothing changes.
    Dropout {
        /// Share of the values, 0 to less than 1.
        rate: f32,
    },
    /// In training, all values of a sample are set to zero, or scaled up by `1 / (1 - rate)`; else
    /// nothing changes. torchvision's `stochastic_depth` in mode `row`: Huang et al. (2016).
    StochasticDepth {
        /// Share of the samples, 0 to less than 1.
        rate: f32,
    },
    /// An operator, or a use of one, that kiln does not compute.
    Other(Other),
}

/// Settings of `Gemm`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Gemm {
    /// Factor of the product.
    pub alpha: f32,
    /// Factor of `C`.
    pub beta: f32,
    /// Whether `A` is `[K, M]`.
    pub trans_a: bool,
    /// Whether `B` is `[L, K]`.
    pub trans_b: bool,
}

/// Settings of `LRN`: `x / (bias + alpha / size · Σ x²)^beta` over `size` channels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the formula has them")]
pub struct Lrn {
    pub alpha: f32,
    pub beta: f32,
    pub bias: f32,
    pub size: usize,
}

/// Operators of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Max,
    Min,
    /// The first value where it is positive, else its product with the second, the slope.
    PRelu,
}

/// Operators of one value, with ONNX's formulas.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "ONNX has the formulas")]
pub enum Unary {
    Abs,
    Ceil,
    Clip { min: Option<f32>, max: Option<f32> },
    Cos,
    Elu { alpha: f32 },
    Erf,
    Exp,
    Floor,
    Gelu { tanh: bool },
    HardSigmoid { alpha: f32, beta: f32 },
    HardSwish,
    LeakyRelu { alpha: f32 },
    Log,
    Mish,
    Neg,
    Reciprocal,
    Relu,
    Round,
    Selu { alpha: f32, gamma: f32 },
    Sigmoid,
    Sign,
    Sin,
    Softplus,
    Softsign,
    Sqrt,
    Swish { alpha: f32 },
    Tanh,
}

/// Statistics over axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Reduction {
    Mean,
    Sum,
    Max,
    Min,
    L2,
}

/// A part of one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SliceAxis {
    /// The axis.
    pub axis: usize,
    /// The first entry.
    pub start: usize,
    /// The distance between entries, at least 1.
    pub step: usize,
    /// The number of entries.
    pub length: usize,
}

/// An operator, or a use of one, that kiln does not compute: it has no shape rule and no gradient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Other {
    /// The operator's domain; empty for ONNX's own.
    pub domain: String,
    /// The operator.
    pub op_type: String,
    /// Which of the node's outputs this is, from 0.
    pub output: usize,
    /// What stands in the way, as a sentence that names the node.
    pub reason: String,
}

impl Op {
    /// Returns the operator's name, as ONNX has it.
    pub fn name(&self) -> &str {
        match self {
            Self::Conv(_) => "Conv",
            Self::BatchNormalization { .. } => "BatchNormalization",
            Self::LayerNormalization { .. } => "LayerNormalization",
            Self::GroupNormalization { .. } => "GroupNormalization",
            Self::InstanceNormalization { .. } => "InstanceNormalization",
            Self::Lrn(_) => "LRN",
            Self::Gemm(_) => "Gemm",
            Self::MatMul => "MatMul",
            Self::Binary(binary) => binary.name(),
            Self::Unary(unary) => unary.name(),
            Self::MaxPool(_) => "MaxPool",
            Self::AveragePool(_) => "AveragePool",
            Self::GlobalAveragePool => "GlobalAveragePool",
            Self::GlobalMaxPool => "GlobalMaxPool",
            Self::Reduce { reduction, .. } => reduction.name(),
            Self::Softmax { .. } => "Softmax",
            Self::LogSoftmax { .. } => "LogSoftmax",
            Self::Concat { .. } => "Concat",
            Self::Slice(_) => "Slice",
            Self::Gather { .. } => "Gather",
            Self::Transpose { .. } => "Transpose",
            Self::Reshape { .. } => "Reshape",
            Self::Flatten { .. } => "Flatten",
            Self::Squeeze { .. } => "Squeeze",
            Self::Unsqueeze { .. } => "Unsqueeze",
            Self::Expand { .. } => "Expand",
            Self::Pad(_) => "Pad",
            Self::Dropout { .. } => "Dropout",
            Self::StochasticDepth { .. } => "StochasticDepth",
            Self::Other(other) => &other.op_type,
        }
    }

    /// Returns whether the operator only arranges values: it computes none.
    pub const fn only_moves(&self) -> bool {
        match self {
            Self::Concat { .. }
            | Self::Slice(_)
            | Self::Gather { .. }
            | Self::Transpose { .. }
            | Self::Reshape { .. }
            | Self::Flatten { .. }
            | Self::Squeeze { .. }
            | Self::Unsqueeze { .. }
            | Self::Expand { .. } => true,
            Self::Conv(_)
            | Self::BatchNormalization { .. }
            | Self::LayerNormalization { .. }
            | Self::GroupNormalization { .. }
            | Self::InstanceNormalization { .. }
            | Self::Lrn(_)
            | Self::Gemm(_)
            | Self::MatMul
            | Self::Binary(_)
            | Self::Unary(_)
            | Self::MaxPool(_)
            | Self::AveragePool(_)
            | Self::GlobalAveragePool
            | Self::GlobalMaxPool
            | Self::Reduce { .. }
            | Self::Softmax { .. }
            | Self::LogSoftmax { .. }
            | Self::Pad(_)
            | Self::Dropout { .. }
            | Self::StochasticDepth { .. }
            | Self::Other(_) => false,
        }
    }
}

impl Binary {
    /// Returns the operator's name, as ONNX has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Add => "Add",
            Self::Sub => "Sub",
            Self::Mul => "Mul",
            Self::Div => "Div",
            Self::Pow => "Pow",
            Self::Max => "Max",
            Self::Min => "Min",
            Self::PRelu => "PRelu",
        }
    }
}

impl Unary {
    /// Returns the operator's name, as ONNX has it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Abs => "Abs",
            Self::Ceil => "Ceil",
            Self::Clip { .. } => "Clip",
            Self::Cos => "Cos",
            Self::Elu { .. } => "Elu",
            Self::Erf => "Erf",
            Self::Exp => "Exp",
            Self::Floor => "Floor",
            Self::Gelu { .. } => "Gelu",
            Self::HardSigmoid { .. } => "HardSigmoid",
            Self::HardSwish => "HardSwish",
            Self::LeakyRelu { .. } => "LeakyRelu",
            Self::Log => "Log",
            Self::Mish => "Mish",
            Self::Neg => "Neg",
            Self::Reciprocal => "Reciprocal",
            Self::Relu => "Relu",
            Self::Round => "Round",
            Self::Selu { .. } => "Selu",
            Self::Sigmoid => "Sigmoid",
            Self::Sign => "Sign",
            Self::Sin => "Sin",
            Self::Softplus => "Softplus",
            Self::Softsign => "Softsign",
            Self::Sqrt => "Sqrt",
            Self::Swish { .. } => "Swish",
            Self::Tanh => "Tanh",
        }
    }
}

impl Reduction {
    /// Returns the operator's name, as ONNX has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mean => "ReduceMean",
            Self::Sum => "ReduceSum",
            Self::Max => "ReduceMax",
            Self::Min => "ReduceMin",
            Self::L2 => "ReduceL2",
        }
    }
}
