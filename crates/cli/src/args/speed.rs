//! How fast a model is, and whether it may replace another.

use std::path::PathBuf;
use std::time::Duration;

use kiln_inference::EngineId;

use super::{EngineArgs, EnginesArgs};
use crate::declare::DeclarationArgs;
use crate::speed::Length;

#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// Model file
    #[arg(value_name = "MODEL.onnx")]
    pub model: PathBuf,
    #[command(flatten)]
    pub engines: EnginesArgs,
    /// Images per batch, several separated by commas
    #[arg(
        long, value_name = "N,…", value_delimiter = ',', default_value = "1,8,32,128",
        value_parser = clap::value_parser!(u32).range(1..=65536)
    )]
    pub batch_size: Vec<u32>,
    /// How many seconds the runs of each engine at each batch size take together
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = seconds)]
    pub duration: f64,
    /// Number of runs of each engine at each batch size, in place of a duration
    #[arg(long, value_name = "N", conflicts_with = "duration", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub runs: Option<u32>,
    /// Number of threads that call the model at the same time, as in a server
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub callers: u16,
    /// Maximum number of concurrent runs on ONNX Runtime, with its threads shared out among them;
    /// further callers wait [default: one for each caller, at most one for each thread]
    #[arg(long, alias = "parallel-runs", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrent_runs: Option<u16>,
    /// Write the figures as JSON; `-` for standard output, in place of the table
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Draw throughput and latency by batch size
    #[arg(long, value_name = "FILE.png|.svg")]
    pub plot: Option<PathBuf>,
    #[command(flatten)]
    pub declared: DeclarationArgs,
}

impl BenchArgs {
    /// How long is measured at each batch size.
    pub fn length(&self) -> Length {
        self.runs.map_or(
            Length::Time(Duration::from_secs_f64(self.duration)),
            Length::Runs,
        )
    }

    /// How an engine is loaded.
    pub fn engine_args(&self, engine: EngineId) -> EngineArgs {
        let callers = usize::from(self.callers).min(rayon::current_num_threads());
        EngineArgs {
            engine,
            place: self.engines.place.clone(),
            concurrent_runs: Some(self.concurrent_runs.map_or(callers, usize::from)),
            declared: self.declared.clone(),
        }
    }
}

#[derive(Debug, clap::Args)]
pub struct CompareArgs {
    /// The model in use
    #[arg(value_name = "A.onnx")]
    pub first: PathBuf,
    /// The model that may replace it
    #[arg(value_name = "B.onnx")]
    pub second: PathBuf,
    /// Data set: what `kiln eval --data` takes
    #[arg(long, value_name = "DATA")]
    pub data: String,
    #[command(flatten)]
    pub engine: EngineArgs,
    /// Images per batch
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub batch_size: u32,
    /// Number of images to show on which the models differ
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub show: usize,
    /// Exit with 1 if B's accuracy is lower than A's by more than this, such as 0.001 for one image
    /// in a thousand
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub max_drop: Option<f64>,
    /// Write all of it as JSON, every image on which the models differ included; `-` for standard
    /// output
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// A number of seconds, more than none and at most an hour.
fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 3600.0 => Ok(seconds),
        _ => Err("expected a number of seconds above 0, at most 3600".into()),
    }
}

/// A share of images.
fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a number from 0 to 1, such as 0.001 for one image in a thousand".into()),
    }
}
