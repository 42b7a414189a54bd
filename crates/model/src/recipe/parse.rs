//! From the tree of values to a recipe: keys, defaults and ranges.

mod augmentation;
mod data;
mod optimization;
pub mod sweep;
mod training;

use super::{Export, Input, Recipe};
use crate::document::{self, Bound, Field, Node, RecipeError, Section};
use crate::{
    Activation, Backbone, Base, BatchNorm, Channels, Conv2d, Dense, Interpolation, LayerKind,
    LayerSpec, Model, Padding, Pool, Preprocess, Preprocessing, Resize2d,
};

/// Counts that nobody exceeds on purpose; below it, products of two fit into 64 bits.
pub(super) const MANY: i64 = 1 << 31;

const ROOT: &[&str] = &[
    "name",
    "description",
    "input",
    "backbone",
    "data",
    "augmentation",
    "training",
    "export",
    "layers",
    "sweep",
];

pub(super) fn recipe(
    text: &str,
    origin: &str,
    name: &str,
    overrides: &[String],
    bases: &[Base],
) -> Result<Recipe, RecipeError> {
    recipe_of(
        &document::read(text, origin, overrides)?,
        origin,
        name,
        bases,
    )
}

fn recipe_of(
    document: &Node,
    origin: &str,
    name: &str,
    bases: &[Base],
) -> Result<Recipe, RecipeError> {
    let root = Section::root(origin, document, ROOT)?;
    if let Some(field) = root.get("sweep") {
        return Err(field.error(
            "this recipe has a `[sweep]`: train its combinations with `kiln sweep`, or leave it out with `--set sweep=`",
        ));
    }
    // Sections first: a key that slipped into the wrong one is better reported there than as
    // missing here.
    let (input, data, training, export) = (
        input(&root)?,
        data::read(&root)?,
        training::read(&root)?,
        export(&root)?,
    );
    let augmentation = augmentation::read(&root)?;
    let backbone = root
        .get("backbone")
        .map(|field| backbone(&field, bases, &input))
        .transpose()?;
    let fields = root.need("layers")?.array()?;
    let recipe = Recipe {
        name: match root.get("name") {
            Some(field) => file_name(&field)?,
            None => folder_name(name),
        },
        description: root
            .get("description")
            .map(|field| field.string().map(str::to_string))
            .transpose()?,
        input,
        data,
        augmentation,
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
    let names: Vec<&str> = model
        .layers()
        .iter()
        .map(|layer| layer.name.as_str())
        .collect();
    training::check_selections(&root, &names)?;
    training::check_class_weight(&root, model.classes())?;
    check_classes(&recipe, &model, &fields)?;
    check_size(&recipe, &root, &fields)?;
    Ok(recipe)
}

fn backbone(field: &Field<'_>, bases: &[Base], input: &Input) -> Result<Backbone, RecipeError> {
    let section = field.section(&["name", "weights"])?;
    let name = section.need("name")?;
    let known: Vec<_> = bases
        .iter()
        .map(|base| (base.name.as_str(), base))
        .collect();
    let base = name.choice(&known).map_err(|error| {
        error.and("; any other is compiled in by KILN_BACKBONES when kiln is built, see docs/backbones.md")
    })?;
    let found = input.channels.count();
    if base.channels != found {
        let expected = base.channels;
        return Err(name.error(format!(
            "`{}` takes images of {expected} channels, found {found}: set `input.channels`",
            base.name
        )));
    }
    let weights = match (section.get("weights"), &base.weights) {
        (None, Some(asset)) => asset.clone(),
        _ => section.need("weights")?.string()?.to_string(),
    };
    Ok(Backbone {
        base: base.clone(),
        weights,
    })
}

/// A base as the build script describes it.
pub(crate) fn base(text: &str, origin: &str) -> Result<Base, RecipeError> {
    let document = document::read(text, origin, &[])?;
    let root = Section::root(
        origin,
        &document,
        &["name", "channels", "weights", "layers"],
    )?;
    let layer = |field: &Field<'_>| match layer(field)? {
        layer if layer.name.is_none() => Err(field.error("a base's layers have names: add `name`")),
        layer => Ok(layer),
    };
    Ok(Base {
        name: file_name(&root.need("name")?)?,
        channels: root.need("channels")?.integer(1..=MANY)?,
        weights: root
            .get("weights")
            .map(|field| field.string().map(str::to_string))
            .transpose()?,
        layers: root
            .need("layers")?
            .array()?
            .iter()
            .map(layer)
            .collect::<Result<_, _>>()?,
    })
}

