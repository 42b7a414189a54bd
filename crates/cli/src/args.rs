//! The command line as typed.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use kiln_inference::{Device, EngineChoice};
use kiln_trainer::DeviceKind;

use crate::declare::DeclarationArgs;
use crate::inputs::Shard;
use crate::speed::Length;
use crate::sweep::Metric;

/// Train image classifiers, export them as ONNX, and run them.
#[derive(Debug, Parser)]
#[command(name = "kiln", version, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Args {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Print results and errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Use only what is in the cache (or set `KILN_OFFLINE=1`)
    #[arg(long, global = true)]
    pub offline: bool,
    /// Leave out images of a data set that cannot be read, and list them at the end
    #[arg(long, global = true)]
    pub skip_bad: bool,
    /// Number of threads [default: one per core]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train, export, verify and evaluate a recipe
    Run(RunArgs),
    /// Train a recipe
    Train(TrainArgs),
    /// Run every combination of a recipe's `[sweep]` and compare them
    Sweep(SweepArgs),
    /// Write a run or a sweep as one HTML page
    Report(ReportArgs),
    /// Write a run's best weights as ONNX
    Export(ExportArgs),
    /// Replay the golden vectors inside a model file on each engine
    Verify(VerifyArgs),
    /// Measure a model on a data set
    Eval(EvalArgs),
    /// Classify images
    Predict(PredictArgs),
    /// Show what a model takes, computes and gives, and write that into a copy
    Describe(DescribeArgs),
    /// Measure a model's latency and throughput
    Bench(BenchArgs),
    /// Compare two models on a data set, to decide whether one may replace the other
    Compare(CompareArgs),
    /// Count a data set's images by class, and draw samples
    Data(DataArgs),
    /// Show a recipe's layers, output shapes and parameters
    Summary(SummaryArgs),
    /// Bring data sets, weights and libraries into the cache
    Fetch(FetchArgs),
    /// Show what this machine can do, what is missing, and how to get it
    Doctor(DoctorArgs),
}

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
pub struct TrainArgs {
    /// Recipe file
    #[arg(value_name = "RECIPE", required_unless_present = "resume", conflicts_with = "resume")]
    pub path: Option<PathBuf>,
    /// Change a value of the recipe, such as `training.epochs=3` or `layers.conv2d_1.filters=64`
    #[arg(long = "set", value_name = "KEY=VALUE", conflicts_with = "resume")]
    pub overrides: Vec<String>,
    /// Go on with a training that was stopped, from the end of its last whole epoch
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

#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// Run directory, such as runs/quickstart
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// File to write [default: model.onnx in the run directory, model-softmax.onnx, model-uint8.onnx, or head.onnx]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub form: ExportForm,
    /// Leave test images and their scores out of the file: `kiln verify` then cannot check it
    #[arg(long)]
    pub no_golden: bool,
}

/// What the exported graph begins and ends with.
#[derive(Debug, clap::Args)]
pub struct ExportForm {
    /// End the graph in a softmax: probabilities in place of logits
    #[arg(long)]
    pub softmax: bool,
    /// Write only the layers behind the frozen ones: input `features`, what the last frozen layer gives
    #[arg(long)]
    pub head_only: bool,
    /// Put the preprocessing into the graph: uint8 pixels NHWC in, probabilities out
    #[arg(long, conflicts_with = "head_only")]
    pub uint8_input: bool,
}

/// What a model runs on, and what is said about it.
#[derive(Debug, Clone, clap::Args)]
pub struct EngineArgs {
    /// What computes the graph: tract (built in) or ort (ONNX Runtime)
    #[arg(long, default_value_t = EngineChoice::Tract, value_name = "tract|ort")]
    pub engine: EngineChoice,
    /// Where it is computed; cuda is for --engine ort and never falls back, auto may and says so
    #[arg(long, default_value_t = Device::Cpu, value_name = "cpu|cuda|auto")]
    pub device: Device,
    /// ONNX Runtime's shared library [default: `KILN_ORT_LIB`, the cache, the system]
    #[arg(long, value_name = "FILE")]
    pub ort_lib: Option<PathBuf>,
    /// Runs that ONNX Runtime computes at a time; for commands that call a model from several threads.
    #[arg(skip)]
    pub parallel_runs: Option<usize>,
    #[command(flatten)]
    pub declared: DeclarationArgs,
}

#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// Model file
    #[arg(value_name = "MODEL.onnx")]
    pub model: PathBuf,
    /// Engine to check; can be given twice [default: all that are there]
    #[arg(long, value_name = "tract|ort")]
    pub engine: Vec<EngineChoice>,
    /// Where it is computed; cuda is ONNX Runtime's and never falls back, auto may and says so
    #[arg(long, default_value_t = Device::Cpu, value_name = "cpu|cuda|auto")]
    pub device: Device,
    /// ONNX Runtime's shared library [default: `KILN_ORT_LIB`, the cache, the system]
    #[arg(long, value_name = "FILE")]
    pub ort_lib: Option<PathBuf>,
    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
}

