//! What a recipe says of each layer. Names and defaults are Keras's.

use serde::Serialize;

/// One layer as written in a recipe: its kind and, where given, its name.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerSpec {
    /// The name given in the recipe; without one the layer is called after its type, as Keras does:
    /// `conv2d`, `conv2d_1`, ….
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Type and settings.
    #[serde(flatten)]
    pub kind: LayerKind,
}

impl LayerSpec {
    /// Whether a layer can be called so: letters, digits, `-` and `_`, starting with a letter, and
    /// not what values of an exported graph are called.
    pub fn is_name(name: &str) -> bool {
        // Names are prefixes of tensors' names: a dot would make `a.b` of layer `a` and of layer
        // `a.b` the same.
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let reserved = matches!(name, "input" | "features" | "logits" | "probabilities");
        name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(plain) && !reserved
    }
}

/// The type of a layer with its settings.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LayerKind {
    /// Two-dimensional convolution (cross-correlation, as everywhere in this field).
    Conv2d(Conv2d),
    /// Maximum over windows of each channel.
    MaxPool(Pool),
    /// Mean over windows of each channel.
    AvgPool(Pool),
    /// Maximum of each channel: image to vector.
    GlobalMaxPool {},
    /// Mean of each channel: image to vector.
    GlobalAvgPool {},
    /// Maximum over the channels at each pixel: an image of one channel.
    ChannelMax {},
    /// Batch normalisation over the channels of an image or the features of a vector.
    BatchNorm(BatchNorm),
    /// Sets a share of the values to zero while training, and scales up the others by `1 / (1 -
    /// rate)`.
    Dropout {
        /// Share of values set to zero, 0 to less than 1.
        rate: f64,
    },
    /// Image to vector, in ONNX order (channels, height, width).
    Flatten {},
    /// Other dimensions for the same values, in ONNX order: three make an image, one a vector.
    Reshape {
        /// Channels, height and width, or the number of features.
        target_shape: Vec<usize>,
    },
    /// An image of another size.
    Resize(Resize2d),
    /// Fully connected layer.
    Dense(Dense),
    /// A function applied to each value.
    Activation {
        /// Which.
        activation: Activation,
    },
    /// `max(0, x)`.
    Relu {},
    /// Logits to probabilities; the last layer only.
    Softmax {},
}

impl LayerKind {
    /// The `type` in a recipe, and the name of a layer that has none.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Conv2d(_) => "conv2d",
            Self::MaxPool(_) => "max_pool",
            Self::AvgPool(_) => "avg_pool",
            Self::GlobalMaxPool {} => "global_max_pool",
            Self::GlobalAvgPool {} => "global_avg_pool",
            Self::ChannelMax {} => "channel_max",
            Self::Reshape { .. } => "reshape",
            Self::Resize(_) => "resize",
            Self::Activation { .. } => "activation",
            Self::BatchNorm(_) => "batch_norm",
            Self::Dropout { .. } => "dropout",
            Self::Flatten {} => "flatten",
            Self::Dense(_) => "dense",
            Self::Relu {} => "relu",
            Self::Softmax {} => "softmax",
        }
    }
}

/// Settings of a convolution.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Conv2d {
    /// Number of output channels.
    pub filters: usize,
    /// Height and width of the kernel.
    pub kernel_size: [usize; 2],
    /// Step in height and width.
    pub strides: [usize; 2],
    /// Whether the image is padded with zeros.
    pub padding: Padding,
    /// Distance between the kernel's taps in height and width; 1 is a dense kernel.
    #[serde(skip_serializing_if = "is_one_by_one")]
    pub dilation_rate: [usize; 2],
    /// Groups of channels that do not see one another; 1 is an ordinary convolution.
    #[serde(skip_serializing_if = "is_one")]
    pub groups: usize,
    /// Whether each filter has a bias.
    pub use_bias: bool,
    /// Applied to the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<Activation>,
}

impl Conv2d {
    /// Height and width that the kernel covers, the gaps of a dilated one included.
    pub fn window(&self) -> [usize; 2] {
        [0, 1].map(|axis| {
            (self.kernel_size[axis] - 1)
                .saturating_mul(self.dilation_rate[axis])
                .saturating_add(1)
        })
    }

