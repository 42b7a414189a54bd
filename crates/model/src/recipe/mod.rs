//! Recipes: everything that a run needs, as TOML.

mod augmentation;
mod data;
mod export;
mod input;
mod loss;
mod network;
mod optimization;
mod parse;
mod rates;
mod settings;
mod sweep;
mod training;

use std::ops::Deref;

use serde::Serialize;

use crate::document::{Hint, RecipeError};
use crate::layers::Activation;
use crate::{
    Backbone, Base, LayerKind, LayerSpec, Layers, Model, ModelError, Network, Preprocessing,
};

pub use augmentation::{
    AugMix, Augmentation, ColorJitter, ErasingValue, FillMode, RandAugment, RandomErasing,
    RandomResizedCrop,
};
pub use data::{Data, DataSource, DatasetName, SplitRule, Validation, ValidationSubset};
pub use export::{Export, Quantize, Threshold};
pub use input::{Input, Values};
pub use loss::{Classes, LossFunction};
pub use optimization::{
    AdamParams, ClassWeight, EarlyStopping, LbfgsParams, Monitor, Optimizer, OptimizerKind,
    Schedule, ScheduleKind,
};
pub use sweep::{Combination, Halving, Reference, Setting, Sweep};
pub use training::{Phase, Precision, Training};

/// A recipe with every value filled in, whose layers fit together, with the models that they make.
///
/// Its values are those of [`RecipeFields`]; they cannot be changed, so that the models stay those of
/// the values.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    fields: RecipeFields,
    /// One for each phase, at least one.
    models: Vec<Model>,
}

/// The values of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecipeFields {
    /// Name of the run directory; the file's stem unless given.
    pub name: String,
    /// A sentence for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Size and preprocessing of the images.
    pub input: Input,
    /// Dataset and split.
    pub data: Data,
    /// Random changes of the training images, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub augmentation: Option<Augmentation>,
    /// Optimizer and number of steps.
    pub training: Training,
    /// Contents of the exported file.
    pub export: Export,
    /// The pretrained base, whose layers come before the recipe's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backbone: Option<Backbone>,
    /// A network by its name, whose layers come before the recipe's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
    /// The network, or its layers after the base or after the one with a name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerSpec>,
}

impl Deref for Recipe {
    type Target = RecipeFields;

    fn deref(&self) -> &RecipeFields {
        &self.fields
    }
}

/// What a recipe refers to outside of its text.
#[derive(Clone, Copy)]
pub struct References<'a> {
    /// The bases that it may name as its backbone.
    bases: &'a [Base],
    /// The classes of a dataset, where it is at hand.
    classes: &'a dyn Fn(&DataSource) -> Option<Classes>,
    /// The base that is read from a file, or why it cannot be.
    files: &'a dyn Fn(&FileRequest<'_>) -> Result<Base, FileProblem>,
}

/// A backbone that a recipe names by its file.
#[derive(Debug, Clone, Copy)]
pub struct FileRequest<'a> {
    /// An asset's name or the path of an ONNX file.
    pub weights: &'a str,
    /// The node, value or layer that the recipe's own layers come after; the one before the
    /// classifier if not given.
    pub output: Option<&'a str>,
    /// Height and width in pixels, where the recipe gives them.
    pub size: Option<[u32; 2]>,
}

/// Why a backbone cannot be read from its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProblem {
    /// The problem is with `output` rather than with the file.
    pub is_output: bool,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub hint: Option<Hint>,
}

impl<'a> References<'a> {
    /// Refers to these bases, and to datasets with so many classes: as many units the last dense layer
    /// gets if it has none, and as many classes a network with a name.
    pub fn new(bases: &'a [Base], classes: &'a dyn Fn(&DataSource) -> Option<Classes>) -> Self {
        Self {
            bases,
            classes,
            files: &no_files,
        }
    }

    /// Reads bases from files too.
    #[must_use]
    pub fn with_files(
        self,
        files: &'a dyn Fn(&FileRequest<'_>) -> Result<Base, FileProblem>,
    ) -> Self {
        Self { files, ..self }
    }
}

fn no_files(_: &FileRequest<'_>) -> Result<Base, FileProblem> {
    Err(FileProblem {
        is_output: false,
        problem: "this program reads no backbones from files: give `name`".into(),
        hint: None,
    })
}

impl<'a> From<&'a [Base]> for References<'a> {
    /// Knows no dataset but those with a name.
    fn from(bases: &'a [Base]) -> Self {
        Self::new(bases, &DataSource::classes)
    }
}

impl<'a, const N: usize> From<&'a [Base; N]> for References<'a> {
    fn from(bases: &'a [Base; N]) -> Self {
        Self::from(bases.as_slice())
    }
}

