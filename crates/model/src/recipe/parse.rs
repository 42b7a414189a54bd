//! From the tree of values to a checked recipe, and to the description of a base.

use super::{
    Recipe, RecipeFields, References, augmentation, data, export, input, network, optimization,
    training,
};
use crate::document::{self, Field, Hint, Node, Place, RecipeError, Section, Source, Value};
use crate::layers::{LayerDef, parse_list};
use crate::{
    Backbone, Base, BatchNormMode, DataSource, Dense, FileRequest, Input, LayerSpec, Model,
};

/// Sections and their keys, to suggest where a misplaced key belongs.
pub(super) const SECTIONS: &[(&str, &[&str])] = &[
    ("input", input::KEYS),
    ("data", data::KEYS),
    ("augmentation", augmentation::KEYS),
    ("training", training::KEYS),
    ("training.optimizer", optimization::OPTIMIZER_KEYS),
    ("network", network::KEYS),
    ("export", export::KEYS),
];

/// Keys of the recipe itself.
pub(super) const ROOT: &[&str] = &[
    "name",
    "description",
    "input",
    "backbone",
    "data",
    "augmentation",
    "training",
    "export",
    "network",
    "layers",
    "sweep",
];

/// Keys of `[backbone]`.
const BACKBONE: &[&str] = &["name", "weights", "output", "batch_norm", "unfold"];

pub(super) fn recipe(
    text: &str,
    origin: &str,
    name: &str,
    overrides: &[String],
    references: References<'_>,
) -> Result<Recipe, RecipeError> {
    let document = document::read(text, origin, overrides)?;
    recipe_of(document, origin, name, references)
}

/// Stands for the layers of a recipe whose backbone is not there: one that is frozen, one that is trained.
const STAND_IN: &str = r#"
layers = [{ type = "flatten" }, { type = "dense", name = "frozen", units = 1 }, { type = "dense" }]
input.channels = "rgb"
"#;

/// Sections that say something without the layers.
const WITHOUT_LAYERS: [&str; 7] = [
    "name",
    "description",
    "data",
    "augmentation",
    "training",
    "export",
    "sweep",
];

/// Reads a recipe without its backbone and layers, in whose place others stand.
pub(super) fn outline(
    text: &str,
    origin: &str,
    name: &str,
    overrides: &[String],
    references: References<'_>,
) -> Result<Recipe, RecipeError> {
    let mut written = document::read(text, origin, overrides)?;
    let mut outline = document::read(STAND_IN, origin, &[])?;
    for key in WITHOUT_LAYERS {
        if let Some(mut node) = written.take(key) {
            if key == "training" {
                training::forget_layers(&mut node);
            }
            outline.add(key, node);
        }
    }
    let frozen = Node {
        value: Value::String("frozen".into()),
        place: Place::Whole,
    };
    document::assign(&mut outline, &["training", "freeze"], frozen)
        .map_err(|problem| RecipeError::new(origin, Place::Whole, problem))?;
    recipe_of(outline, origin, name, references)
}

