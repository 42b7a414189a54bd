//! From the tree of values to a recipe: keys, defaults and ranges.

pub mod sweep;
mod training;

use super::document::{self, Node};
use super::error::RecipeError;
use super::section::{Bound, Field, Section};
use super::{Data, DatasetName, Export, Input, Preprocess, Recipe, Validation, ValidationSubset};
use crate::{
    Activation, Backbone, BackboneName, BatchNorm, Channels, Conv2d, Dense, LayerKind, LayerSpec, MaxPool, Model,
    Padding, Preprocessing,
};

/// Counts that nobody exceeds on purpose; below it, products of two fit into 64 bits.
pub(super) const MANY: i64 = 1 << 31;

const ROOT: &[&str] = &["name", "description", "input", "backbone", "data", "training", "export", "layers", "sweep"];

pub(super) fn recipe(text: &str, origin: &str, name: &str, overrides: &[String]) -> Result<Recipe, RecipeError> {
    recipe_of(&document::read(text, origin, overrides)?, origin, name)
}

fn recipe_of(document: &Node, origin: &str, name: &str) -> Result<Recipe, RecipeError> {
    let root = Section::root(origin, document, ROOT)?;
    if let Some(field) = root.get("sweep") {
        return Err(field.error(
            "this recipe has a `[sweep]`: train its combinations with `kiln sweep`, or leave it out with `--set sweep=`",
        ));
    }
    // Sections first: a key that slipped into the wrong one is better reported there than as missing here.
    let (input, data, training, export) = (input(&root)?, data(&root)?, training::read(&root)?, export(&root)?);
    let backbone = root.get("backbone").map(|field| backbone(&field)).transpose()?;
    let fields = root.need("layers")?.array()?;
    let recipe = Recipe {
        name: match root.get("name") {
            Some(field) => file_name(&field)?,
            None => folder_name(name),
        },
        description: root.get("description").map(|field| field.string().map(str::to_string)).transpose()?,
        input,
        data,
        training,
        export,
        backbone,
        layers: fields.iter().map(layer).collect::<Result<_, _>>()?,
    };
    let all = recipe.all_layers();
    let model = Model::new(recipe.preprocessing(), &all).map_err(|error| {
        let own = (error.index + fields.len()).checked_sub(all.len());
        match own.and_then(|index| fields.get(index)) {
            Some(field) => field.error(error.to_string()),
            None => root.error(error.to_string()),
        }
    })?;
    let names: Vec<&str> = model.layers().iter().map(|layer| layer.name.as_str()).collect();
    training::check_selections(&root, &names)?;
    check_classes(&recipe, &model, &fields)?;
    check_size(&recipe, &root, &fields)?;
    Ok(recipe)
}

fn backbone(field: &Field<'_>) -> Result<Backbone, RecipeError> {
    let section = field.section(&["name", "weights"])?;
    let name = section.need("name")?.choice(&[("vgg16", BackboneName::Vgg16)])?;
    let weights = section.get("weights").map_or(Ok(name.as_str()), |field| field.string())?;
    Ok(Backbone { name, weights: weights.to_string() })
}

fn check_classes(recipe: &Recipe, model: &Model, layers: &[Field<'_>]) -> Result<(), RecipeError> {
    let (expected, found) = (recipe.data.dataset.classes(), model.classes());
    if expected == found {
        return Ok(());
    }
    let name = recipe.data.dataset.as_str();
    let at = layers.last().expect("a model has layers");
    Err(at.error(format!(
        "the last layer gives {found} scores, but `{name}` has {expected} classes: give the last dense layer `units = {expected}`"
    )))
}

/// A name that can be a folder on any system.
fn file_name(field: &Field<'_>) -> Result<String, RecipeError> {
    let name = field.string()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain) {
        Ok(name.to_string())
    } else {
        Err(field.error(format!(
            "`name` names a folder: use letters, digits, `-`, `_` and `.`, starting with a letter or digit; found {name:?}"
        )))
    }
}

