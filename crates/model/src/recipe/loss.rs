//! `training.loss`: what is minimized. Names and defaults are Keras's.

use serde::Serialize;

use crate::document::{Bound, Field, RecipeError, Section, Tagged};
use crate::layers::{Activation, ActivationLayer};
use crate::{LayerKind, LayerSpec};

/// The loss of an image's scores, which are logits.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LossFunction {
    /// Cross-entropy of the softmax of the logits: an image has one class.
    #[default]
    CategoricalCrossentropy,
    /// Its terms scaled by how wrong they are (Lin et al., 2017): `alpha (1 - p)^gamma` times the cross-entropy, where
    /// `p` is the probability of the image's class.
    CategoricalFocalCrossentropy {
        /// Exponent, at least 0.
        gamma: f64,
        /// Factor of all terms, above 0.
        alpha: f64,
    },
    /// Mean binary cross-entropy of the sigmoid of each logit: each class by itself, or one logit for the second of
    /// two classes.
    BinaryCrossentropy,
    /// Its terms scaled by how wrong they are (Lin et al., 2017): `(1 - p)^gamma` times the binary cross-entropy, where
    /// `p` is the probability of what is true of the class.
    BinaryFocalCrossentropy {
        /// Exponent, at least 0.
        gamma: f64,
        /// Factor of the terms of the classes that an image has, 0 to 1, and `1 - alpha` that of the others; without
        /// it, they count the same.
        #[serde(skip_serializing_if = "Option::is_none")]
        alpha: Option<f64>,
    },
}

impl LossFunction {
    /// Returns whether the loss is that of a sigmoid for each score, rather than of the softmax of all.
    pub const fn is_binary(self) -> bool {
        match self {
            Self::CategoricalCrossentropy | Self::CategoricalFocalCrossentropy { .. } => false,
            Self::BinaryCrossentropy | Self::BinaryFocalCrossentropy { .. } => true,
        }
    }

    /// Returns its name in a recipe.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CategoricalCrossentropy => "categorical_crossentropy",
            Self::CategoricalFocalCrossentropy { .. } => "categorical_focal_crossentropy",
            Self::BinaryCrossentropy => "binary_crossentropy",
            Self::BinaryFocalCrossentropy { .. } => "binary_focal_crossentropy",
        }
    }

    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns how many scores a model of it has for so many classes, where it can be chosen: one for the second of
    /// two classes that exclude each other, else one for each.
    pub const fn scores(self, classes: Classes) -> usize {
        match classes {
            Classes {
                count: 2,
                several: false,
            } if self.is_binary() => 1,
            Classes { count, .. } => count,
        }
    }

    /// Takes the function that makes probabilities of the logits off the last of a model's own layers, since the loss
    /// contains it and the export adds it where it is asked for. A softmax stays: it is left out wherever layers run.
    ///
    /// # Errors
    ///
    /// What is wrong with the last layer, if it ends in the function of another loss.
    pub(super) fn take_activation(self, layers: &mut Vec<LayerSpec>) -> Result<(), String> {
        let Some(last) = layers.last_mut() else {
            return Ok(());
        };
        let ends_in_sigmoid = match &last.kind {
            LayerKind::Activation(ActivationLayer { activation }) => {
                *activation == Activation::Sigmoid
            }
            LayerKind::Dense(dense) => dense.activation == Some(Activation::Sigmoid),
            _ => false,
        };
        let name = self.name();
        match (self.is_binary(), ends_in_sigmoid) {
            (false, true) => Err(format!(
                "the last layer ends in a sigmoid, and `training.loss` is `{name}`, of the softmax of the scores: set \
                 `training.loss = \"binary_crossentropy\"`, or leave the sigmoid out"
            )),
            (true, false) if last.kind.is_softmax() => Err(format!(
                "the last layer ends in a softmax, and `training.loss` is `{name}`, of a sigmoid for each score: leave the \
                 softmax out, or the loss"
            )),
            (true, true) => {
                match &mut last.kind {
                    LayerKind::Dense(dense) => dense.activation = None,
                    _ => drop(layers.pop()),
                }
                Ok(())
            }
            (_, false) => Ok(()),
        }
    }
}

/// The classes of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Classes {
    /// Their number.
    pub count: usize,
    /// Whether an image can have several of them, or none.
    pub several: bool,
}

impl Classes {
    /// So many, of which an image has one.
    pub const fn exclusive(count: usize) -> Self {
        Self {
            count,
            several: false,
        }
    }
}

const LOSSES: &[Tagged<LossFunction>] = &[
    Tagged {
        kind: "categorical_crossentropy",
        keys: &["type"],
        parse: |_| Ok(LossFunction::CategoricalCrossentropy),
    },
    Tagged {
        kind: "categorical_focal_crossentropy",
        keys: &["type", "gamma", "alpha"],
        parse: |section| {
            Ok(LossFunction::CategoricalFocalCrossentropy {
                gamma: gamma(section)?,
                alpha: section.number_or("alpha", 0.25, Bound::Positive)?,
            })
        },
    },
    Tagged {
        kind: "binary_crossentropy",
        keys: &["type"],
        parse: |_| Ok(LossFunction::BinaryCrossentropy),
    },
    Tagged {
        kind: "binary_focal_crossentropy",
        keys: &["type", "gamma", "alpha"],
        parse: |section| {
            let alpha = section.get("alpha");
            Ok(LossFunction::BinaryFocalCrossentropy {
                gamma: gamma(section)?,
                alpha: alpha
                    .map(|field| field.number(Bound::OpenFraction))
                    .transpose()?,
            })
        },
    },
];

fn gamma(section: &Section<'_>) -> Result<f64, RecipeError> {
    section.number_or("gamma", 2.0, Bound::NonNegative)
}

/// Reads `loss`: a name, or a table with the name as its `type`.
pub(super) fn parse(field: &Field<'_>) -> Result<LossFunction, RecipeError> {
    field
        .tagged_or_word(LOSSES, None)
        .map(|(function, _)| function)
}
