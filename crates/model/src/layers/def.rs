//! What every kind of layer defines.

use super::params::ParamDef;
use crate::document::{RecipeError, Section};
use crate::shape::{Shape, ShapeError};

/// What a kind of layer is: everything that recipes, shape inference and parameter counts need to
/// know of it, implemented by its settings.
pub(crate) trait LayerDef: Sized {
    /// The `type` in a recipe, and the name of a layer that has none.
    const TYPE: &'static str;

    /// The keys in a recipe, `type` and `name` included.
    const KEYS: &'static [&'static str];

    /// Whether there are settings with which it has parameters.
    const HAS_PARAMS: bool = false;

    /// Reads the settings from a layer's table, in which only [`KEYS`](Self::KEYS) are left.
    fn parse(section: &Section<'_>) -> Result<Self, RecipeError>;

    /// Computes the shape of one output sample from those of the input samples.
    fn output(&self, inputs: &[Shape]) -> Result<Shape, ShapeError>;

    /// Lists the parameters, trainable ones first, as Keras's summary does; needs
    /// [`HAS_PARAMS`](Self::HAS_PARAMS).
    fn params(&self, _inputs: &[Shape]) -> Result<Vec<ParamDef>, ShapeError> {
        Ok(Vec::new())
    }

    /// Whether the output is a probability distribution, after which no layer may follow.
    fn is_softmax(&self) -> bool {
        false
    }

    /// Whether the output is random while training.
    fn is_random(&self) -> bool {
        false
    }
}
