//! From layers to operations: what of a model remains when it only computes.

use kiln_model::{Activation, Conv2d, Layer, LayerKind, Pool, Resize2d, Shape};

/// One ONNX node to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Step<'a> {
    /// The layer it belongs to.
    pub layer: &'a Layer,
    /// What it does.
    pub op: Op<'a>,
    /// Whether the layer's output is this node's: its last one, and no batch normalisation folded
    /// into it.
    pub completes: bool,
    /// The batch normalisation that is folded into it.
    pub folded: Option<&'a Layer>,
}

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Op<'a> {
    Conv(&'a Conv2d),
    MaxPool(&'a Pool),
    AveragePool(&'a Pool),
    GlobalMaxPool,
    GlobalAveragePool,
    /// Over the channels, which stay as a dimension of 1.
    ReduceMax,
    /// The dimensions of one sample.
    Reshape(&'a [usize]),
    Resize(&'a Resize2d),
    BatchNormalization {
        epsilon: f64,
    },
    Flatten,
    Gemm {
        bias: bool,
    },
    /// Not a softmax.
    Activation(Activation),
}

/// The operations of consecutive layers in order. Dropout, which does nothing here, and softmax,
/// which is asked for apart, have none.
pub fn steps(layers: &[Layer]) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    for layer in layers {
        // Straight after a convolution or dense layer without activation, normalisation is only
        // another weight and bias. Past an activation it is not.
        if matches!(layer.kind, LayerKind::BatchNorm(_))
            && let Some(last) = steps.last_mut()
            && matches!(last.op, Op::Conv(_) | Op::Gemm { .. })
            && last.folded.is_none()
        {
            last.folded = Some(layer);
            last.completes = false;
            continue;
        }
        let ops = ops(layer);
        let count = ops.len();
        let step = |(at, op)| Step {
            layer,
            op,
            completes: at + 1 == count,
            folded: None,
        };
        steps.extend(ops.into_iter().enumerate().map(step));
    }
    steps
}

fn ops(layer: &Layer) -> Vec<Op<'_>> {
    let activated = |op, activation: Option<Activation>| {
        let activation = activation.filter(|activation| *activation != Activation::Softmax);
        std::iter::once(op)
            .chain(activation.map(Op::Activation))
            .collect()
    };
    match &layer.kind {
        LayerKind::Conv2d(conv) => activated(Op::Conv(conv), conv.activation),
        LayerKind::Dense(dense) => activated(
            Op::Gemm {
                bias: dense.use_bias,
            },
            dense.activation,
        ),
        LayerKind::MaxPool(pool) => vec![Op::MaxPool(pool)],
        LayerKind::AvgPool(pool) => vec![Op::AveragePool(pool)],
        LayerKind::GlobalMaxPool {} => vec![Op::GlobalMaxPool, Op::Flatten],
        LayerKind::GlobalAvgPool {} => vec![Op::GlobalAveragePool, Op::Flatten],
        LayerKind::ChannelMax {} => vec![Op::ReduceMax],
        LayerKind::Reshape { target_shape } => vec![Op::Reshape(target_shape)],
        LayerKind::Resize(resize) => vec![Op::Resize(resize)],
        LayerKind::BatchNorm(norm) => vec![Op::BatchNormalization {
            epsilon: norm.epsilon,
        }],
        LayerKind::Flatten {} => match layer.input {
            Shape::Image { .. } => vec![Op::Flatten],
            Shape::Vector(_) => Vec::new(),
        },
        LayerKind::Relu {} => vec![Op::Activation(Activation::Relu)],
        LayerKind::Activation {
            activation: Activation::Softmax,
        }
        | LayerKind::Dropout { .. }
        | LayerKind::Softmax {} => Vec::new(),
        LayerKind::Activation { activation } => vec![Op::Activation(*activation)],
    }
}