/// How many images are gone through.
#[derive(Debug, Clone, clap::Args)]
pub struct BatchArgs {
    /// Images per batch; every thread works on one of its own [default: 64, fewer of large images]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub batch_size: Option<u32>,
    /// Take only every n-th image, from the i-th on: `1/4` to `4/4` are all images, for four processes
    #[arg(long, value_name = "i/n")]
    pub shard: Option<Shard>,
    /// Write one line per image, as it is known: index, path, label, predicted, probability, and the probability of each class.
    /// A file ending in .jsonl gets JSON lines, any other CSV; `-` is standard output, in place of all else
    #[arg(long, value_name = "FILE.csv|.jsonl")]
    pub predictions: Option<PathBuf>,
    /// Go on with a file of predictions that was cut off; images that are in it are not read again
    #[arg(long, requires = "predictions")]
    pub resume: bool,
}

#[derive(Debug, clap::Args)]
pub struct EvalArgs {
    /// Model file
    #[arg(value_name = "MODEL.onnx")]
    pub model: PathBuf,
    /// Data set: mnist:test, mnist:train, a folder of images for each class, a glob pattern of images in such folders, a CSV file
    /// with the columns path and label (`-` for standard input), or an IDX file of images beside that of its labels
    #[arg(long, value_name = "DATA")]
    pub data: String,
    #[command(flatten)]
    pub engine: EngineArgs,
    #[command(flatten)]
    pub batch: BatchArgs,
    /// Give accuracy among the K most probable classes too
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(1..))]
    pub top_k: Option<u16>,
    /// List so many of the images that the model was surest about and got wrong
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub mistakes: u16,
    /// Write the figures as JSON; `-` for standard output, in place of the tables
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct PredictArgs {
    /// Model file
    #[arg(value_name = "MODEL.onnx")]
    pub model: PathBuf,
    /// Images, folders (with all that is below), glob patterns, CSV lists with a column path, IDX files, mnist:test, or `-` for an
    /// image on standard input
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
    /// Print one JSON object per line
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Print CSV, with the columns of --predictions
    #[arg(long, conflicts_with = "predictions")]
    pub csv: bool,
}

#[derive(Debug, clap::Args)]
pub struct DescribeArgs {
    /// Model file
    #[arg(value_name = "MODEL.onnx")]
    pub model: PathBuf,
    /// Say something about the model, such as `preprocess=torch`, `labels=labels.txt` or `layout=nhwc`; the keys are those
    /// of a sidecar
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// File that says the same [default: the model's name ending in .toml, where it is there]
    #[arg(long, value_name = "FILE.toml")]
    pub sidecar: Option<PathBuf>,
    /// Write a copy whose metadata say all of it; never the model itself
    #[arg(short, long, value_name = "FILE.onnx")]
    pub output: Option<PathBuf>,
    /// Write the preprocessing for Hugging Face's transformers, as `preprocessor_config.json`
    #[arg(long, value_name = "FILE.json")]
    pub huggingface: Option<PathBuf>,
    /// Write the model's configuration for NVIDIA Triton, as config.pbtxt, and the labels beside it as labels.txt
    #[arg(long, value_name = "FILE.pbtxt")]
    pub triton: Option<PathBuf>,
    /// Print as JSON
    #[arg(long, conflicts_with_all = ["output", "huggingface", "triton"])]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// Model file
    #[arg(value_name = "MODEL.onnx")]
    pub model: PathBuf,
    /// What computes the graph, repeated for several [default: every engine that is present]
    #[arg(long, value_name = "tract|ort")]
    pub engine: Vec<EngineChoice>,
    /// Where it is computed; cuda is for --engine ort and never falls back, auto may and says so
    #[arg(long, default_value_t = Device::Cpu, value_name = "cpu|cuda|auto")]
    pub device: Device,
    /// ONNX Runtime's shared library [default: `KILN_ORT_LIB`, the cache, the system]
    #[arg(long, value_name = "FILE")]
    pub ort_lib: Option<PathBuf>,
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
    /// Runs that ONNX Runtime computes at a time, with its threads shared out among them; further callers wait [default:
    /// one for each caller, at most one for each thread]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub parallel_runs: Option<u16>,
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
        self.runs.map_or(Length::Time(Duration::from_secs_f64(self.duration)), Length::Runs)
    }

    /// How an engine is loaded.
    pub fn engine_args(&self, engine: EngineChoice) -> EngineArgs {
        let callers = usize::from(self.callers).min(rayon::current_num_threads());
        EngineArgs {
            engine,
            device: self.device,
            ort_lib: self.ort_lib.clone(),
            parallel_runs: Some(self.parallel_runs.map_or(callers, usize::from)),
            declared: self.declared.clone(),
        }
    }
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

#[derive(Debug, clap::Args)]
pub struct CompareArgs {
    /// The model in use
    #[arg(value_name = "A.onnx")]
    pub first: PathBuf,
    /// The model that may replace it
    #[arg(value_name = "B.onnx")]
    pub second: PathBuf,
    /// Data set: mnist:test, mnist:train, a folder of images for each class, or a CSV file with the columns path and
    /// label
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
    /// Exit with 1 if B's accuracy is lower than A's by more than this, such as 0.001 for one image in a thousand
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub max_drop: Option<f64>,
    /// Write all of it as JSON, every image on which the models differ included; `-` for standard output
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct DataArgs {
    /// Data set (mnist, a folder of images for each class, a CSV file with the columns path and label), or a recipe
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
    /// Draw training images as the recipe's augmentation changes them: each in a row, first as it is
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
    /// Print how the layers run on the CPU instead: which sequences kiln's kernels compute in one pass
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