/// Reads and checks a recipe.
pub(super) fn recipe_of(
    mut document: Node,
    origin: &str,
    name: &str,
    references: References<'_>,
) -> Result<Recipe, RecipeError> {
    let source = Source {
        origin,
        sections: SECTIONS,
    };
    let unknown = fill_in_units(&mut document, source, references)?;
    let root = Section::root(source, &document, ROOT)?;
    if let Some(field) = root.get("sweep") {
        return Err(field
            .error("this recipe has a `[sweep]`")
            .with_hint(Hint::Sweep));
    }
    // Sections first: a key that slipped into the wrong one is better reported there than as
    // missing here.
    let section = root
        .get("backbone")
        .map(|field| field.section(BACKBONE))
        .transpose()?;
    let base = section
        .as_ref()
        .map(|section| base(section, &root, references))
        .transpose()?;
    let file = base.as_ref().and_then(|base| base.file.as_ref());
    let input = input::parse(&root, file)?;
    let data = data::parse(&root)?;
    let training = training::parse(&root)?;
    let export = export::parse(&root, training.loss)?;
    let augmentation = augmentation::parse(&root)?;
    let backbone = section
        .zip(base)
        .map(|(section, base)| backbone(&section, base, &input))
        .transpose()?;
    let network = network::parse(&root, &data.dataset, references.classes, training.loss)?;
    let fields = match (&network, root.get("layers")) {
        (Some(_), None) => Vec::new(),
        (None, None) => root.need("layers")?.array()?,
        (_, Some(field)) => field.array()?,
    };
    if let Some(Unknown { at, dataset }) = unknown
        && let Some(field) = fields.get(at)
    {
        return Err(field.error(format!(
            "`units` is missing, and the number of classes of `{dataset}` is not known, since its images are not at hand: give \
             `units`, or name other images in `[data]`"
        )));
    }
    let layers = parse_list(&fields, |_, _| Ok(()))?;
    let (places, mut layers): (Vec<usize>, Vec<LayerSpec>) = layers.into_iter().unzip();
    let loss = training.loss;
    loss.take_activation(&mut layers)
        .map_err(|problem| match fields.last() {
            Some(last) => last.error(problem),
            None => root.error(problem),
        })?;
    let read = RecipeFields {
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
        network,
        layers,
    };
    let others = read.all_layers().len() - read.layers.len();
    let at_layer = |index: usize, problem: String| {
        let own = index.checked_sub(others);
        let place = own.and_then(|index| places.get(index));
        match place.and_then(|&place| fields.get(place)) {
            Some(field) => field.error(problem),
            None => root.error(problem),
        }
    };
    let model = read
        .unfrozen_model()
        .map_err(|error| at_layer(error.index, error.to_string()))?;
    training::check_selections(&root, &model)?;
    training::check_weights(&root, model.classes())?;
    export::check_threshold(&root, &read.export, model.classes())?;
    let read = read
        .with_trained_segments(&model)
        .map_err(|error| training::error(&root, error.problem))?;
    check_unfold(&read, &model, &root)?;
    let recipe = Recipe::new(read).map_err(|error| root.error(error.to_string()))?;
    check_classes(&recipe, &root, &fields)?;
    check_size(&recipe, &root, &fields)?;
    Ok(recipe)
}

/// A last dense layer without `units`, where the number of classes is not known.
struct Unknown {
    /// Its place among the layers.
    at: usize,
    dataset: DataSource,
}

/// Gives the last dense layer as many units as the dataset has classes, if it has none.
fn fill_in_units(
    document: &mut Node,
    source: Source<'_>,
    references: References<'_>,
) -> Result<Option<Unknown>, RecipeError> {
    let Some((at, _)) = document
        .last_of_type("layers", Dense::TYPE)
        .filter(|(_, last)| !last.has("units"))
    else {
        return Ok(None);
    };
    let root = Section::root(source, document, ROOT)?;
    let dataset = data::parse(&root)?.dataset;
    let Some(classes) = (references.classes)(&dataset) else {
        return Ok(Some(Unknown { at, dataset }));
    };
    let units = training::parse(&root)?.loss.scores(classes);
    document.add_to("layers", at, "units", Value::Integer(units as i64));
    Ok(None)
}

