//! `[sweep]`: one recipe, many runs.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Recipe, parse};
use crate::{Base, RecipeError};

/// A recipe's `[sweep]` with every combination of its values made into a recipe of its own.
///
/// ```toml
/// [sweep]
/// reference = "the report"                        # where reference figures come from
/// "layers.conv2d_1.kernel_size" = [3, 5]          # a grid: every value with every other
/// "training.seed" = [0, 1, 2]
///
/// [[sweep.variants]]                              # named changes, each with the whole grid
/// name = "without dropout"
/// set = { "layers.dropout.rate" = 0, "layers.dropout_1.rate" = 0 }
/// reference = { test_accuracy = 0.9884 }
/// ```
///
/// Keys are those of `--set`. A value that both a variant and the grid give is an error, unless the
/// grid's comes from `--set`, which counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweep {
    /// The recipe's name.
    pub name: String,
    /// The recipe's sentence for people.
    pub description: Option<String>,
    /// Where the combinations' reference figures come from.
    pub reference: Option<String>,
    /// At least one, their names all different.
    pub combinations: Vec<Combination>,
}

/// One run of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct Combination {
    /// What makes it different, for people, such as `kernel_size 3, filters 32`.
    pub label: String,
    /// The same, one by one: the variant first, then the grid in the order of the recipe. Every
    /// combination of a sweep has the same keys.
    pub settings: Vec<Setting>,
    /// Published figures of it.
    pub reference: Option<Reference>,
    /// Its recipe, named after what makes it different.
    pub recipe: Recipe,
}

/// A value that a sweep varies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The key as for `--set`, or `variant`.
    pub key: String,
    /// As much of the key's end as tells it from the sweep's other keys, such as `kernel_size`.
    pub name: String,
    /// The value as written, without quotes.
    pub value: String,
}

impl Setting {
    /// The key of the setting that names a combination's variant.
    pub(super) const VARIANT: &str = "variant";

    /// Whether it only makes chance fall otherwise, so that runs that differ in nothing else can be
    /// averaged.
    pub fn is_seed(&self) -> bool {
        self.key == "training.seed"
    }
}

impl fmt::Display for Setting {
    /// As in a combination's label: `kernel_size 3`, and of a variant its name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key == Self::VARIANT {
            f.write_str(&self.value)
        } else {
            write!(f, "{} {}", self.name, self.value)
        }
    }
}

/// Figures that others reached on the test images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// Share of images classified correctly, 0 to 1.
    pub test_accuracy: Option<f64>,
    /// Mean cross-entropy in nats.
    pub test_loss: Option<f64>,
}

impl Sweep {
    /// Reads a recipe that has a `[sweep]`, and checks every combination whole. The arguments are
    /// those of [`Recipe::parse`]; `sweep.training.seed=[0, 1, 2]` as an override adds to the grid.
    pub fn parse(
        text: &str,
        origin: &str,
        name: &str,
        overrides: &[String],
    ) -> Result<Self, RecipeError> {
        Self::parse_with(text, origin, name, overrides, &[Base::vgg16()])
    }

    /// [`Sweep::parse`] where there are these pretrained bases.
    pub fn parse_with(
        text: &str,
        origin: &str,
        name: &str,
        overrides: &[String],
        bases: &[Base],
    ) -> Result<Self, RecipeError> {
        parse::sweep::sweep(text, origin, name, overrides, bases)
    }
}

#[cfg(test)]
mod tests;
