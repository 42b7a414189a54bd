//! `kiln data`: counts by class, and pictures of samples.

use std::path::{Path, PathBuf};

use anyhow::bail;
use kiln_data::Decoding;
use kiln_data::View;
use kiln_model::{DataSource, Recipe};
use kiln_pipeline::dataset::{self, ClassCounts, DatasetRef};
use kiln_pipeline::report::{self, samples};

use crate::app::{App, Outcome};
use crate::output::{self, Outputs};
use crate::picture;

#[derive(Debug, clap::Args)]
pub struct DataArgs {
    /// Dataset (mnist, fashion-mnist, cifar-10, a folder of images for each class, a CSV file with the columns path and
    /// label, Parquet, tar, CIFAR's or IDX files), or a recipe
    #[arg(value_name = "DATA|RECIPE")]
    data: PathBuf,
    /// Change a value of the recipe, such as `data.limit=1000`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
    /// Draw images of every class, with their names: those of a recipe as its model sees them
    #[arg(long, value_name = "FILE.png|.svg")]
    samples: Option<PathBuf>,
    /// Draw training images as the recipe's augmentation changes them: each in a row, first as it
    /// is
    #[arg(long, value_name = "FILE.png|.svg")]
    augmented: Option<PathBuf>,
}

/// Prints the counts, and draws pictures.
pub fn run(args: &DataArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let recipe = read_recipe(args, app)?;
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
            bail!("--augmented draws what a recipe says: name a recipe in place of a dataset")
        }
    };
    // Before the work, not after it.
    Outputs::check(
        [
            ("--samples", args.samples.as_deref()),
            ("--augmented", args.augmented.as_deref()),
        ],
        &[&args.data],
    )?
    .announce_replaced(app.terminal);
    for path in [&args.samples, &args.augmented].into_iter().flatten() {
        picture::check(path)?;
    }
    // Counting needs no pixels, and a picture those of a few images.
    app.context.files.set_decoding(Decoding::Verify);
    let (name, views) = match &recipe {
        Some(recipe) => (recipe.data.dataset.to_string(), of_recipe(recipe, app)?),
        None => of_data(&args.data, app)?,
    };
    let first = &views[0].1;
    if let Some(path) = &args.samples {
        let record = recipe.as_ref().map(|recipe| recipe.preprocessing());
        picture::write(path, &samples(first, record.as_ref())?)?;
    }
    if let Some((path, recipe)) = augmented {
        picture::write(path, &report::augmented(first, recipe)?)?;
    }
    let counts = ClassCounts::new(name, &views);
    output::print(args.json, &counts, || Ok(counts.to_text()), app.terminal)?;
    Ok(Outcome::Done)
}

/// Reads the recipe, if the argument is the path of one.
fn read_recipe(args: &DataArgs, app: &App<'_>) -> anyhow::Result<Option<Recipe>> {
    if args.data.extension().is_some_and(|ending| ending == "toml") {
        return Ok(Some(kiln_pipeline::recipe::read(
            &args.data,
            &args.overrides,
            &app.context,
        )?));
    }
    if !args.overrides.is_empty() {
        bail!("--set changes a recipe: name a recipe in place of a dataset, or leave it out");
    }
    Ok(None)
}

/// Returns the subsets that a recipe makes of its dataset.
fn of_recipe(recipe: &Recipe, app: &App<'_>) -> anyhow::Result<Vec<(&'static str, View)>> {
    let splits = dataset::splits(recipe, &app.context)?;
    Ok(vec![
        ("train", splits.train),
        ("validation", splits.validation),
        ("test", dataset::test_images(recipe, &app.context)?),
    ])
}

/// Returns a dataset's name and the subsets that it comes in.
fn of_data(data: &Path, app: &App<'_>) -> anyhow::Result<(String, Vec<(&'static str, View)>)> {
    let Some(text) = data.to_str() else {
        bail!("the path `{}` is not UTF-8: rename it", data.display())
    };
    let source = match DatasetRef::parse(text)? {
        DatasetRef::Files(source) => source,
        // Without a subset, all of them.
        DatasetRef::Named(name, _) if text == name.as_str() => DataSource::Named(name),
        DatasetRef::Named(name, subset) => {
            let view = View::all(dataset::load(name, subset, &app.context)?);
            return Ok((text.into(), vec![(subset.name(), view)]));
        }
    };
    let subsets = dataset::subsets(&source, &app.context)?;
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