/// The base that `[backbone]` names, or that its file holds.
fn base(
    section: &Section<'_>,
    root: &Section<'_>,
    references: References<'_>,
) -> Result<Base, RecipeError> {
    if let Some(name) = section.get("name") {
        for key in ["output", "batch_norm", "unfold"] {
            if let Some(field) = section.get(key) {
                return Err(field.error(format!(
                    "`{key}` is of a backbone without `name`, read from a file"
                )));
            }
        }
        let known: Vec<_> = references
            .bases
            .iter()
            .map(|base| (base.name.as_str(), base))
            .collect();
        let base = name
            .choice(&known)
            .map_err(|error| error.with_hint(Hint::BackboneFile))?;
        return Ok(base.clone());
    }
    let weights = section.need("weights")?;
    let output = section.get("output");
    let request = FileRequest {
        weights: weights.string()?,
        output: output.as_ref().map(Field::string).transpose()?,
        size: input::size(root)?,
    };
    let base = (references.files)(&request).map_err(|error| {
        let field = output.as_ref().filter(|_| error.is_output);
        let refused = field.unwrap_or(&weights).error(error.problem);
        match error.hint {
            Some(hint) => refused.with_hint(hint),
            None => refused,
        }
    })?;
    if base
        .file
        .as_ref()
        .is_some_and(|file| file.preprocessing.is_none())
        && !input::says_values(root)?
    {
        return Err(weights
            .error(
                "the file does not say how its images were prepared: give `input.preprocess`, or `input.scale`, \
                 `input.mean` and `input.std`",
            ));
    }
    Ok(base)
}

fn backbone(section: &Section<'_>, base: Base, input: &Input) -> Result<Backbone, RecipeError> {
    let found = input.channels.count();
    if base.channels != found {
        let expected = base.channels;
        let named = match section.get("name") {
            Some(name) => name,
            None => section.need("weights")?,
        };
        return Err(named.error(format!(
            "`{}` takes images of {expected} channels, found {found}: set `input.channels`",
            base.name
        )));
    }
    let weights = match (section.get("weights"), &base.weights) {
        (None, Some(asset)) => asset.clone(),
        _ => section.need("weights")?.string()?.to_string(),
    };
    let output = section.get("output");
    Ok(Backbone {
        base,
        weights,
        output: output
            .map(|output| output.string().map(str::to_owned))
            .transpose()?,
        batch_norm: section.choice_or(
            "batch_norm",
            BatchNormMode::default(),
            &BatchNormMode::WORDS,
        )?,
        unfold: section.boolean_or("unfold", false)?,
    })
}

/// Checks that there is a convolution to unfold, where that is asked for; `model` has no layer frozen.
fn check_unfold(read: &RecipeFields, model: &Model, root: &Section<'_>) -> Result<(), RecipeError> {
    let problem = read
        .unfold_problem(model)
        .map_err(|error| training::error(root, error.problem))?;
    let Some(problem) = problem else {
        return Ok(());
    };
    let section = root.need("backbone")?.section(BACKBONE)?;
    let problem = format!("{problem}: leave `unfold` out, or train other segments");
    Err(section.need("unfold")?.error(problem))
}

fn check_classes(
    recipe: &Recipe,
    root: &Section<'_>,
    layers: &[Field<'_>],
) -> Result<(), RecipeError> {
    let classes = recipe.data.dataset.classes();
    let problem =
        classes.and_then(|classes| recipe.class_mismatch(recipe.model().classes(), classes));
    let Some(problem) = problem else {
        return Ok(());
    };
    let network = || root.get("network").map(|field| field.error(&problem));
    let last = layers.last().map(|last| last.error(&problem));
    Err(last
        .or_else(network)
        .unwrap_or_else(|| root.error(&problem)))
}

/// A name that can be a folder on any system.
pub(super) fn file_name(field: &Field<'_>) -> Result<String, RecipeError> {
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
pub(super) fn folder_name(stem: &str) -> String {
    let plain = |c: char| if Recipe::is_in_names(c) { c } else { '-' };
    let name: String = stem.chars().map(plain).collect();
    let name = name.trim_start_matches(|c: char| !c.is_alphanumeric());
    if name.is_empty() {
        "recipe".into()
    } else {
        name.into()
    }
}

/// Limit of the values that one layer makes of a batch: 2³¹, 8 GiB.
const MAX_BATCH_VALUES: usize = 1 << 31;

/// Checks that there is something to train, and that a batch of it fits into memory.
fn check_size(
    recipe: &Recipe,
    root: &Section<'_>,
    fields: &[Field<'_>],
) -> Result<(), RecipeError> {
    let batch_size = recipe.training.batch_size;
    for model in &recipe.models {
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
