//! The ways in which exporters write a network of the VGG family.

/// How an exporter writes a network of the VGG family.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Convolutions per block; filters are VGG's always.
    pub blocks: [usize; 5],
    /// NHWC input and a transpose, as from Keras and TensorFlow.
    pub nhwc: bool,
    /// How images are padded.
    pub padding: Padding,
    /// Where weights are.
    pub weights: Weights,
    /// Biases as nodes of their own.
    pub add: bool,
    /// What there is between the layers.
    pub between: Between,
    /// How the graph ends.
    pub end: End,
}

/// How images are padded.
#[derive(Debug, Clone, Copy)]
pub enum Padding {
    /// Attribute `pads`.
    Explicit,
    /// Attribute `auto_pad`.
    Auto(&'static str),
    /// A `Pad` node with inputs, and `auto_pad` of the convolution `VALID`.
    PadInputs,
    /// A `Pad` node with inputs, among them negative axes (opset 18).
    PadAxes,
    /// A `Pad` node with attributes (opset 10 and earlier).
    PadAttributes,
}

/// Where weights are.
#[derive(Debug, Clone, Copy)]
pub enum Weights {
    /// Initializers.
    Initializer,
    /// `Constant` nodes.
    Constant,
    /// Initializers through `Identity` nodes.
    Identity,
    /// Bytes through `DequantizeLinear` nodes.
    Quantized,
}

/// What there is between the layers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Between {
    /// Nothing.
    Nothing,
    /// `Identity` nodes.
    Identity,
    /// Batch normalization after each convolution.
    BatchNorm,
}

/// How the graph ends.
#[derive(Debug, Clone, Copy)]
pub enum End {
    /// After the fifth pooling.
    Base,
    /// Before the fifth pooling.
    NoPool,
    /// With a classifier.
    Dense,
    /// The features go two ways.
    TwoHeads,
}

impl Style {
    /// `torch.onnx` and torchvision's `vgg16`.
    pub const TORCHVISION: Self = Self {
        blocks: [2, 2, 3, 3, 3],
        nhwc: false,
        padding: Padding::Explicit,
        weights: Weights::Initializer,
        add: false,
        between: Between::Nothing,
        end: End::Dense,
    };
    /// tf2onnx and Keras's `VGG16(include_top=False)`.
    pub const KERAS: Self = Self {
        nhwc: true,
        padding: Padding::Auto("SAME_UPPER"),
        end: End::Base,
        ..Self::TORCHVISION
    };
}
