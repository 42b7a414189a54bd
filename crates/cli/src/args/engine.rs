//! What a model runs on.

use std::path::PathBuf;
use std::sync::LazyLock;

use kiln_inference::{Device, EngineId};
use kiln_pipeline::Context;
use kiln_pipeline::engines::{self, EngineRequest};

use super::OverridesArgs;

/// The names of the engines as the value of an option, such as `tract|ort`.
static NAMES: LazyLock<String> = LazyLock::new(|| {
    let names: Vec<_> = EngineId::all().map(EngineId::name).collect();
    names.join("|")
});

/// The engines in the help of an option.
static HELP: LazyLock<String> = LazyLock::new(|| {
    let engines: Vec<_> = EngineId::all()
        .map(|engine| format!("{engine} ({})", engine.info().summary))
        .collect();
    format!("Inference engine: {}", engines.join(" or "))
});

/// Where a model is computed.
#[derive(Debug, Clone, clap::Args)]
pub struct DeviceArgs {
    /// Device to run on: cuda needs --engine ort and fails if it is unavailable, auto falls back to
    /// the CPU with a note
    #[arg(long, default_value_t = Device::Cpu, value_name = "cpu|cuda|auto")]
    pub device: Device,
    /// ONNX Runtime's shared library [default: `KILN_ORT_LIB`, the cache, the system]
    #[arg(long, value_name = "FILE")]
    pub ort_lib: Option<PathBuf>,
}

impl DeviceArgs {
    /// Returns a request for an engine on this device, with what the model's file says.
    pub fn request(&self, engine: EngineId) -> EngineRequest {
        let mut request = EngineRequest::new(engine);
        request.device = self.device;
        request.library.clone_from(&self.ort_lib);
        request
    }
}

/// The engines that a model runs on one after the other, and where.
#[derive(Debug, Clone, clap::Args)]
pub struct EnginesArgs {
    /// Inference engine, repeated for several [default: every engine that is present]
    #[arg(long, value_name = NAMES.as_str())]
    pub engine: Vec<EngineId>,
    #[command(flatten)]
    pub device: DeviceArgs,
}

impl EnginesArgs {
    /// Lists the engines asked for, or else those that are present.
    pub fn wanted(&self, context: &Context<'_>) -> kiln_pipeline::Result<Vec<EngineId>> {
        let DeviceArgs { device, ort_lib } = &self.device;
        engines::wanted(&self.engine, *device, ort_lib.as_deref(), context)
    }
}

/// The engine that a model runs on, and where.
#[derive(Debug, Clone, clap::Args)]
pub struct OneEngineArgs {
    /// Inference engine
    #[arg(long, default_value_t = EngineId::default(), value_name = NAMES.as_str(), help = HELP.as_str())]
    pub engine: EngineId,
    #[command(flatten)]
    pub device: DeviceArgs,
}

impl OneEngineArgs {
    /// Returns a request with what the model's file says.
    pub fn request(&self) -> EngineRequest {
        self.device.request(self.engine)
    }
}

/// What a model runs on, and what is specified about it.
#[derive(Debug, Clone, clap::Args)]
pub struct EngineArgs {
    #[command(flatten)]
    pub engine: OneEngineArgs,
    #[command(flatten)]
    pub overrides: OverridesArgs,
}

impl EngineArgs {
    /// Reads the labels, and returns what was asked for.
    pub fn request(&self, context: &Context<'_>) -> anyhow::Result<EngineRequest> {
        let mut request = self.engine.request();
        request.overrides = self.overrides.request(context)?;
        Ok(request)
    }
}