impl Recipe {
    /// Whether a recipe can be called so, and a backbone: letters and digits of any script, `-`,
    /// `_` and `.`, starting with a letter or digit, which can be a folder on any system.
    pub fn is_name(name: &str) -> bool {
        name.starts_with(char::is_alphanumeric) && name.chars().all(Self::is_in_names)
    }

    /// Makes a name that a recipe can have of any text, such as the name of a file without its ending:
    /// what cannot be in names becomes `-`; `recipe` if nothing is left.
    pub fn name_for(text: &str) -> String {
        parse::folder_name(text)
    }

    /// Whether names can have this character: also the accents that file systems keep apart from
    /// their letters.
    fn is_in_names(c: char) -> bool {
        c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '\u{300}'..='\u{36f}')
    }

    /// Whether a text is meant to be a recipe, rather than some other TOML: it has layers or a
    /// network.
    pub fn is_recipe(text: &str) -> bool {
        toml::de::DeTable::parse(text).is_ok_and(|table| {
            let table = table.get_ref();
            table.contains_key("layers") || table.contains_key("network")
        })
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

    /// Reads a recipe that refers to these bases and datasets.
    pub fn parse_with<'a>(
        text: &str,
        origin: &str,
        name: &str,
        overrides: &[String],
        references: impl Into<References<'a>>,
    ) -> Result<Self, RecipeError> {
        parse::recipe(text, origin, name, overrides, references.into())
    }

    /// Reads what a recipe says without its layers, while the file of its backbone is not there: its
    /// data, training and export. Other layers stand for those that it has, so its models say nothing.
    pub fn parse_outline<'a>(
        text: &str,
        origin: &str,
        name: &str,
        overrides: &[String],
        references: impl Into<References<'a>>,
    ) -> Result<Self, RecipeError> {
        parse::outline(text, origin, name, overrides, references.into())
    }

    /// Reads what [`to_toml`](Self::to_toml) wrote, of this version or an older one: a key that it
    /// did not have yet means what it did without, rather than what it means in a new recipe. `overrides`
    /// change it as those of [`parse_with`](Self::parse_with).
    pub fn parse_written<'a>(
        text: &str,
        origin: &str,
        overrides: &[String],
        references: impl Into<References<'a>>,
    ) -> Result<Self, RecipeError> {
        let orientation = toml::de::DeTable::parse(text).is_ok_and(|table| {
            let input = table.get_ref().get("input");
            let input = input.and_then(|input| input.get_ref().as_table());
            input.is_some_and(|input| input.contains_key("orientation"))
        });
        let before = (!orientation).then(|| "input.orientation=false".to_owned());
        let overrides: Vec<_> = before
            .into_iter()
            .chain(overrides.iter().cloned())
            .collect();
        Self::parse_with(text, origin, "run", &overrides, references)
    }

    /// The recipe as TOML with every value filled in; reading it gives the same recipe.
    pub fn to_toml(&self) -> String {
        toml::to_string(&self.fields).expect("a recipe has no value that TOML lacks")
    }

    /// Checks the values and makes the models of all phases.
    fn new(fields: RecipeFields) -> Result<Self, ModelError> {
        let models = fields.models()?;
        Ok(Self { fields, models })
    }

    /// The same recipe with another rule by which subsets are drawn: that of a run.
    #[must_use]
    pub fn with_split_rule(mut self, rule: SplitRule) -> Self {
        self.fields.data.split_rule = rule;
        self
    }

    /// The same recipe with another `[export]`, which has no influence on the model.
    #[must_use]
    pub fn with_export(mut self, export: Export) -> Self {
        self.fields.export = export;
        self
    }

    /// The same recipe, in which the segments of its backbone's file from this one on, counted from 0, are
    /// layers of their own, whether they are trained or not.
    ///
    /// # Errors
    ///
    /// The first segment that Burn cannot compute, and why.
    pub fn with_segments_from(&self, first: usize) -> Result<Self, ModelError> {
        let mut fields = self.fields.clone();
        let phases = fields.frozen(self.model())?;
        fields
            .make_layers_from(first, &phases)
            .map_err(|(index, name, problem)| ModelError {
                index,
                name,
                problem,
            })?;
        Self::new(fields)
    }

    /// The checked model, frozen as in the first phase.
    pub fn model(&self) -> &Model {
        self.model_in(0)
    }

    /// The checked model, frozen as in that phase, counted from 0.
    ///
    /// # Panics
    ///
    /// If there are not as many phases.
    pub fn model_in(&self, phase: usize) -> &Model {
        &self.models[phase]
    }

    /// The checked models of all phases, at least one.
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// Number of leading layers that give the same output for the same image in all phases: the
    /// smallest [`Model::fixed_prefix`].
    pub fn fixed_prefix(&self) -> usize {
        let prefixes = self.models.iter().map(Model::fixed_prefix);
        prefixes.min().unwrap_or(0)
    }
}

