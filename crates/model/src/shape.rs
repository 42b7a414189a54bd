//! Shapes of one sample between the layers; the batch is never part of them.

use std::fmt;

use kiln_util::counted;

/// The shape of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Feature maps, in ONNX order: channels, height, width.
    Image {
        /// Number of channels.
        channels: usize,
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
    },
    /// A vector of that many features.
    Vector(usize),
    /// A sequence of vectors, such as a transformer's: one for each patch of an image.
    Tokens {
        /// Number of vectors.
        count: usize,
        /// Features of each.
        features: usize,
    },
}

impl Shape {
    /// The shape with these dimensions: channels, height and width, tokens and features, or features.
    pub fn from_dims(dims: &[usize]) -> Option<Self> {
        match *dims {
            [channels, height, width] => Some(Self::Image {
                channels,
                height,
                width,
            }),
            [features] => Some(Self::Vector(features)),
            [count, features] => Some(Self::Tokens { count, features }),
            _ => None,
        }
    }

    /// Number of values in one sample.
    pub fn len(self) -> usize {
        match self {
            Self::Image {
                channels,
                height,
                width,
            } => channels * height * width,
            Self::Vector(n) => n,
            Self::Tokens { count, features } => count * features,
        }
    }

    /// Whether a sample has no values; never so in a checked model.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The dimensions in ONNX order, without the batch: `[C, H, W]`, `[T, N]` or `[N]`.
    pub fn dims(self) -> Vec<usize> {
        match self {
            Self::Image {
                channels,
                height,
                width,
            } => vec![channels, height, width],
            Self::Vector(n) => vec![n],
            Self::Tokens { count, features } => vec![count, features],
        }
    }
}

/// Dimensions of an image.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ImageShape {
    pub channels: usize,
    pub height: usize,
    pub width: usize,
}

impl ImageShape {
    /// Height and width.
    pub fn size(self) -> [usize; 2] {
        [self.height, self.width]
    }
}

/// Shapes that do not fit a layer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are in the messages")]
pub enum ShapeError {
    /// A layer gets more or fewer inputs than it takes.
    #[error("expected {}, found {found}", counted(*.expected as u64, "input"))]
    Inputs { expected: usize, found: usize },
    /// A layer of images gets a vector.
    #[error("{layer} needs an image [C, H, W], found {found}: put it before `flatten`")]
    NotImage { layer: &'static str, found: Shape },
    /// A layer of vectors gets an image.
    #[error("{layer} needs a vector [N], found {found}: put {before} before it")]
    NotVector {
        layer: &'static str,
        found: Shape,
        before: &'static str,
    },
    /// A layer of images or vectors gets a sequence of vectors.
    #[error("{layer} does not take a sequence of vectors, found {found}: put `flatten` before it")]
    Tokens { layer: &'static str, found: Shape },
    /// A convolution ends in a softmax.
    #[error("softmax needs a vector of logits: use it on the last `dense` layer")]
    SoftmaxOfImage,
    /// Groups that do not divide the channels.
    #[error(
        "groups = {groups} must divide the {channels} channels that reach it and its {filters} filters: use another number"
    )]
    Groups {
        groups: usize,
        channels: usize,
        filters: usize,
    },
    /// A convolution that is both strided and dilated.
    #[error("strides and dilation_rate above 1 exclude each other, as in Keras: keep one")]
    StridesAndDilation,
    /// A window that is larger than the padded image.
    #[error(
        "a {}x{} {what} does not fit into the {}x{} image that reaches it: make it smaller, or shrink the \
         image less in the layers before",
        window[0], window[1], size[0], size[1]
    )]
    Window {
        what: &'static str,
        window: [usize; 2],
        size: [usize; 2],
    },
    /// Windows of a pooling that can lie outside of the image.
    #[error(
        "padding {padding} must be smaller than the {}x{} window: make it smaller", window[0], window[1]
    )]
    PoolPadding { padding: String, window: [usize; 2] },
    /// A layer inside of another does not fit.
    #[error("`{name}` inside of it: {problem}")]
    Inner { name: String, problem: Box<Self> },
    /// A branch and a shortcut whose sum is not defined.
    #[error(
        "its branch outputs {branch}, but its shortcut {shortcut}: give `shortcut` a layer that outputs the same, such \
         as a 1x1 convolution with the branch's filters and strides"
    )]
    Residual { branch: Shape, shortcut: Shape },
    /// A branch whose output cannot be joined with those before it.
    #[error("its branch {number} outputs {found}, which cannot be joined with {expected}")]
    Branch {
        number: usize,
        found: Shape,
        expected: Shape,
    },
    /// The output of a graph that no layer can take.
    #[error(
        "its output has the shape {found}, expected [N, channels, height, width], [N, tokens, features] or [N, features]"
    )]
    NoSample { found: String },
    /// Dimensions of another number of values.
    #[error(
        "{output} has another number of values than {input}, which reaches it: they must be as many"
    )]
    ValueCount { input: Shape, output: Shape },
}

impl Shape {
    /// The shape of the only input.
    pub(crate) fn only(inputs: &[Self]) -> Result<Self, ShapeError> {
        match inputs {
            [input] => Ok(*input),
            _ => Err(ShapeError::Inputs {
                expected: 1,
                found: inputs.len(),
            }),
        }
    }

    /// The shape of the only input of a `layer` that takes an image.
    pub(crate) fn only_image(
        layer: &'static str,
        inputs: &[Self],
    ) -> Result<ImageShape, ShapeError> {
        match Self::only(inputs)? {
            Self::Image {
                channels,
                height,
                width,
            } => Ok(ImageShape {
                channels,
                height,
                width,
            }),
            found @ Self::Vector(_) => Err(ShapeError::NotImage { layer, found }),
            found @ Self::Tokens { .. } => Err(ShapeError::Tokens { layer, found }),
        }
    }

    /// The length of the only input of a `layer` that takes a vector; `before` are the layers that
    /// make one.
    pub(crate) fn only_vector(
        layer: &'static str,
        before: &'static str,
        inputs: &[Self],
    ) -> Result<usize, ShapeError> {
        match Self::only(inputs)? {
            Self::Vector(length) => Ok(length),
            found @ (Self::Image { .. } | Self::Tokens { .. }) => Err(ShapeError::NotVector {
                layer,
                found,
                before,
            }),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image {
                channels,
                height,
                width,
            } => write!(f, "[{channels}, {height}, {width}]"),
            Self::Vector(n) => write!(f, "[{n}]"),
            Self::Tokens { count, features } => write!(f, "[{count}, {features}]"),
        }
    }
}
