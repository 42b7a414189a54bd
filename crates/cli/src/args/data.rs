//! Recipes, data sets and the cache.

use std::path::PathBuf;

/// A recipe with changes.
#[derive(Debug, Clone, clap::Args)]
pub struct RecipeArgs {
    /// Recipe file
    #[arg(value_name = "RECIPE")]
    pub path: PathBuf,
    /// Change a value of the recipe, such as `training.epochs=3` or `layers.conv2d_1.filters=64`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub struct DataArgs {
    /// Data set (mnist, a folder of images for each class, a CSV file with the columns path and
    /// label), or a recipe
    #[arg(value_name = "DATA|RECIPE")]
    pub data: PathBuf,
    /// Change a value of the recipe, such as `data.limit=1000`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
    /// Draw images of every class, with their names
    #[arg(long, value_name = "FILE.png|.svg")]
    pub samples: Option<PathBuf>,
    /// Draw training images as the recipe's augmentation changes them: each in a row, first as it
    /// is
    #[arg(long, value_name = "FILE.png|.svg")]
    pub augmented: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct SummaryArgs {
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
    /// Print how the layers run on the CPU instead: which sequences kiln's kernels compute in one
    /// pass
    #[arg(long, conflicts_with = "json")]
    pub plan: bool,
}

#[derive(Debug, clap::Args)]
pub struct FetchArgs {
    /// What to fetch: mnist, vgg16, onnxruntime; without one, shows what is there
    #[arg(value_name = "ASSET")]
    pub assets: Vec<String>,
    /// Take the asset from this file, folder or archive
    #[arg(long, value_name = "PATH", requires = "assets")]
    pub from: Option<PathBuf>,
}
