//! Recipes with changes, and where they are trained.

use std::path::PathBuf;

use kiln_model::Recipe;
use kiln_pipeline::Context;
use kiln_pipeline::train::TrainRequest;
use kiln_trainer::{Device, DeviceKind, TrainError};

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

impl RecipeArgs {
    /// Reads the recipe and applies the changes.
    pub fn read(&self, context: &Context<'_>) -> anyhow::Result<Recipe> {
        Ok(kiln_pipeline::recipe::read(
            &self.path,
            &self.overrides,
            context,
        )?)
    }
}

/// Where and how recipes are trained.
#[derive(Debug, Clone, clap::Args)]
pub struct TrainingArgs {
    /// Folder for run directories
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    /// Device to train on; cuda and wgpu need builds with these features, and fail if there is no GPU
    #[arg(long, default_value_t = DeviceKind::Cpu, value_name = "cpu|cuda|wgpu")]
    pub device: DeviceKind,
    /// Train with Burn's own operations alone, without kiln's kernels: slower, for comparison
    #[arg(long)]
    pub stock_kernels: bool,
}

impl TrainingArgs {
    /// Opens the device, which must work.
    pub fn request(&self) -> anyhow::Result<TrainRequest> {
        let device = open_quietly(self.device)?;
        let device = if self.stock_kernels {
            device.stock()
        } else {
            device
        };
        Ok(TrainRequest::new(&self.runs, device))
    }
}

/// Set to 1, lets training run on a "GPU" that is emulated on the CPU, to try out `wgpu` where there
/// is no GPU.
const SOFTWARE: &str = "KILN_SOFTWARE_GPU";

/// Opens a device for training. A GPU's missing driver is a panic in Burn, which becomes an error:
/// one message is enough.
pub fn open_quietly(kind: DeviceKind) -> Result<Device, TrainError> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let device = Device::new(
        kind,
        std::env::var_os(SOFTWARE).is_some_and(|value| value == "1"),
    );
    std::panic::set_hook(hook);
    device
}