/// A recipe file's name made into one that can be a folder on any system.
fn folder_name(stem: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let name: String = stem.chars().map(plain).collect();
    let name = name.trim_start_matches(['-', '_', '.']);
    if name.is_empty() { "recipe".into() } else { name.into() }
}

/// Most values that one layer may make of a batch: 2³¹, 8 GiB.
const MAX_BATCH_VALUES: usize = 1 << 31;

/// Whether there is something to train and a batch of it can be held in memory.
fn check_size(recipe: &Recipe, root: &Section<'_>, fields: &[Field<'_>]) -> Result<(), RecipeError> {
    let batch_size = recipe.training.batch_size;
    for phase in 0..recipe.training.phases.len() {
        let model = recipe.model_in(phase).map_err(|error| root.error(error.to_string()))?;
        if model.counts().trainable == 0 {
            let what = "no layer has parameters that are trained: add a `dense` layer, or unfreeze one";
            return Err(fields.last().map_or_else(|| root.error(what), |field| field.error(what)));
        }
        let largest = model.layers().iter().map(|layer| layer.output.len().max(layer.input.len())).max().unwrap_or(0);
        if largest.saturating_mul(batch_size) > MAX_BATCH_VALUES {
            return Err(root.error(format!(
                "a batch of {batch_size} images makes layers of {largest} values each, over 2^31 together: use a smaller \
                 `training.batch_size`, `input` or layer"
            )));
        }
    }
    Ok(())
}

fn input(root: &Section<'_>) -> Result<Input, RecipeError> {
    let section = root.sub("input", &["height", "width", "channels", "preprocess", "antialias"])?;
    let side = 1..=i64::from(Preprocessing::MAX_SIDE);
    let preprocess = section.choice_or(
        "preprocess",
        Preprocess::Unit,
        &[
            ("unit", Preprocess::Unit),
            ("raw", Preprocess::Raw),
            ("caffe", Preprocess::Caffe),
            ("torch", Preprocess::Torch),
            ("tf", Preprocess::Tf),
        ],
    )?;
    // These two have a mean for each colour, in an order of their own.
    let (default, fixed) = match preprocess {
        Preprocess::Caffe => (Channels::Bgr, Some("bgr")),
        Preprocess::Torch => (Channels::Rgb, Some("rgb")),
        Preprocess::Unit | Preprocess::Raw | Preprocess::Tf => (Channels::Gray, None),
    };
    let words = [("gray", Channels::Gray), ("rgb", Channels::Rgb), ("bgr", Channels::Bgr)];
    let channels = section.choice_or("channels", default, &words)?;
    if let (Some(word), true, Some(field)) = (fixed, channels != default, section.get("channels")) {
        return Err(field.error(format!("this `preprocess` is for the channels {word}: leave out `channels`")));
    }
    Ok(Input {
        height: section.integer_or("height", 28, side.clone())?,
        width: section.integer_or("width", 28, side)?,
        channels,
        preprocess,
        antialias: section.boolean_or("antialias", false)?,
    })
}

fn data(root: &Section<'_>) -> Result<Data, RecipeError> {
    let section = root.sub("data", &["dataset", "validation_split", "validation", "limit", "test_limit"])?;
    let validation = match (section.get("validation"), section.get("validation_split")) {
        (Some(field), Some(_)) => {
            return Err(field.error("`validation` and `validation_split` exclude each other: keep one"));
        }
        (Some(field), None) => Validation::Subset(field.choice(&[("test", ValidationSubset::Test)])?),
        (None, Some(field)) => Validation::Split(field.number(Bound::OpenFraction)?),
        (None, None) => Validation::Split(0.1),
    };
    Ok(Data {
        dataset: section.choice_or("dataset", DatasetName::Mnist, &[("mnist", DatasetName::Mnist)])?,
        validation,
        limit: section.get("limit").map(|field| field.integer(1..=MANY)).transpose()?,
        test_limit: section.get("test_limit").map(|field| field.integer(1..=MANY)).transpose()?,
    })
}

