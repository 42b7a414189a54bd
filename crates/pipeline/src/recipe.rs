//! Recipes from files.

use std::cell::RefCell;
use std::path::Path;

use kiln_model::{
    Base, DataSource, FileProblem, FileRequest, Recipe, RecipeError, References, Sweep,
};

use crate::context::Context;
use crate::error::Result;
pub use crate::error::training::RecipeFileError;
use crate::{backbone, dataset};

/// Reads a recipe and applies overrides such as `training.epochs=3`. A backbone that is an asset is
/// fetched if it is not there.
pub fn read(path: &Path, overrides: &[String], context: &Context<'_>) -> Result<Recipe> {
    RecipeText::read(path)?.parse(overrides, context)
}

/// Reads a recipe that is text in a program, as [`read`] does. Runs are named after `name`.
pub fn parse(
    name: &str,
    text: &str,
    overrides: &[String],
    context: &Context<'_>,
) -> Result<Recipe> {
    RecipeText::new(name, text).parse(overrides, context)
}

/// Reads a recipe with a `[sweep]`, as [`read`] does.
pub fn read_sweep(path: &Path, overrides: &[String], context: &Context<'_>) -> Result<Sweep> {
    RecipeText::read(path)?.parse_sweep(overrides, context)
}

/// A recipe as it is written, before it is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipeText {
    /// What runs are called if the recipe does not say so: the file's name without its ending.
    name: String,
    /// What messages call it: its path.
    origin: String,
    text: String,
}

/// Reads a backbone from its file.
type Files<'a> = dyn Fn(&FileRequest<'_>) -> std::result::Result<Base, FileProblem> + 'a;

impl RecipeText {
    /// Takes text of this name.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            origin: name.clone(),
            name,
            text: text.into(),
        }
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, RecipeFileError> {
        let bytes = std::fs::read(path).map_err(|source| RecipeFileError::Read {
            path: path.into(),
            source,
        })?;
        let text =
            String::from_utf8(bytes).map_err(|_| RecipeFileError::NotText { path: path.into() })?;
        let stem = path.file_stem();
        Ok(Self {
            name: stem.map_or_else(|| "recipe".into(), |stem| stem.to_string_lossy().into()),
            origin: path.display().to_string(),
            text,
        })
    }

    /// Applies overrides and checks the recipe, as [`read`] does.
    pub fn parse(&self, overrides: &[String], context: &Context<'_>) -> Result<Recipe> {
        self.parse_with(overrides, &|request| backbone::base(request, context))
    }

    /// Applies overrides and checks every combination of a recipe with a `[sweep]`, as [`read_sweep`] does.
    pub fn parse_sweep(&self, overrides: &[String], context: &Context<'_>) -> Result<Sweep> {
        let files = |request: &FileRequest<'_>| backbone::base(request, context);
        with_references(&files, |references| {
            Sweep::parse_with(&self.text, &self.origin, &self.name, overrides, references)
        })
    }

    /// Checks the recipe with backbones from other places.
    pub(crate) fn parse_with(&self, overrides: &[String], files: &Files<'_>) -> Result<Recipe> {
        with_references(files, |references| {
            Recipe::parse_with(&self.text, &self.origin, &self.name, overrides, references)
        })
    }

    /// Checks what a recipe says without its backbone.
    pub(crate) fn parse_outline(&self, overrides: &[String], files: &Files<'_>) -> Result<Recipe> {
        with_references(files, |references| {
            Recipe::parse_outline(&self.text, &self.origin, &self.name, overrides, references)
        })
    }
}

/// Reads with what recipes refer to: the backbones of this build, those in files, and the datasets
/// that are there. Why the classes of one cannot be counted says more than that their number is not
/// known.
fn with_references<T>(
    files: &Files<'_>,
    read: impl FnOnce(References<'_>) -> std::result::Result<T, RecipeError>,
) -> Result<T> {
    let problem = RefCell::new(None);
    let classes = |source: &DataSource| match dataset::classes(source) {
        Ok(classes) => classes,
        Err(error) => {
            problem.replace(Some(error));
            None
        }
    };
    let references = References::new(kiln_trainer::bases(), &classes).with_files(files);
    read(references).map_err(|error| problem.take().unwrap_or_else(|| error.into()))
}