impl RecipeFields {
    /// The preprocessing record.
    pub fn preprocessing(&self) -> Preprocessing {
        self.input.record()
    }

    /// What is wrong where the dataset has a single class, or the model outputs another number of
    /// scores than it has classes; or an image can have several of them, and the loss is of one.
    pub fn class_mismatch(&self, scores: usize, classes: Classes) -> Option<String> {
        let Classes {
            count: classes,
            several,
        } = classes;
        let loss = self.training.loss;
        let phases = self.training.phases.iter();
        let mut optimizers = phases.map(|phase| &phase.optimizer.kind);
        if several && optimizers.any(|kind| matches!(kind, OptimizerKind::Lbfgs(_))) {
            return Some(format!(
                "an image of `{}` can have several classes, and L-BFGS fits one for each image: train with another optimizer \
                 and `training.loss = \"binary_crossentropy\"`",
                self.data.dataset
            ));
        }
        if several && !loss.is_binary() {
            return Some(format!(
                "an image of `{}` can have several classes, and `training.loss` is `{}`, of one class: set \
                 `training.loss = \"binary_crossentropy\"`",
                self.data.dataset,
                loss.name()
            ));
        }
        if classes == 1 {
            return Some(format!(
                "`{}` has one class only: a classifier needs two or more: add images of the others",
                self.data.dataset
            ));
        }
        let is_one_of_two = loss.is_binary() && !several && (scores, classes) == (1, 2);
        (scores != classes && !is_one_of_two).then(|| {
            let network = self.network.as_ref();
            let hint = if network.is_some_and(|network| network.classes.is_some()) {
                format!("set `network.classes = {classes}`")
            } else {
                format!("give the last dense layer `units = {classes}`")
            };
            format!(
                "the last layer outputs {scores} scores, but `{}` has {classes} classes: {hint}",
                self.data.dataset
            )
        })
    }

    /// The layers of the backbone or of the network with a name, where there is one, and the
    /// recipe's own.
    pub fn all_layers(&self) -> Vec<LayerSpec> {
        let base = self.backbone.as_ref().map(|backbone| &backbone.base.layers);
        let mut layers: Vec<_> = base.into_iter().flatten().cloned().collect();
        layers.extend(self.network.iter().flat_map(Network::layers));
        layers.extend_from_slice(&self.layers);
        layers
    }

    /// Whether training images are others in every epoch, which leaves nothing to compute once.
    pub fn images_change_every_epoch(&self) -> bool {
        self.augmentation.is_some_and(|it| it.views.is_none())
    }

    /// The model with no layer frozen.
    fn unfrozen_model(&self) -> Result<Model, ModelError> {
        let model = Model::new(self.preprocessing(), &self.all_layers())?;
        if let (1, false, Some(last)) = (
            model.classes(),
            self.training.loss.is_binary(),
            model.layers().last(),
        ) {
            return Err(ModelError {
                index: model.layers().len() - 1,
                name: last.name.clone(),
                problem: "the last layer outputs a single score, and the softmax of one is always 1: give it a unit for each \
                          class, or set `training.loss = \"binary_crossentropy\"` for two classes"
                    .into(),
            });
        }
        Ok(match &self.backbone {
            Some(Backbone { base, .. }) => model.with_backbone(&base.name, base.layers.len()),
            None => model,
        })
    }

    /// Makes layers of those segments of a backbone's file that are trained in some phase, and of those
    /// after them; `model` has no layer frozen.
    fn with_trained_segments(mut self, model: &Model) -> Result<Self, ModelError> {
        let phases = self.frozen(model)?;
        let endless = self.images_change_every_epoch();
        let Some(file) = self.backbone.as_ref().and_then(|it| it.base.file.as_ref()) else {
            return Ok(self);
        };
        let count = file.segments.len();
        let first = |frozen: &Vec<bool>| frozen[..count].iter().position(|frozen| !frozen);
        let mut first = phases.iter().filter_map(first).min();
        // An engine runs each image once: images that change in every epoch need all layers in Burn.
        if endless && file.trainable_from() == 0 {
            first = Some(0);
        }
        let Some(first) = first else {
            return Ok(self);
        };
        let way_out = match file.trainable_from() {
            at if at < count => {
                let name = &file.segments[at].name;
                format!("train only `{name}` and what comes after it")
            }
            _ => "leave the backbone frozen".to_owned(),
        };
        let made = self.make_layers_from(first, &phases);
        made.map_err(|(index, name, problem)| ModelError {
            index: 0,
            problem: if index < first {
                format!("training cannot begin after `{name}`: {problem}: {way_out}")
            } else {
                format!("`{name}` cannot be trained: {problem}: {way_out}")
            },
            name,
        })?;
        Ok(self)
    }

