//! Any number of images through a model.

use std::ffi::OsString;
use std::path::PathBuf;

use super::EngineArgs;
use crate::inputs::Shard;
use crate::predictions::Format;

/// How many images are gone through.
#[derive(Debug, Clone, clap::Args)]
pub struct BatchArgs {
    /// Images per batch; every thread works on one of its own [default: 64, fewer of large images].
    /// With 1 each image of a slow list has its result at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub batch_size: Option<u32>,
    /// Take only every n-th image, from the i-th on: `1/4` to `4/4` are all images, for four
    /// processes
    #[arg(long, value_name = "i/n")]
    pub shard: Option<Shard>,
    /// Write one line per image, as it is known: index, path where images have one, label where
    /// they have one (eval), predicted, probability, the probability of each class, and where the
    /// model outputs logits, these. A file ending in .jsonl gets JSON lines, one in .csv CSV; `-`
    /// is standard output, in place of all else
    #[arg(long, value_name = "FILE.csv|.jsonl")]
    pub predictions: Option<PathBuf>,
    /// Resume a file of predictions that was cut off, with the same images and model; images that
    /// are in it are not read again
    #[arg(long, requires = "predictions")]
    pub resume: bool,
}

impl BatchArgs {
    /// Lines from one flush of what is written to the next: a batch, so that what is computed does
    /// not wait for more, but no more than few dozen.
    pub fn flush_every(&self) -> u32 {
        self.batch_size.map_or(64, |size| size.min(64))
    }

    /// That the file of predictions ends as what it is to be.
    pub fn check(&self) -> anyhow::Result<()> {
        self.predictions
            .as_deref()
            .map(Format::of)
            .transpose()
            .map(drop)
            .map_err(anyhow::Error::msg)
    }
}

#[derive(Debug, clap::Args)]
pub struct EvalArgs {
    /// Model file
    #[arg(value_name = "MODEL.onnx")]
    pub model: PathBuf,
    /// Data set: mnist:test, mnist:train, a folder of images for each class, a glob pattern of
    /// images in such folders, a CSV file with the columns path and label (`-` for standard input),
    /// or an IDX file of images beside that of its labels
    #[arg(long, value_name = "DATA")]
    pub data: String,
    #[command(flatten)]
    pub engine: EngineArgs,
    #[command(flatten)]
    pub batch: BatchArgs,
    /// Report accuracy among the K most probable classes too
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(1..))]
    pub top_k: Option<u16>,
    /// List so many of the images that the model was surest about and got wrong
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub mistakes: u16,
    /// Draw the confusion matrix and the reliability diagram, each as PNG and SVG, into this folder
    #[arg(long, value_name = "DIR")]
    pub pictures: Option<PathBuf>,
    /// Write the figures as JSON; `-` for standard output, in place of the tables
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct PredictArgs {
    /// Model file
    #[arg(value_name = "MODEL.onnx")]
    pub model: PathBuf,
    /// Images, folders (with all that is below), glob patterns, CSV lists with a column path, IDX
    /// files, mnist:test, or `-` for an image on standard input
    #[arg(value_name = "IMAGE", required_unless_present = "list")]
    pub images: Vec<OsString>,
    /// Classify the images whose paths are in this file, one a line; `-` for standard input
    #[arg(long, value_name = "FILE")]
    pub list: Option<PathBuf>,
    #[command(flatten)]
    pub engine: EngineArgs,
    #[command(flatten)]
    pub batch: BatchArgs,
    /// Number of classes to show for each image
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub top_k: u16,
    /// Print one JSON object per line; with --predictions too, for each image that is added there
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print CSV, with the columns of --predictions
    #[arg(long, conflicts_with = "predictions")]
    pub csv: bool,
}
