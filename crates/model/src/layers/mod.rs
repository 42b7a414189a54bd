//! The kinds of layers, one file for each kind or family: settings, recipe keys, shape rule and
//! parameters. Names and defaults are Keras's.

mod activation;
mod batch_norm;
mod composite;
mod conv2d;
mod def;
mod dense;
mod depthwise;
mod dropout;
mod graph;
mod initializer;
mod layer_norm;
mod nodes;
mod padding;
mod pool;
mod repeat;
mod reshape;
mod segment;
mod squeeze_excite;

use std::fmt;

use serde::{Serialize, Serializer};

use crate::document::{Field, RecipeError, Tagged};
use crate::graph::Segment;
use crate::{Shape, ShapeError};
use nodes::Nodes;

pub use activation::{Activation, ActivationLayer, Relu, Softmax};
pub use batch_norm::BatchNorm;
pub use composite::{Branches, Join, Part, Residual, Sequential};
pub use conv2d::Conv2d;
pub(crate) use def::LayerDef;
pub use def::{Init, ParamDef, ParamRole};
pub use dense::Dense;
pub use depthwise::{DepthwiseConv2d, SeparableConv2d};
pub use dropout::Dropout;
pub use graph::GraphLayer;
pub use initializer::{Distribution, FanMode, Initializer};
pub use layer_norm::{LayerNorm, LayerScale};
pub use padding::{Padding, Pads};
pub use pool::{AvgPool, ChannelMax, GlobalAvgPool, GlobalMaxPool, MaxPool, Pool};
pub(crate) use repeat::parse_list;
pub use reshape::{Flatten, Interpolation, Reshape, Resize2d};
pub use segment::SegmentLayer;
pub use squeeze_excite::{Gate, SqueezeExcite};

/// Declares [`LayerKind`] with a variant for each kind of layer.
macro_rules! layers {
    ($($(#[$doc:meta])* $kind:ident($settings:ty)),+ $(,)?) => {
        /// The type of a layer with its settings.
        #[derive(Debug, Clone, PartialEq)]
        pub enum LayerKind {
            $($(#[$doc])* $kind($settings)),+,
            /// A graph in a file of its own, which no recipe can write.
            Graph(GraphLayer),
            /// A segment of a file's graph, which no recipe can write.
            Segment(Box<SegmentLayer>),
        }

        impl LayerKind {
            /// Every `type` in a recipe with its keys, `type`, `name` and `repeat` included.
            pub const KEYS: &[(&str, &[&str])] =
                &[$((<$settings as LayerDef>::TYPE, <$settings as LayerDef>::KEYS)),+];

            /// Every `type` in a recipe with what reads its settings.
            const TAGGED: &[Tagged<Self>] = &[
                $(Tagged {
                    kind: <$settings as LayerDef>::TYPE,
                    keys: <$settings as LayerDef>::KEYS,
                    parse: |section| <$settings as LayerDef>::parse(section).map(Self::$kind),
                }),+
            ];

            /// The `type` in a recipe, and the name of a layer that has none.
            pub const fn type_name(&self) -> &'static str {
                match self {
                    $(Self::$kind(_) => <$settings as LayerDef>::TYPE),+,
                    Self::Graph(_) => GraphLayer::TYPE,
                    Self::Segment(_) => SegmentLayer::TYPE,
                }
            }

            /// Computes the shape of one output sample from those of the input samples.
            pub fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError> {
                match self {
                    $(Self::$kind(settings) => settings.output(inputs)),+,
                    Self::Graph(graph) => graph.output(inputs),
                    Self::Segment(layer) => layer.output(inputs),
                }
            }

            /// Lists the parameters, trainable ones first, as Keras's summary does.
            pub fn params(&self, inputs: &[Shape]) -> Result<Vec<ParamDef>, ShapeError> {
                let params = match self {
                    $(Self::$kind(settings) => settings.params(inputs)?),+,
                    Self::Graph(_) => Vec::new(),
                    Self::Segment(layer) => layer.params(),
                };
                debug_assert!(self.has_params() || params.is_empty());
                Ok(params)
            }

            /// Whether layers of this type have parameters.
            pub fn has_params(&self) -> bool {
                match self {
                    $(Self::$kind(_) => <$settings as LayerDef>::HAS_PARAMS),+,
                    Self::Graph(graph) => graph.parameters > 0,
                    Self::Segment(layer) => !layer.segment.parameters.is_empty(),
                }
            }

            /// Whether the output is a probability distribution, after which no layer may follow.
            pub fn is_softmax(&self) -> bool {
                match self {
                    $(Self::$kind(settings) => settings.is_softmax()),+,
                    Self::Graph(_) | Self::Segment(_) => false,
                }
            }

            /// Whether the output is random while training.
            pub fn is_random(&self) -> bool {
                match self {
                    $(Self::$kind(settings) => settings.is_random()),+,
                    Self::Graph(_) | Self::Segment(_) => false,
                }
            }

            /// Whether its [segment](Self::segment) is what computes it.
            pub const fn is_composite(&self) -> bool {
                match self {
                    $(Self::$kind(_) => <$settings as LayerDef>::IS_COMPOSITE),+,
                    Self::Graph(_) | Self::Segment(_) => false,
                }
            }

            /// Adds the operators that compute it from a value, and returns the value of its
            /// output.
            fn lower(&self, nodes: &mut Nodes, path: &str, input: usize) -> Option<usize> {
                match self {
                    $(Self::$kind(settings) => settings.lower(nodes, path, input)),+,
                    Self::Graph(_) | Self::Segment(_) => None,
                }
            }
        }

        impl Serialize for LayerKind {
            /// As in a recipe: the settings with their `type`.
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$kind(settings) => Typed {
                        r#type: self.type_name(),
                        settings,
                    }.serialize(serializer)),+,
                    Self::Graph(graph) => graph.serialize(serializer),
                    Self::Segment(layer) => layer.serialize(serializer),
                }
            }
        }

        $(
            impl From<$settings> for LayerKind {
                fn from(settings: $settings) -> Self {
                    Self::$kind(settings)
                }
            }
        )+
    };
}

