//! Any number of images through a model.

use std::io::stdout;
use std::path::{Path, PathBuf};

use anyhow::bail;
use kiln_inference::{Model, ModelFile};
use kiln_pipeline::inputs::{Inputs, Shard};
use kiln_pipeline::predictions::{
    Columns, Format, Origin, PredictionsError, PredictionsFile, Row, flush_interval, resume,
};
use kiln_pipeline::{Context, Error};
use kiln_util::counted;

use crate::output::is_stdout;
use crate::terminal::Terminal;

/// What messages call the file beside predictions.
pub const ORIGIN: &str = "what is kept beside --predictions";

/// How many images are gone through.
#[derive(Debug, Clone, clap::Args)]
pub struct BatchArgs {
    /// Images per batch; every thread works on one of its own [default: 64, fewer of large images].
    /// With 1 each image of a slow list has its result at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub batch_size: Option<u32>,
    /// Classify each image together with its mirror image (test-time augmentation): the probabilities are the
    /// means of both, and the work is twice as much
    #[arg(long)]
    pub tta: bool,
    /// Take only every n-th image, from the i-th on: `1/4` to `4/4` are all images, for four
    /// processes. Of Parquet files it is every n-th row group. `auto` is the share of this process in a job array of Slurm
    /// or AWS Batch; `auto/n`, with the number of processes, that in an indexed Job of Kubernetes or of GNU parallel
    #[arg(long, value_name = "i/n|auto[/n]", value_parser = shard)]
    pub shard: Option<Shard>,
    /// Write one line per image, as it is known: index, path where images have one, label where
    /// they have one (eval), predicted, probability, the probability of each class, and where the
    /// model outputs logits, these. A file ending in .jsonl gets JSON lines, one in .csv CSV, one in .parquet
    /// Parquet; `-` is standard output, in place of all else
    #[arg(long, value_name = "FILE.csv|.jsonl|.parquet")]
    pub predictions: Option<PathBuf>,
    /// Resume a file of predictions that was cut off, with the same images and model; images that
    /// are in it are not read again
    #[arg(long, requires = "predictions")]
    pub resume: bool,
}

/// Reads `i/n`, or finds the shard of this process in its environment.
pub fn shard(text: &str) -> Result<Shard, String> {
    let of = match text.strip_prefix("auto") {
        Some("") => None,
        Some(rest) => {
            let of = rest.strip_prefix('/').and_then(|of| of.parse::<u64>().ok());
            let malformed = || "expected auto or auto/n, such as auto/4 for four processes";
            Some(of.ok_or_else(malformed)?)
        }
        None => return text.parse(),
    };
    Shard::from_environment(of, &|name| std::env::var(name).ok())
}

impl BatchArgs {
    /// Images per batch, if given.
    pub fn batch_size(&self) -> Option<usize> {
        self.batch_size.map(|size| size as usize)
    }

    /// Lines from one flush of what is written to the next.
    pub fn flush_interval(&self) -> u32 {
        flush_interval(self.batch_size)
    }

    /// Checks that the name of the file of predictions ends as what it is to be.
    pub fn check(&self) -> anyhow::Result<()> {
        if let Some(path) = self.predictions.as_deref() {
            let format = Format::of(path).map_err(Error::from)?;
            if self.resume && format == Format::Parquet {
                let path = path.into();
                return Err(Error::from(PredictionsError::NotResumable { path }).into());
            }
        }
        Ok(())
    }

    /// Opens predictions of a model, loaded from `file`: a new file or, with `--resume`, after the lines
    /// that are there, of which `each` hears. Returns the images that have no line yet.
    pub fn open(
        &self,
        predictions: &Path,
        (file, model): (&ModelFile, &Model),
        inputs: Inputs,
        context: &Context<'_>,
        each: &mut dyn FnMut(&Row<'_>) -> Result<(), Error>,
    ) -> anyhow::Result<(PredictionsFile, Inputs)> {
        if is_stdout(predictions) {
            if self.resume {
                bail!("--resume needs a file to resume: give --predictions one in place of `-`");
            }
            let columns = Columns::of(&inputs, model);
            let name = Path::new("standard output");
            let opened = PredictionsFile::on(name, stdout(), Format::Csv, columns)?;
            return Ok((opened.flush_every(self.flush_interval()), inputs));
        }
        let origin = Origin::new(file, model, &inputs, self.shard);
        let (opened, left) = if self.resume {
            resume(predictions, &origin, model, inputs, context, each)?
        } else {
            (PredictionsFile::create(predictions, &origin)?, inputs)
        };
        Ok((opened.flush_every(self.flush_interval()), left))
    }
}

/// Says how many predictions a file has.
pub fn written(predictions: &Path, images: u64, terminal: &Terminal) {
    if !is_stdout(predictions) {
        let text = format!(
            "{} to {}",
            counted(images, "prediction"),
            predictions.display()
        );
        terminal.status("Wrote", &text);
    }
}

/// Returns the file that is kept beside predictions, where they go to a file.
pub fn origin(predictions: Option<&Path>) -> Option<PathBuf> {
    predictions
        .filter(|path| !is_stdout(path))
        .map(Origin::path)
}