fn check_classes(recipe: &Recipe, model: &Model, layers: &[Field<'_>]) -> Result<(), RecipeError> {
    match recipe
        .data
        .dataset
        .classes()
        .and_then(|classes| recipe.class_mismatch(model.classes(), classes))
    {
        None => Ok(()),
        Some(problem) => Err(layers.last().expect("a model has layers").error(problem)),
    }
}

/// A name that can be a folder on any system.
fn file_name(field: &Field<'_>) -> Result<String, RecipeError> {
    let name = field.string()?;
    if Recipe::is_name(name) {
        Ok(name.to_string())
    } else {
        Err(field.error(format!(
            "`name` names a folder: use letters, digits, `-`, `_` and `.`, starting with a letter or digit; found {name:?}"
        )))
    }
}

/// A recipe file's name made into one that can be a folder on any system.
fn folder_name(stem: &str) -> String {
    let plain = |c: char| if Recipe::is_in_names(c) { c } else { '-' };
    let name: String = stem.chars().map(plain).collect();
    let name = name.trim_start_matches(|c: char| !c.is_alphanumeric());
    if name.is_empty() {
        "recipe".into()
    } else {
        name.into()
    }
}

/// Most values that one layer may make of a batch: 2³¹, 8 GiB.
const MAX_BATCH_VALUES: usize = 1 << 31;

/// Whether there is something to train and a batch of it can be held in memory.
fn check_size(
    recipe: &Recipe,
    root: &Section<'_>,
    fields: &[Field<'_>],
) -> Result<(), RecipeError> {
    let batch_size = recipe.training.batch_size;
    for phase in 0..recipe.training.phases.len() {
        let model = recipe
            .model_in(phase)
            .map_err(|error| root.error(error.to_string()))?;
        if model.counts().trainable == 0 {
            let what =
                "no layer has parameters that are trained: add a `dense` layer, or unfreeze one";
            return Err(fields
                .last()
                .map_or_else(|| root.error(what), |field| field.error(what)));
        }
        let largest = model
            .layers()
            .iter()
            .map(|layer| layer.output.len().max(layer.input.len()))
            .max()
            .unwrap_or(0);
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
    let section = root.sub(
        "input",
        &["height", "width", "channels", "preprocess", "antialias"],
    )?;
    let side = 1..=i64::from(Preprocessing::MAX_SIDE);
    let preprocess = section.choice_or("preprocess", Preprocess::Unit, &Preprocess::WORDS)?;
    // Some have a mean for each colour, in an order of their own.
    let fixed = preprocess.channels();
    let channels = section.choice_or(
        "channels",
        fixed.unwrap_or(Channels::Gray),
        &Channels::WORDS,
    )?;
    if let (Some(fixed), Some(field)) = (
        fixed.filter(|fixed| *fixed != channels),
        section.get("channels"),
    ) {
        return Err(field.error(format!(
            "this `preprocess` is for the channels {fixed}: leave out `channels`"
        )));
    }
    Ok(Input {
        height: section.integer_or("height", 28, side.clone())?,
        width: section.integer_or("width", 28, side)?,
        channels,
        preprocess,
        antialias: section.boolean_or("antialias", false)?,
    })
}

fn export(root: &Section<'_>) -> Result<Export, RecipeError> {
    let section = root.sub("export", &["softmax", "golden"])?;
    Ok(Export {
        softmax: section.boolean_or("softmax", false)?,
        golden: section.boolean_or("golden", true)?,
    })
}

/// Each layer type with its keys, besides `type` and `name`, which all have.
const LAYERS: &[(&str, &[&str])] = &[
    (
        "conv2d",
        &[
            "type",
            "name",
            "filters",
            "kernel_size",
            "strides",
            "padding",
            "dilation_rate",
            "groups",
            "use_bias",
            "activation",
        ],
    ),
    (
        "max_pool",
        &["type", "name", "pool_size", "strides", "padding"],
    ),
    (
        "avg_pool",
        &["type", "name", "pool_size", "strides", "padding"],
    ),
    ("global_max_pool", &["type", "name"]),
    ("global_avg_pool", &["type", "name"]),
    ("channel_max", &["type", "name"]),
    ("batch_norm", &["type", "name", "momentum", "epsilon"]),
    ("dropout", &["type", "name", "rate"]),
    ("flatten", &["type", "name"]),
    (
        "dense",
        &["type", "name", "units", "use_bias", "activation"],
    ),
    ("reshape", &["type", "name", "target_shape"]),
    (
        "resize",
        &["type", "name", "height", "width", "interpolation"],
    ),
    ("activation", &["type", "name", "activation"]),
    ("relu", &["type", "name"]),
    ("softmax", &["type", "name"]),
];

fn layer(field: &Field<'_>) -> Result<LayerSpec, RecipeError> {
    let types: Vec<&str> = LAYERS.iter().map(|(kind, _)| *kind).collect();
    let keys = |kind: &str| {
        LAYERS
            .iter()
            .find(|(name, _)| *name == kind)
            .map(|(_, keys)| *keys)
    };
    let (kind, section) = field.tagged(keys, &types)?;
    let kind = match kind.as_str() {
        "conv2d" => LayerKind::Conv2d(Conv2d {
            filters: section.need("filters")?.integer(1..=MANY)?,
            kernel_size: section.need("kernel_size")?.pair(1..=MANY)?,
            strides: section
                .get("strides")
                .map_or(Ok([1, 1]), |strides| strides.pair(1..=MANY))?,
            padding: padding(&section)?,
            dilation_rate: section
                .get("dilation_rate")
                .map_or(Ok([1, 1]), |rate| rate.pair(1..=MANY))?,
            groups: section.integer_or("groups", 1, 1..=MANY)?,
            use_bias: section.boolean_or("use_bias", true)?,
            activation: activation(&section)?,
        }),
        "max_pool" => LayerKind::MaxPool(pool(&section)?),
        "avg_pool" => LayerKind::AvgPool(pool(&section)?),
        "global_max_pool" => LayerKind::GlobalMaxPool {},
        "global_avg_pool" => LayerKind::GlobalAvgPool {},
        "channel_max" => LayerKind::ChannelMax {},
        "reshape" => {
            let dims = section.need("target_shape")?.array()?;
            let target_shape = dims
                .iter()
                .map(|dim| dim.integer(1..=MANY))
                .collect::<Result<_, _>>()?;
            LayerKind::Reshape { target_shape }
        }
        "resize" => LayerKind::Resize(Resize2d {
            height: section
                .need("height")?
                .integer(1..=i64::from(Preprocessing::MAX_SIDE))?,
            width: section
                .need("width")?
                .integer(1..=i64::from(Preprocessing::MAX_SIDE))?,
            interpolation: section.choice_or(
                "interpolation",
                Interpolation::Bilinear,
                &[
                    ("nearest", Interpolation::Nearest),
                    ("bilinear", Interpolation::Bilinear),
                ],
            )?,
        }),
        "activation" => {
            let field = section.need("activation")?;
            let Some(activation) = activation(&section)? else {
                return Err(
                    field.error("a layer of a linear activation does nothing: leave it out")
                );
            };
            LayerKind::Activation { activation }
        }
        "batch_norm" => LayerKind::BatchNorm(BatchNorm {
            momentum: section.number_or("momentum", 0.99, Bound::Fraction)?,
            epsilon: section.number_or("epsilon", 1e-3, Bound::Positive)?,
        }),
        "dropout" => LayerKind::Dropout {
            rate: section.need("rate")?.number(Bound::Fraction)?,
        },
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
    Ok(LayerSpec {
        name: layer_name(&section)?,
        kind,
    })
}

fn layer_name(section: &Section<'_>) -> Result<Option<String>, RecipeError> {
    let Some(field) = section.get("name") else {
        return Ok(None);
    };
    let name = field.string()?;
    if LayerSpec::is_name(name) {
        Ok(Some(name.to_string()))
    } else {
        Err(field.error(format!(
            "a layer's name is letters, digits, `-` and `_`, starting with a letter, and not `input`, `features`, `logits` or \
             `probabilities`; found {name:?}"
        )))
    }
}

fn pool(section: &Section<'_>) -> Result<Pool, RecipeError> {
    let pool_size = section
        .get("pool_size")
        .map_or(Ok([2, 2]), |size| size.pair(1..=MANY))?;
    let strides = section
        .get("strides")
        .map_or(Ok(pool_size), |strides| strides.pair(1..=MANY))?;
    Ok(Pool {
        pool_size,
        strides,
        padding: padding(section)?,
    })
}

fn padding(section: &Section<'_>) -> Result<Padding, RecipeError> {
    section.choice_or(
        "padding",
        Padding::Valid,
        &[("valid", Padding::Valid), ("same", Padding::Same)],
    )
}

fn activation(section: &Section<'_>) -> Result<Option<Activation>, RecipeError> {
    let choices = [
        ("relu", Some(Activation::Relu)),
        ("leaky_relu", Some(Activation::LeakyRelu)),
        ("sigmoid", Some(Activation::Sigmoid)),
        ("tanh", Some(Activation::Tanh)),
        ("gelu", Some(Activation::Gelu)),
        ("silu", Some(Activation::Silu)),
        ("softmax", Some(Activation::Softmax)),
        ("linear", None),
    ];
    section.choice_or("activation", None, &choices)
}