    /// Makes layers of the segments of a backbone's file from one on; `phases` says which are frozen in each.
    ///
    /// # Errors
    ///
    /// The first segment that cannot be one, counted from 0, its name, and why.
    fn make_layers_from(
        &mut self,
        first: usize,
        phases: &[Vec<bool>],
    ) -> Result<(), (usize, String, String)> {
        let Some(Backbone {
            base,
            batch_norm,
            unfold,
            ..
        }) = &mut self.backbone
        else {
            return Ok(());
        };
        let segments = base.file.iter().flat_map(|file| &file.segments);
        let names: Vec<String> = segments.map(|segment| segment.name.clone()).collect();
        let unfold = if *unfold {
            trained_segments(phases, names.len())
        } else {
            Vec::new()
        };
        base.train_from(first, *batch_norm, &unfold)
            .map_err(|(at, problem)| (at, names[at].clone(), problem))
    }

    /// Why there is no convolution to unfold where the recipe asks for it; `model` has no layer frozen.
    fn unfold_problem(&self, model: &Model) -> Result<Option<String>, ModelError> {
        let backbone = self.backbone.as_ref().filter(|backbone| backbone.unfold);
        let Some(file) = backbone.and_then(|backbone| backbone.base.file.as_ref()) else {
            return Ok(None);
        };
        let trained = trained_segments(&self.frozen(model)?, file.segments.len());
        Ok(file.unfold_problem(&trained))
    }

    /// Which layers are frozen in each phase: a flag for each of the model's names.
    fn frozen(&self, model: &Model) -> Result<Vec<Vec<bool>>, ModelError> {
        let select = |layers: &Layers| {
            model.select(layers).map_err(|problem| ModelError {
                index: 0,
                name: "training".into(),
                problem,
            })
        };
        let base = self.backbone.as_ref().map(|backbone| &backbone.base);
        let of_base = base.map_or(0, |base| match &base.file {
            Some(file) => file.segments.len(),
            None => base.layers.len(),
        });
        let default = Layers::First(of_base);
        let frozen = select(self.training.freeze.as_ref().unwrap_or(&default))?;
        let phases = self.training.phases.iter().map(|phase| {
            let unfrozen = select(&phase.unfreeze)?;
            let frozen = frozen.iter().zip(unfrozen);
            Ok(frozen
                .map(|(&frozen, unfrozen)| frozen && !unfrozen)
                .collect())
        });
        phases.collect()
    }

    /// The model of each phase.
    fn models(&self) -> Result<Vec<Model>, ModelError> {
        let model = self.unfrozen_model()?;
        let phases = self.training.phases.iter().zip(self.frozen(&model)?);
        let models = phases.map(|(phase, frozen)| {
            let model = model.clone().frozen(&frozen);
            if matches!(phase.optimizer.kind, OptimizerKind::Lbfgs(_)) {
                self.check_lbfgs(&model)?;
            }
            Ok(model)
        });
        models.collect()
    }

    /// Checks that one dense layer on frozen features is all that is trained.
    fn check_lbfgs(&self, model: &Model) -> Result<(), ModelError> {
        let problem = |index: usize, name: &str, found: &str| ModelError {
            index,
            name: name.into(),
            problem: format!(
                "L-BFGS trains one dense layer on frozen features, found {found}: take it out, or use another \
                 optimizer"
            ),
        };
        if self.augmentation.is_some() {
            return Err(problem(0, "training", "images that augmentation changes"));
        }
        let fixed = model.fixed_prefix();
        for (index, layer) in model.layers().iter().enumerate().skip(fixed) {
            let is_last = index + 1 == model.layers().len();
            let found = match &layer.kind {
                LayerKind::Dense(dense) if is_last => match dense.activation {
                    None | Some(Activation::Softmax) => continue,
                    Some(_) => "a dense layer with another activation than softmax",
                },
                LayerKind::Dense(_) => "a dense layer before the last one",
                _ if index == 0 => "no frozen layer before this one",
                kind => &format!("a layer `{}` after those that are frozen", kind.type_name()),
            };
            return Err(problem(index, &layer.name, found));
        }
        if fixed == model.layers().len() {
            return Err(problem(0, "training", "all layers frozen"));
        }
        Ok(())
    }
}

/// Which of the first layers, the segments of a file, some phase trains; `frozen` has the flags of each
/// phase.
fn trained_segments(frozen: &[Vec<bool>], count: usize) -> Vec<bool> {
    (0..count)
        .map(|at| frozen.iter().any(|frozen| !frozen[at]))
        .collect()
}

#[cfg(test)]
mod tests;
