//! Training recipes, and what is shown of it.

use std::path::PathBuf;

use kiln_trainer::DeviceKind;

use super::RecipeArgs;
use crate::sweep::Metric;

#[derive(Debug, clap::Args)]
pub struct TrainArgs {
    /// Recipe file
    #[arg(
        value_name = "RECIPE",
        required_unless_present = "resume",
        conflicts_with = "resume"
    )]
    pub path: Option<PathBuf>,
    /// Change a value of the recipe, such as `training.epochs=3` or `layers.conv2d_1.filters=64`
    #[arg(long = "set", value_name = "KEY=VALUE", conflicts_with = "resume")]
    pub overrides: Vec<String>,
    /// Resume a training that was stopped, from the end of its last whole epoch
    #[arg(long, value_name = "RUN")]
    pub resume: Option<PathBuf>,
    #[command(flatten)]
    pub training: TrainingArgs,
}

/// Where and how recipes are trained.
#[derive(Debug, Clone, clap::Args)]
pub struct TrainingArgs {
    /// Folder for run directories
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    /// Where to train; cuda and wgpu are GPUs, for builds with these features, and never fall back
    #[arg(long, default_value_t = DeviceKind::Cpu, value_name = "cpu|cuda|wgpu")]
    pub device: DeviceKind,
    /// Train by Burn's own operations alone, without kiln's kernels: slower, for comparison
    #[arg(long)]
    pub stock_kernels: bool,
}

#[derive(Debug, clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub train: TrainArgs,
    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct SweepArgs {
    #[command(flatten)]
    pub recipe: RecipeArgs,
    #[command(flatten)]
    pub training: TrainingArgs,
    /// What the table is sorted by, the best first
    #[arg(long, value_name = "METRIC", value_enum, default_value_t = Metric::ValAccuracy)]
    pub sort_by: Metric,
    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// Run directory or sweep, such as runs/quickstart or runs/report-sweep
    #[arg(value_name = "RUN")]
    pub folder: PathBuf,
    /// File to write [default: report.html in the folder]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Also write every picture of the page into this folder, as PNG and as SVG
    #[arg(long, value_name = "DIR")]
    pub pictures: Option<PathBuf>,
}
