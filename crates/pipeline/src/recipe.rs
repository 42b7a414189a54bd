//! Recipes from files.

use std::path::Path;

use kiln_model::{Recipe, References, Sweep};

use crate::dataset;
use crate::error::Result;
pub use crate::error::training::RecipeFileError;

/// Reads a recipe and applies overrides such as `training.epochs=3`.
pub fn read(path: &Path, overrides: &[String]) -> Result<Recipe> {
    let RecipeText { name, path, text } = RecipeText::read(path)?;
    Ok(Recipe::parse_with(
        &text,
        &path,
        &name,
        overrides,
        references(),
    )?)
}

/// Reads a recipe that is text in a program, with overrides. Runs are named after `name`.
pub fn parse(name: &str, text: &str, overrides: &[String]) -> Result<Recipe> {
    Ok(Recipe::parse_with(
        text,
        name,
        name,
        overrides,
        references(),
    )?)
}

/// Reads a recipe with a `[sweep]` and applies overrides.
pub fn read_sweep(path: &Path, overrides: &[String]) -> Result<Sweep> {
    let RecipeText { name, path, text } = RecipeText::read(path)?;
    Ok(Sweep::parse_with(
        &text,
        &path,
        &name,
        overrides,
        references(),
    )?)
}

/// What recipes refer to: the backbones of this build, and the datasets that are there.
fn references() -> References<'static> {
    References::new(kiln_trainer::bases(), &dataset::class_count)
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
