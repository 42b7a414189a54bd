//! Recipes: everything that a run needs, as TOML.

use std::collections::BTreeMap;

mod data;
mod optimization;
mod parse;
mod sweep;
mod write;

use serde::Serialize;

use crate::document::RecipeError;
use crate::{
    Augmentation, Backbone, Base, Channels, LayerSpec, Layers, Model, ModelError, Preprocess,
    Preprocessing, Resize,
};

pub use data::{Data, DataSource, DatasetName, Validation, ValidationSubset};
pub use optimization::{
    Betas, ClassWeight, EarlyStopping, Monitor, Optimizer, OptimizerKind, Schedule, ScheduleKind,
};
pub(crate) use parse::base;
pub use sweep::{Combination, Reference, Setting, Sweep};

/// A recipe with every value filled in, whose layers fit together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recipe {
    /// Names the run directory; the file's stem unless given.
    pub name: String,
    /// A sentence for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Size and preprocessing of the images.
    pub input: Input,
    /// Data set and split.
    pub data: Data,
    /// Random changes of the training images, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub augmentation: Option<Augmentation>,
    /// Optimizer and number of steps.
    pub training: Training,
    /// What the exported file contains.
    pub export: Export,
    /// The pretrained base, whose layers come before the recipe's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backbone: Option<Backbone>,
    /// The network, or what follows the base.
    pub layers: Vec<LayerSpec>,
}

/// `[input]`: what the model takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Input {
    /// Height in pixels.
    pub height: u32,
    /// Width in pixels.
    pub width: u32,
    /// Channels and their order.
    pub channels: Channels,
    /// How pixel values become numbers.
    pub preprocess: Preprocess,
    /// Whether shrinking an image weighs every source pixel.
    pub antialias: bool,
}

/// `[training]`: how it is trained. The loss is the cross-entropy of the softmax of the logits.
#[derive(Debug, Clone, PartialEq)]
pub struct Training {
    /// Images per step.
    pub batch_size: usize,
    /// Fixes initial weights, split, order and dropout.
    pub seed: u64,
    /// The layers that are not trained; without it, those of the backbone.
    pub freeze: Option<Layers>,
    /// Which epoch is best.
    pub monitor: Monitor,
    /// The truth is taken to be so much uncertain: this share of each label is spread over all
    /// classes. 0 is none.
    pub label_smoothing: f64,
    /// What a mistake counts, by class; without it, the same for all.
    pub class_weight: Option<ClassWeight>,
    /// One after the other, at least one; each goes on with the best weights of the one before.
    pub phases: Vec<Phase>,
}

/// `[[training.phases]]`: epochs with the same layers frozen. A recipe without phases has one, of
/// the keys in `[training]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Phase {
    /// Passes over the training images.
    pub epochs: usize,
    /// What turns gradients into steps.
    pub optimizer: Optimizer,
    /// How the learning rate changes.
    #[serde(skip_serializing_if = "Schedule::is_default")]
    pub schedule: Schedule,
    /// When it ends before the last epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStopping>,
    /// Layers that are trained although `freeze` or the backbone says otherwise.
    pub unfreeze: Layers,
    /// Learning rates of layers, in place of the optimizer's. Of several that name a layer the last
    /// one counts.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub learning_rates: BTreeMap<String, f64>,
}

impl Training {
    /// Epochs of all phases.
    pub fn epochs(&self) -> usize {
        self.phases.iter().map(|phase| phase.epochs).sum()
    }
}

/// `[export]`: what the exported file contains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Export {
    /// Whether the graph ends in a softmax, giving probabilities in place of logits.
    pub softmax: bool,
    /// Whether test images go into the file with the scores that Burn gives for them, for `kiln
    /// verify`.
    #[serde(skip_serializing_if = "Clone::clone")]
    pub golden: bool,
}

impl Recipe {
    /// Whether a recipe can be called so, and a backbone: letters and digits of any script, `-`,
    /// `_` and `.`, starting with a letter or digit, which can be a folder on any system.
    pub fn is_name(name: &str) -> bool {
        name.starts_with(char::is_alphanumeric) && name.chars().all(Self::is_in_names)
    }