impl LayerKind {
    /// Returns the graph that computes a composite layer of this name: a residual block, a
    /// depthwise convolution. Its parameters are called as [`params`](Self::params) calls them.
    /// None for other kinds, and where the shapes do not fit.
    pub fn segment(&self, name: &str, input: Shape) -> Option<SegmentLayer> {
        let segment = self
            .is_composite()
            .then(|| self.operators(name, input))
            .flatten()?;
        Some(SegmentLayer {
            segment,
            live_batch_norm: true,
            unfolded: Vec::new(),
        })
    }

    /// Returns the operators that compute a layer of this name and of any kind; none for a resized
    /// image, for parts of a file, and where the shapes do not fit.
    pub fn operators(&self, name: &str, input: Shape) -> Option<Segment> {
        let mut nodes = Nodes::new(name, input);
        self.lower(&mut nodes, "", 0)?;
        nodes.finish()
    }
}

layers! {
    /// Two-dimensional convolution (cross-correlation, as everywhere in this field).
    Conv2d(Conv2d),
    /// Maximum over windows of each channel.
    MaxPool(MaxPool),
    /// Mean over windows of each channel.
    AvgPool(AvgPool),
    /// Maximum of each channel: image to vector.
    GlobalMaxPool(GlobalMaxPool),
    /// Mean of each channel: image to vector.
    GlobalAvgPool(GlobalAvgPool),
    /// Maximum over the channels at each pixel: an image of one channel.
    ChannelMax(ChannelMax),
    /// Batch normalization over the channels of an image or the features of a vector.
    BatchNorm(BatchNorm),
    /// Sets a random share of the values to zero while training.
    Dropout(Dropout),
    /// Image to vector, in ONNX order (channels, height, width).
    Flatten(Flatten),
    /// Fully connected layer.
    Dense(Dense),
    /// Other dimensions for the same values, in ONNX order.
    Reshape(Reshape),
    /// An image of another size.
    Resize(Resize2d),
    /// A function applied to each value.
    Activation(ActivationLayer),
    /// `max(0, x)`.
    Relu(Relu),
    /// Logits to probabilities; the last layer only.
    Softmax(Softmax),
    /// Convolution of each channel by itself.
    DepthwiseConv2d(DepthwiseConv2d),
    /// Convolution of each channel by itself, then over the channels at each pixel.
    SeparableConv2d(SeparableConv2d),
    /// Normalization over the channels at each pixel, or over the features of a vector.
    LayerNorm(LayerNorm),
    /// A trained factor for each channel or feature.
    LayerScale(LayerScale),
    /// Each channel multiplied by a factor that follows from the means of all.
    SqueezeExcite(SqueezeExcite),
    /// Layers in order, as one.
    Sequential(Sequential),
    /// A branch whose output is added to its input.
    Residual(Residual),
    /// Branches whose outputs are joined.
    Branches(Branches),
}

/// Settings beside their `type`.
#[derive(Serialize)]
struct Typed<'a, T> {
    r#type: &'static str,
    #[serde(flatten)]
    settings: &'a T,
}

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
    /// Whether a layer can have this name: letters, digits, `-` and `_`, starting with a letter, and
    /// not the name of an exported graph's input or output.
    pub fn is_name(name: &str) -> bool {
        // Names are prefixes of tensors' names: a dot would make `a.b` of layer `a` and of layer
        // `a.b` the same.
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let reserved = matches!(name, "input" | "features" | "logits" | "probabilities");
        name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(plain) && !reserved
    }

    /// Reads a layer's table; also returns how often the layer is repeated, unread.
    fn parse<'a>(field: &Field<'a>) -> Result<(Self, Option<Field<'a>>), RecipeError> {
        let (kind, section) = field.tagged(LayerKind::TAGGED)?;
        let name = section.get("name").map(|field| {
            let name = field.string()?;
            if Self::is_name(name) {
                Ok(name.to_owned())
            } else {
                Err(field.error(format!(
                    "a layer's name is letters, digits, `-` and `_`, starting with a letter, and not `input`, \
                     `features`, `logits` or `probabilities`; found {name:?}"
                )))
            }
        });
        let spec = Self {
            name: name.transpose()?,
            kind,
        };
        Ok((spec, section.get("repeat")))
    }
}

impl fmt::Display for LayerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.type_name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_takes_one_input() {
        let vector = Shape::Vector(4);
        let kinds: [LayerKind; 3] = [
            Relu {}.into(),
            Flatten {}.into(),
            Dropout { rate: 0.5 }.into(),
        ];
        for kind in kinds {
            assert_eq!(kind.output(&[vector]), Ok(vector));
            for inputs in [&[][..], &[vector; 2]] {
                let found = inputs.len();
                let expected = ShapeError::Inputs { expected: 1, found };
                assert_eq!(kind.output(inputs), Err(expected));
            }
        }
    }

    #[test]
    fn every_kind_has_a_type_and_a_name() {
        for (kind, keys) in LayerKind::KEYS {
            assert_eq!(keys[..3], ["type", "name", "repeat"], "{kind}");
        }
    }
}
