//! Reading a recipe file.

use std::path::Path;

use kiln_spec::Recipe;

use crate::args::RecipeArgs;

/// Reads a recipe and applies the changes asked for.
pub fn read(args: &RecipeArgs) -> anyhow::Result<Recipe> {
    read_file(&args.path, &args.overrides)
}

/// Reads a recipe's file and applies changes.
pub fn read_file(path: &Path, overrides: &[String]) -> anyhow::Result<Recipe> {
    let bytes = std::fs::read(path).map_err(|error| {
        anyhow::anyhow!(
            "cannot read the recipe {}: {error}. The recipes that come with kiln are in models/",
            path.display()
        )
    })?;
    let text = String::from_utf8(bytes)
        .map_err(|_| anyhow::anyhow!("the recipe {} is not UTF-8 text: recipes are TOML files", path.display()))?;
    let name = path.file_stem().map_or_else(|| "recipe".into(), |stem| stem.to_string_lossy());
    Ok(Recipe::parse_with(&text, &path.display().to_string(), &name, overrides, kiln_trainer::bases())?)
}
