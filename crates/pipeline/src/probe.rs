//! How good a model's features are for a dataset: the recipe of a linear probe.
//!
//! The model is the frozen backbone, and one dense layer on its features is fitted by L-BFGS, with the
//! penalty chosen on the validation images. [`run`](fn@crate::run::run) does the rest, as for any
//! recipe.

use std::path::Path;

use kiln_model::{DataSource, Recipe};
use serde_json::to_string;

use crate::context::Context;
use crate::dataset::DatasetRef;
use crate::error::Result;
use crate::recipe::parse;

/// A model and the images that it is probed with.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ProbeRequest {
    /// An asset's name, or the path of an ONNX file.
    pub model: String,
    /// A folder of images, a CSV list, or the name of a dataset.
    pub data: String,
    /// What the run is called; the model's name and `-probe`, if not given.
    pub name: Option<String>,
    /// The segment, node or value that gives the features; what the classifier takes, if not given.
    pub output: Option<String>,
    /// Seed of the splits.
    pub seed: u64,
    /// Changes to the recipe, such as `input.preprocess=torch`.
    pub overrides: Vec<String>,
}

impl ProbeRequest {
    /// Probes a model with the images of a dataset.
    pub fn new(model: impl Into<String>, data: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            data: data.into(),
            ..Self::default()
        }
    }
}

/// Makes the recipe of a probe.
///
/// # Errors
///
/// What is wrong with the model, the dataset or the changes, as of any recipe.
pub fn recipe(request: &ProbeRequest, context: &Context<'_>) -> Result<Recipe> {
    let name = request.name.clone().unwrap_or_else(|| {
        let stem = Path::new(&request.model).file_stem().unwrap_or_default();
        format!("{}-probe", stem.to_string_lossy())
    });
    let read = |layers: &str| parse(&name, &text(request, layers), &request.overrides, context);
    match read(DENSE) {
        Ok(recipe) => Ok(recipe),
        // A dense layer takes no feature maps.
        Err(error) => read(&format!("{POOL}{DENSE}")).map_err(|_| error),
    }
}

const DENSE: &str = "[[layers]]\ntype = \"dense\"\n";
const POOL: &str = "[[layers]]\ntype = \"global_avg_pool\"\n";

fn text(request: &ProbeRequest, layers: &str) -> String {
    let ProbeRequest {
        model, data, seed, ..
    } = request;
    // Strings of JSON are strings of TOML.
    let quoted = |text: &str| to_string(text).expect("a string can be written");
    let output = request.output.as_deref();
    let output = output.map_or_else(String::new, |output| {
        format!("output = {}\n", quoted(output))
    });
    let path = Path::new(data);
    let source = match DatasetRef::parse(data) {
        Ok(DatasetRef::Named(name, _)) if !path.exists() => DataSource::Named(name),
        Ok(DatasetRef::Files(source)) => source,
        _ => DataSource::Folder(data.clone()),
    };
    format!(
        "description = {}\n[backbone]\nweights = {}\n{output}[data]\n{}[training]\nseed = {seed}\n\
         optimizer = \"lbfgs\"\n{layers}",
        quoted(&format!("Linear probe of {model}")),
        quoted(model),
        source.to_toml(),
    )
}
