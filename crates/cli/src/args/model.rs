//! Models: written, checked, described, and what they run on.

use std::path::PathBuf;

use kiln_inference::{Device, EngineId};

use crate::declare::DeclarationArgs;
use crate::engines;

/// Where a model is computed.
#[derive(Debug, Clone, clap::Args)]
pub struct PlaceArgs {
    /// Where it is computed; cuda is for --engine ort and never falls back, auto may and says so
    #[arg(long, default_value_t = Device::Cpu, value_name = "cpu|cuda|auto")]
    pub device: Device,
    /// ONNX Runtime's shared library [default: `KILN_ORT_LIB`, the cache, the system]
    #[arg(long, value_name = "FILE")]
    pub ort_lib: Option<PathBuf>,
}

/// The engines that a model runs on one after the other, and where.
#[derive(Debug, Clone, clap::Args)]
pub struct EnginesArgs {
    /// What computes the graph, repeated for several [default: every engine that is present]
    #[arg(long, value_name = engines::NAMES.as_str())]
    pub engine: Vec<EngineId>,
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// What a model runs on, and what is said about it.
#[derive(Debug, Clone, clap::Args)]
pub struct EngineArgs {
    /// Engine that computes the graph
    #[arg(long, default_value_t = EngineId::default(), value_name = engines::NAMES.as_str(), help = engines::HELP.as_str())]
    pub engine: EngineId,
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Maximum number of concurrent runs on ONNX Runtime; for commands that call a model from
    /// several threads.
    #[arg(skip)]
    pub concurrent_runs: Option<usize>,
    #[command(flatten)]
    pub declared: DeclarationArgs,
}

#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// Run directory, such as runs/quickstart
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// File to write [default: model.onnx in the run directory, model-softmax.onnx,
    /// model-uint8.onnx, head.onnx, or model-no-golden.onnx]
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
    /// Write only the layers behind the frozen ones: the input, `features`, is the output of the
    /// last frozen layer
    #[arg(long)]
    pub head_only: bool,
    /// Put the preprocessing into the graph: uint8 pixels NHWC in, probabilities out
    #[arg(long, conflicts_with = "head_only")]
    pub uint8_input: bool,
}

#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// Model file
    #[arg(value_name = "MODEL.onnx")]
    pub model: PathBuf,
    #[command(flatten)]
    pub engines: EnginesArgs,
    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct DescribeArgs {
    /// Model file
    #[arg(value_name = "MODEL.onnx")]
    pub model: PathBuf,
    /// Say something about the model, such as `preprocess=torch`, `labels=labels.txt` or
    /// `layout=nhwc`; the keys are those of a sidecar
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
    /// Write the model's configuration for NVIDIA Triton, as config.pbtxt, and the labels beside it
    /// as labels.txt
    #[arg(long, value_name = "FILE.pbtxt")]
    pub triton: Option<PathBuf>,
    /// Print as JSON
    #[arg(long, conflicts_with_all = ["output", "huggingface", "triton"])]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub struct DoctorArgs {
    /// Print as JSON
    #[arg(long)]
    pub json: bool,
}
