//! `kiln data`: counts by class, and pictures of samples.

mod counts;

use std::path::Path;

use anyhow::bail;
use kiln_data::View;
use kiln_model::{DataSource, Recipe};

use super::Context;
use crate::args::{DataArgs, RecipeArgs};
use crate::dataset::Named;
use crate::output::Outputs;
use crate::{Outcome, dataset, picture, recipe};
use counts::Counts;

pub fn run(args: &DataArgs, context: &Context<'_>) -> anyhow::Result<Outcome> {
    let recipe = read_recipe(args)?;
    let augmented = match (&args.augmented, &recipe) {
        (None, _) => None,
        (Some(path), Some(recipe)) if recipe.augmentation.is_some() => Some((path, recipe)),
        (Some(_), Some(recipe)) => {
            bail!(
                "`{}` has no section [augmentation]: add it, or leave out --augmented",
                recipe.name
            )
        }
        (Some(_), None) => {
            bail!("--augmented draws what a recipe says: name a recipe in place of a data set")
        }
    };
    // Before the work, not after it.
    Outputs::check(
        [
            ("--samples", args.samples.as_deref()),
            ("--augmented", args.augmented.as_deref()),
        ],
        &[&args.data],
    )?;
    for path in [&args.samples, &args.augmented].into_iter().flatten() {
        picture::check(path)?;
    }
    // Counting needs no pixels, and a picture those of a few images.
    context.files.forget_pixels();
    let (name, views) = match &recipe {
        Some(recipe) => (recipe.data.dataset.to_string(), of_recipe(recipe, context)?),
        None => of_data(&args.data, context)?,
    };
    let first = &views[0].1;
    if let Some(path) = &args.samples {
        picture::write(path, &picture::samples(first)?)?;
    }
    if let Some((path, recipe)) = augmented {
        picture::write(path, &picture::augmented(first, recipe)?)?;
    }
    let counts = Counts::new(name, &views);
    let text = if args.json {
        format!("{}\n", serde_json::to_string_pretty(&counts)?)
    } else {
        counts.table()
    };
    context.terminal.print(&text)?;
    Ok(Outcome::Done)
}

/// The recipe, where the argument is the path of one.
fn read_recipe(args: &DataArgs) -> anyhow::Result<Option<Recipe>> {
    if args.data.extension().is_some_and(|ending| ending == "toml") {
        let args = RecipeArgs {
            path: args.data.clone(),
            overrides: args.overrides.clone(),
        };
        return Ok(Some(recipe::read(&args)?));
    }
    if !args.overrides.is_empty() {
        bail!("--set changes a recipe: name a recipe in place of a data set, or leave it out");
    }
    Ok(None)
}

/// The parts that a recipe makes of its data set.
fn of_recipe(recipe: &Recipe, context: &Context<'_>) -> anyhow::Result<Vec<(&'static str, View)>> {
    let sets = dataset::sets(recipe, context)?;
    Ok(vec![
        ("train", sets.train),
        ("validation", sets.validation),
        ("test", dataset::test(recipe, context)?),
    ])
}

/// A data set's name and the subsets that it comes in.
fn of_data(
    data: &Path,
    context: &Context<'_>,
) -> anyhow::Result<(String, Vec<(&'static str, View)>)> {
    let Some(text) = data.to_str() else {
        bail!("the path `{}` is not UTF-8: rename it", data.display())
    };
    let source = match dataset::parse(text)? {
        Named::Files(source) => source,
        // Without a subset, all of them.
        Named::Subset(name, _) if text == name.as_str() => DataSource::Named(name),
        Named::Subset(name, subset) => {
            let view = View::all(dataset::load(name, subset, context)?);
            return Ok((text.into(), vec![(subset.name(), view)]));
        }
    };
    let subsets = dataset::subsets(&source, context)?;
    let whole = subsets.validation.is_none() && subsets.test.is_none();
    let train = if whole { "images" } else { "train" };
    let subsets = [
        (train, Some(subsets.train)),
        ("validation", subsets.validation),
        ("test", subsets.test),
    ];
    let views = subsets
        .into_iter()
        .filter_map(|(name, dataset)| Some((name, View::all(dataset?))));
    Ok((text.into(), views.collect()))
}