    /// Whether names can have this character: also the accents that file systems keep apart from
    /// their letters.
    fn is_in_names(c: char) -> bool {
        c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '\u{300}'..='\u{36f}')
    }

    /// Whether a text is meant to be a recipe, rather than some other TOML: it has layers.
    pub fn is_recipe(text: &str) -> bool {
        toml::de::DeTable::parse(text).is_ok_and(|table| table.get_ref().contains_key("layers"))
    }

    /// Reads a recipe and checks it whole, its layers included.
    ///
    /// `origin` is the file's name for messages; `name` is used where the recipe gives none; each
    /// of `overrides` is a `key=value` as of `--set`, such as `training.epochs=3` or
    /// `layers.3.rate=0.2` (layers count from 1, or go by name); `key=` takes a key away.
    ///
    /// The only backbone that such a recipe can name is [`Base::vgg16`]; see
    /// [`parse_with`](Self::parse_with).
    pub fn parse(
        text: &str,
        origin: &str,
        name: &str,
        overrides: &[String],
    ) -> Result<Self, RecipeError> {
        Self::parse_with(text, origin, name, overrides, &[Base::vgg16()])
    }

    /// Reads a recipe that may name one of these bases as its backbone: those compiled into the
    /// program.
    pub fn parse_with(
        text: &str,
        origin: &str,
        name: &str,
        overrides: &[String],
        bases: &[Base],
    ) -> Result<Self, RecipeError> {
        parse::recipe(text, origin, name, overrides, bases)
    }

    /// The recipe as TOML with every value filled in; reading it gives the same recipe.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a recipe has no value that TOML lacks")
    }

    /// The preprocessing record.
    pub fn preprocessing(&self) -> Preprocessing {
        let Input {
            height,
            width,
            channels,
            preprocess,
            antialias,
        } = self.input;
        let record = preprocess.record(height, width, channels);
        Preprocessing {
            resize: Resize { antialias },
            ..record
        }
    }

    /// What is wrong where the data set has a single class, or the model outputs another number of
    /// scores than it has classes.
    pub fn class_mismatch(&self, scores: usize, classes: usize) -> Option<String> {
        if classes == 1 {
            return Some(format!(
                "`{}` has one class only: a classifier needs two or more: add images of the others",
                self.data.dataset
            ));
        }
        (scores != classes).then(|| {
            format!(
                "the last layer outputs {scores} scores, but `{}` has {classes} classes: give the last dense layer \
                 `units = {classes}`",
                self.data.dataset
            )
        })
    }

    /// The layers of the backbone, where there is one, and the recipe's own.
    pub fn all_layers(&self) -> Vec<LayerSpec> {
        let base = self
            .backbone
            .as_ref()
            .map_or_else(Vec::new, |backbone| backbone.base.layers.clone());
        [base, self.layers.clone()].concat()
    }

    /// The checked model, frozen as in the first phase. Never fails for a recipe that was parsed;
    /// may for one that was changed afterwards.
    pub fn model(&self) -> Result<Model, ModelError> {
        self.model_in(0)
    }

    /// The checked model, frozen as in that phase, counted from 0.
    pub fn model_in(&self, phase: usize) -> Result<Model, ModelError> {
        let layers = self.all_layers();
        let base_layers = layers.len() - self.layers.len();
        let mut model = Model::new(self.preprocessing(), &layers)?;
        if let Some(backbone) = &self.backbone {
            model = model.with_backbone(&backbone.base.name, base_layers);
        }
        let names: Vec<&str> = model
            .layers()
            .iter()
            .map(|layer| layer.name.as_str())
            .collect();
        let fail = |problem| ModelError {
            index: 0,
            name: "training".into(),
            problem,
        };
        let default = Layers::First(base_layers);
        let mut frozen = self
            .training
            .freeze
            .as_ref()
            .unwrap_or(&default)
            .select(&names)
            .map_err(fail)?;
        let unfrozen = self.training.phases[phase]
            .unfreeze
            .select(&names)
            .map_err(fail)?;
        frozen
            .iter_mut()
            .zip(unfrozen)
            .for_each(|(frozen, unfrozen)| *frozen &= !unfrozen);
        Ok(model.frozen(&frozen))
    }

    /// How many layers from the beginning give the same output for the same image in all phases:
    /// [`Model::fixed_prefix`] of the phase that leaves the fewest.
    pub fn fixed_prefix(&self) -> Result<usize, ModelError> {
        let phases =
            (0..self.training.phases.len()).map(|phase| Ok(self.model_in(phase)?.fixed_prefix()));
        Ok(phases
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .min()
            .unwrap_or(0))
    }
}

#[cfg(test)]
mod tests;