fn export(root: &Section<'_>) -> Result<Export, RecipeError> {
    Ok(Export { softmax: root.sub("export", &["softmax"])?.boolean_or("softmax", false)? })
}

/// Each layer type with its keys, besides `type` and `name`, which all have.
const LAYERS: &[(&str, &[&str])] = &[
    ("conv2d", &["type", "name", "filters", "kernel_size", "strides", "padding", "use_bias", "activation"]),
    ("max_pool", &["type", "name", "pool_size", "strides"]),
    ("batch_norm", &["type", "name", "momentum", "epsilon"]),
    ("dropout", &["type", "name", "rate"]),
    ("flatten", &["type", "name"]),
    ("dense", &["type", "name", "units", "use_bias", "activation"]),
    ("relu", &["type", "name"]),
    ("softmax", &["type", "name"]),
];

fn layer(field: &Field<'_>) -> Result<LayerSpec, RecipeError> {
    let types: Vec<&str> = LAYERS.iter().map(|(kind, _)| *kind).collect();
    let keys = |kind: &str| LAYERS.iter().find(|(name, _)| *name == kind).map(|(_, keys)| *keys);
    let (kind, section) = field.tagged(keys, &types)?;
    let kind = match kind.as_str() {
        "conv2d" => LayerKind::Conv2d(Conv2d {
            filters: section.need("filters")?.integer(1..=MANY)?,
            kernel_size: section.need("kernel_size")?.pair(1..=MANY)?,
            strides: section.get("strides").map_or(Ok([1, 1]), |strides| strides.pair(1..=MANY))?,
            padding: section.choice_or(
                "padding",
                Padding::Valid,
                &[("valid", Padding::Valid), ("same", Padding::Same)],
            )?,
            use_bias: section.boolean_or("use_bias", true)?,
            activation: activation(&section)?,
        }),
        "max_pool" => {
            let pool_size = section.get("pool_size").map_or(Ok([2, 2]), |size| size.pair(1..=MANY))?;
            let strides = section.get("strides").map_or(Ok(pool_size), |strides| strides.pair(1..=MANY))?;
            LayerKind::MaxPool(MaxPool { pool_size, strides })
        }
        "batch_norm" => LayerKind::BatchNorm(BatchNorm {
            momentum: section.number_or("momentum", 0.99, Bound::Fraction)?,
            epsilon: section.number_or("epsilon", 1e-3, Bound::Positive)?,
        }),
        "dropout" => LayerKind::Dropout { rate: section.need("rate")?.number(Bound::Fraction)? },
        "flatten" => LayerKind::Flatten {},
        "dense" => LayerKind::Dense(Dense {
            units: section.need("units")?.integer(1..=MANY)?,
            use_bias: section.boolean_or("use_bias", true)?,
            activation: activation(&section)?,
        }),
        "relu" => LayerKind::Relu {},
        "softmax" => LayerKind::Softmax {},
        other => unreachable!("{other} is in LAYERS"),
    };
    Ok(LayerSpec { name: layer_name(&section)?, kind })
}

/// A name that can be the prefix of tensor names; a dot would make `a.b` of layer `a` and of layer `a.b` the same.
fn layer_name(section: &Section<'_>) -> Result<Option<String>, RecipeError> {
    let Some(field) = section.get("name") else { return Ok(None) };
    let name = field.string()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let reserved = matches!(name, "input" | "features" | "logits" | "probabilities");
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(plain) && !reserved {
        Ok(Some(name.to_string()))
    } else {
        Err(field.error(format!(
            "a layer's name is letters, digits, `-` and `_`, starting with a letter, and not `input`, `features`, `logits` or \
             `probabilities`; found {name:?}"
        )))
    }
}

fn activation(section: &Section<'_>) -> Result<Option<Activation>, RecipeError> {
    let choices = [("relu", Some(Activation::Relu)), ("softmax", Some(Activation::Softmax)), ("linear", None)];
    section.choice_or("activation", None, &choices)
}