    /// The zeros put around an image of this height and width.
    pub fn pads(&self, size: [usize; 2]) -> Pads {
        self.padding.pads(size, self.window(), self.strides)
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn is_one(number: &usize) -> bool {
    *number == 1
}

fn is_one_by_one(pair: &[usize; 2]) -> bool {
    *pair == [1, 1]
}

/// Settings of `resize`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Resize2d {
    /// Rows of the result.
    pub height: usize,
    /// Columns of the result.
    pub width: usize,
    /// How values between pixels are found.
    pub interpolation: Interpolation,
}

/// How values between pixels are found. Pixels are areas, with their centres at half coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// The pixel in whose area the point lies.
    Nearest,
    /// Linearly between the four pixels around the point.
    Bilinear,
}

/// Settings of a pooling layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pool {
    /// Height and width of the window.
    pub pool_size: [usize; 2],
    /// Step in height and width.
    pub strides: [usize; 2],
    /// Whether windows may reach over the edge, where what is outside counts for nothing; else
    /// those that do not fit are left out.
    #[serde(skip_serializing_if = "Padding::is_valid")]
    pub padding: Padding,
}

impl Pool {
    /// Rows and columns that the windows reach over an image of this height and width.
    pub fn pads(&self, size: [usize; 2]) -> Pads {
        self.padding.pads(size, self.pool_size, self.strides)
    }
}

/// Settings of batch normalisation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BatchNorm {
    /// Keras's momentum: share of the running statistics that is kept at each step, 0.99 by
    /// default. (PyTorch's and Burn's is one minus this.)
    pub momentum: f64,
    /// Added to the variance, 1e-3 by default.
    pub epsilon: f64,
}

/// Settings of a dense layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Dense {
    /// Number of outputs.
    pub units: usize,
    /// Whether each output has a bias.
    pub use_bias: bool,
    /// Applied to the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation: Option<Activation>,
}

/// How a convolution or pooling treats the border.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// No padding: the output shrinks.
    Valid,
    /// Padded such that the output has `ceil(input / stride)` rows and columns; an odd one goes
    /// below and to the right, as TensorFlow places it.
    Same,
}

/// What is put around an image, in rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pads {
    /// Rows above.
    pub top: usize,
    /// Columns to the left.
    pub left: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the right.
    pub right: usize,
}

impl Pads {
    /// Height and width of an image of this size with them.
    pub fn around(&self, [height, width]: [usize; 2]) -> [usize; 2] {
        [
            height + self.top + self.bottom,
            width + self.left + self.right,
        ]
    }
}

impl Padding {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde hands over a reference"
    )]
    fn is_valid(&self) -> bool {
        *self == Self::Valid
    }

    /// What is put around an image of `height` by `width`.
    ///
    /// `Same`, per axis (TensorFlow's `tf.nn.convolution`): `out = ceil(n / stride)`, `total =
    /// max((out - 1) * stride + kernel - n, 0)`, half of it (rounded down) before, the rest after.
    pub fn pads(
        self,
        [height, width]: [usize; 2],
        kernel: [usize; 2],
        strides: [usize; 2],
    ) -> Pads {
        let total = |n: usize, kernel: usize, stride: usize| match self {
            Self::Valid => 0,
            Self::Same => ((n.div_ceil(stride) - 1) * stride + kernel).saturating_sub(n),
        };
        let (h, w) = (
            total(height, kernel[0], strides[0]),
            total(width, kernel[1], strides[1]),
        );
        Pads {
            top: h / 2,
            left: w / 2,
            bottom: h - h / 2,
            right: w - w / 2,
        }
    }
}

/// A function applied to each value of a layer's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `max(0, x)`.
    Relu,
    /// `x` where it is positive, else `0.2 x` (Keras's default slope).
    LeakyRelu,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `x Φ(x)` with the normal distribution's `Φ`, exactly (by erf), as Keras's default.
    Gelu,
    /// `x sigmoid(x)`, also called swish.
    Silu,
    /// Logits to probabilities; on the last layer only.
    Softmax,
}

impl Activation {
    /// As written in a recipe.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::LeakyRelu => "leaky_relu",
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
            Self::Gelu => "gelu",
            Self::Silu => "silu",
            Self::Softmax => "softmax",
        }
    }

    /// What [`Activation::LeakyRelu`] multiplies negative values by.
    pub const LEAKY_RELU_SLOPE: f64 = 0.2;
}
