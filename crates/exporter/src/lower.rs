//! From layers to operations: the part of a model that remains for inference.

use kiln_model::{
    Activation, ActivationLayer, AvgPool, BatchNorm, Conv2d, Layer, LayerKind, MaxPool, Pool,
    Reshape, Resize2d, Shape,
};

/// One ONNX node to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Step<'a> {
    /// The layer it belongs to.
    pub layer: &'a Layer,
    /// Its operation.
    pub op: Op<'a>,
    /// What its name has after the layer's, if it is not the layer's only or first node.
    suffix: Option<&'static str>,
    /// Whether it is the layer's last node.
    completes: bool,
    /// The batch normalization that is folded into it.
    pub folded: Option<Folded<'a>>,
}

/// A batch normalization that is folded into the layer before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Folded<'a> {
    /// The layer.
    pub layer: &'a Layer,
    /// Its settings.
    pub settings: &'a BatchNorm,
}

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Op<'a> {
    Conv(&'a Conv2d),
    /// ONNX's operator and the windows.
    Pool(&'static str, &'a Pool),
    GlobalMaxPool,
    GlobalAveragePool,
    /// Over the channels, which stay as a dimension of 1.
    ReduceMax,
    /// The shape of one sample.
    Reshape(Shape),
    Resize(&'a Resize2d),
    BatchNormalization {
        epsilon: f64,
    },
    Flatten,
    Gemm {
        bias: bool,
    },
    Activation(Activation),
}

impl<'a> Step<'a> {
    /// Returns the layer whose output is this step's, where it is one's.
    pub fn completed_layer(&self) -> Option<&'a str> {
        self.folded
            .map(|norm| norm.layer)
            .or(self.completes.then_some(self.layer))
            .map(|layer| layer.name.as_str())
    }

    /// Returns the name of the node: the layer's, with a suffix for its second one.
    pub fn name(&self) -> String {
        let layer = &self.layer.name;
        self.suffix
            .map_or_else(|| layer.clone(), |suffix| format!("{layer}.{suffix}"))
    }

    /// Returns the name of the output: the layer's, or `<layer>.linear` for the value before its
    /// activation. Layer names have no dot, so that the two cannot meet.
    pub fn output(&self) -> String {
        self.completed_layer().map_or_else(
            || format!("{}.linear", self.layer.name),
            std::borrow::ToOwned::to_owned,
        )
    }
}

/// The operations of consecutive layers in order. Dropout, which does nothing here, and softmax,
/// which the export adds where it is asked for, have none.
pub fn steps(layers: &[Layer]) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    for layer in layers {
        // Straight after a convolution or dense layer without activation, normalization is only
        // another weight and bias. Past an activation it is not.
        if let LayerKind::BatchNorm(settings) = &layer.kind
            && let Some(last) = steps.last_mut()
            && matches!(last.op, Op::Conv(_) | Op::Gemm { .. })
            && last.folded.is_none()
        {
            last.folded = Some(Folded { layer, settings });
            continue;
        }
        let ops = ops(layer);
        let count = ops.len();
        let step = |(at, (op, suffix))| Step {
            layer,
            op,
            suffix,
            completes: at + 1 == count,
            folded: None,
        };
        steps.extend(ops.into_iter().enumerate().map(step));
    }
    steps
}

/// The operations of one layer, each with its suffix.
fn ops(layer: &Layer) -> Vec<(Op<'_>, Option<&'static str>)> {
    let one = |op| vec![(op, None)];
    match &layer.kind {
        LayerKind::Conv2d(conv) => with_activation(Op::Conv(conv), conv.activation),
        LayerKind::Dense(dense) => {
            let bias = dense.use_bias;
            with_activation(Op::Gemm { bias }, dense.activation)
        }
        LayerKind::MaxPool(MaxPool(pool)) => one(Op::Pool("MaxPool", pool)),
        LayerKind::AvgPool(AvgPool(pool)) => one(Op::Pool("AveragePool", pool)),
        LayerKind::GlobalMaxPool(_) => with_flatten(Op::GlobalMaxPool),
        LayerKind::GlobalAvgPool(_) => with_flatten(Op::GlobalAveragePool),
        LayerKind::ChannelMax(_) => one(Op::ReduceMax),
        LayerKind::Reshape(Reshape { target_shape }) => one(Op::Reshape(*target_shape)),
        LayerKind::Resize(resize) => one(Op::Resize(resize)),
        LayerKind::BatchNorm(norm) => one(Op::BatchNormalization {
            epsilon: norm.epsilon,
        }),
        LayerKind::Flatten(_) => match layer.input {
            Shape::Image { .. } => one(Op::Flatten),
            Shape::Vector(_) => Vec::new(),
        },
        LayerKind::Relu(_) => one(Op::Activation(Activation::Relu)),
        LayerKind::Activation(ActivationLayer { activation }) => without_softmax(*activation)
            .map(|activation| (Op::Activation(activation), None))
            .into_iter()
            .collect(),
        // A graph stays in its file: `export` refuses it.
        LayerKind::Dropout(_)
        | LayerKind::Softmax(_)
        | LayerKind::Graph(_)
        | LayerKind::Segment(_) => Vec::new(),
    }
}

fn with_activation(
    op: Op<'_>,
    activation: Option<Activation>,
) -> Vec<(Op<'_>, Option<&'static str>)> {
    let activation = activation
        .and_then(without_softmax)
        .map(|activation| (Op::Activation(activation), Some(activation.as_str())));
    std::iter::once((op, None)).chain(activation).collect()
}

/// ONNX's global pooling keeps rows and columns as dimensions of 1.
fn with_flatten(op: Op<'_>) -> Vec<(Op<'_>, Option<&'static str>)> {
    vec![(op, None), (Op::Flatten, Some("flatten"))]
}

fn without_softmax(activation: Activation) -> Option<Activation> {
    (activation != Activation::Softmax).then_some(activation)
}
