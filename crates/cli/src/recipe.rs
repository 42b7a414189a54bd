//! Reading a recipe file.

use kiln_spec::{Recipe, RecipeError, Sweep};

use crate::args::RecipeArgs;

/// Reads a recipe and applies the changes asked for.
pub fn read(args: &RecipeArgs) -> anyhow::Result<Recipe> {
    parse(args, Recipe::parse)
}

/// Reads a recipe with a `[sweep]` likewise.
pub fn read_sweep(args: &RecipeArgs) -> anyhow::Result<Sweep> {
    parse(args, Sweep::parse)
}

fn parse<T>(args: &RecipeArgs, parse: fn(&str, &str, &str, &[String]) -> Result<T, RecipeError>) -> anyhow::Result<T> {
    let path = &args.path;
    let bytes = std::fs::read(path).map_err(|error| {
        anyhow::anyhow!(
            "cannot read the recipe {}: {error}. The recipes that come with kiln are in models/",
            path.display()
        )
    })?;
    let text = String::from_utf8(bytes)
        .map_err(|_| anyhow::anyhow!("the recipe {} is not UTF-8 text: recipes are TOML files", path.display()))?;
    let name = path.file_stem().map_or_else(|| "recipe".into(), |stem| stem.to_string_lossy());
    Ok(parse(&text, &path.display().to_string(), &name, &args.overrides)?)
}
