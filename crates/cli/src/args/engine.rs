//! What a model runs on.

use std::path::PathBuf;

use kiln_inference::{Device, EngineChoice};
use kiln_pipeline::engines::EngineRequest;

use super::OverridesArgs;

/// Where a model is computed.
#[derive(Debug, Clone, clap::Args)]
pub struct DeviceArgs {
    /// Where it is computed; cuda is for --engine ort and never falls back, auto may and says so
    #[arg(long, default_value_t = Device::Cpu, value_name = "cpu|cuda|auto")]
    pub device: Device,
    /// ONNX Runtime's shared library [default: `KILN_ORT_LIB`, the cache, the system]
    #[arg(long, value_name = "FILE")]
    pub ort_lib: Option<PathBuf>,
}

impl DeviceArgs {
    /// Returns a request for an engine on this device, with what the model's file says.
    pub fn request(&self, engine: EngineChoice) -> EngineRequest {
        let mut request = EngineRequest::new(engine);
        request.device = self.device;
        request.library.clone_from(&self.ort_lib);
        request
    }
}

/// The engines that a model runs on one after the other, and where.
#[derive(Debug, Clone, clap::Args)]
pub struct EnginesArgs {
    /// What computes the graph, repeated for several [default: every engine that is present]
    #[arg(long, value_name = "tract|ort")]
    pub engine: Vec<EngineChoice>,
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// What a model runs on, and what is specified about it.
#[derive(Debug, Clone, clap::Args)]
pub struct EngineArgs {
    /// What computes the graph: tract (built in) or ort (ONNX Runtime)
    #[arg(long, default_value_t = EngineChoice::Tract, value_name = "tract|ort")]
    pub engine: EngineChoice,
    #[command(flatten)]
    pub device: DeviceArgs,
    #[command(flatten)]
    pub overrides: OverridesArgs,
}

impl EngineArgs {
    /// Reads the labels, and returns what was asked for.
    pub fn request(&self) -> anyhow::Result<EngineRequest> {
        let mut request = self.device.request(self.engine);
        request.overrides = self.overrides.request()?;
        Ok(request)
    }
}
