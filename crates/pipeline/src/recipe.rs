//! Recipes from files.

use std::path::Path;

use kiln_model::{Base, FileProblem, FileRequest, Recipe, References, Sweep};

use crate::context::Context;
use crate::error::Result;
pub use crate::error::training::RecipeFileError;
use crate::{backbone, dataset};

/// Reads a recipe and applies overrides such as `training.epochs=3`. A backbone that is an asset is
/// fetched if it is not there.
pub fn read(path: &Path, overrides: &[String], context: &Context<'_>) -> Result<Recipe> {
    let RecipeText { name, path, text } = RecipeText::read(path)?;
    let files = files(context);
    let references = references().with_files(&files);
    Ok(Recipe::parse_with(
        &text, &path, &name, overrides, references,
    )?)
}

/// Reads a recipe that is text in a program, as [`read`] does. Runs are named after `name`.
pub fn parse(
    name: &str,
    text: &str,
    overrides: &[String],
    context: &Context<'_>,
) -> Result<Recipe> {
    let files = files(context);
    let references = references().with_files(&files);
    Ok(Recipe::parse_with(text, name, name, overrides, references)?)
}

/// Reads a recipe with a `[sweep]`, as [`read`] does.
pub fn read_sweep(path: &Path, overrides: &[String], context: &Context<'_>) -> Result<Sweep> {
    let RecipeText { name, path, text } = RecipeText::read(path)?;
    let files = files(context);
    let references = references().with_files(&files);
    Ok(Sweep::parse_with(
        &text, &path, &name, overrides, references,
    )?)
}

/// What recipes refer to: the backbones of this build, and the datasets that are there.
fn references() -> References<'static> {
    References::new(kiln_trainer::bases(), &dataset::class_count)
}

/// Reads backbones from their files.
fn files<'a>(
    context: &'a Context<'a>,
) -> impl Fn(&FileRequest<'_>) -> std::result::Result<Base, FileProblem> + 'a {
    |request| backbone::base(request, context)
}

struct RecipeText {
    /// The file's name without its ending.
    name: String,
    /// The path, for messages.
    path: String,
    text: String,
}

impl RecipeText {
    fn read(path: &Path) -> Result<Self, RecipeFileError> {
        let bytes = std::fs::read(path).map_err(|source| RecipeFileError::Read {
            path: path.into(),
            source,
        })?;
        let text =
            String::from_utf8(bytes).map_err(|_| RecipeFileError::NotText { path: path.into() })?;
        let stem = path.file_stem();
        Ok(Self {
            name: stem.map_or_else(|| "recipe".into(), |stem| stem.to_string_lossy().into()),
            path: path.display().to_string(),
            text,
        })
    }
}
