//! Reading a recipe file.

use std::path::Path;

use kiln_model::{Base, Recipe, RecipeError, Sweep};

use crate::args::RecipeArgs;

/// Reads a recipe and applies the changes asked for.
pub fn read(args: &RecipeArgs) -> anyhow::Result<Recipe> {
    read_file(&args.path, &args.overrides)
}

/// Reads a recipe's file and applies changes.
pub fn read_file(path: &Path, overrides: &[String]) -> anyhow::Result<Recipe> {
    parse(path, overrides, Recipe::parse_with)
}

/// Reads a recipe with a `[sweep]` and applies the changes asked for.
pub fn read_sweep(args: &RecipeArgs) -> anyhow::Result<Sweep> {
    parse(&args.path, &args.overrides, Sweep::parse_with)
}

/// Makes something of a recipe's text, where it is, its name, changes to it, and the pretrained
/// bases that there are.
type Parser<T> = fn(&str, &str, &str, &[String], &[Base]) -> Result<T, RecipeError>;

fn parse<T>(path: &Path, overrides: &[String], parse: Parser<T>) -> anyhow::Result<T> {
    let bytes = std::fs::read(path).map_err(|error| {
        anyhow::anyhow!(
            "cannot read the recipe {}: {error}. The recipes that come with kiln are in models/",
            path.display()
        )
    })?;
    let text = String::from_utf8(bytes).map_err(|_| {
        anyhow::anyhow!(
            "the recipe {} is not UTF-8 text: recipes are TOML files",
            path.display()
        )
    })?;
    let name = path
        .file_stem()
        .map_or_else(|| "recipe".into(), |stem| stem.to_string_lossy());
    Ok(parse(
        &text,
        &path.display().to_string(),
        &name,
        overrides,
        kiln_trainer::bases(),
    )?)
}
