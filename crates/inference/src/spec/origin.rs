//! Where something about a model is specified.

/// Where something about a model is specified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The caller: [`Options::declared`](crate::Options::declared).
    Declared,
    /// The file's metadata.
    Metadata,
    /// The graph: its shapes or its last operator.
    Graph,
    /// Nowhere: the usual default.
    Default,
}

impl Origin {
    /// Returns the first that specifies something.
    pub(super) const fn first(declared: bool, metadata: bool, graph: bool) -> Self {
        match (declared, metadata, graph) {
            (true, _, _) => Self::Declared,
            (_, true, _) => Self::Metadata,
            (_, _, true) => Self::Graph,
            _ => Self::Default,
        }
    }
}

/// Where each part of a [`ModelSpec`](crate::ModelSpec) is specified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origins {
    /// Height and width.
    pub size: Origin,
    /// Channels and their order; `Default` is RGB. That the graph has three channels does not say
    /// in which order: RGB then too.
    pub channels: Origin,
    /// Scale, mean and standard deviation, or some of them; the others are neutral.
    pub normalization: Origin,
    /// Whether shrinking an image weighs every source pixel.
    pub antialias: Origin,
    /// Names of the classes; `Default` are their numbers.
    pub labels: Origin,
    /// Order of the input's axes.
    pub layout: Origin,
    /// Logits or probabilities.
    pub output: Origin,
}
