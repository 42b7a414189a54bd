//! Recipes with changes, and where they are trained.

use std::path::{Path, PathBuf};

use kiln_model::{Recipe, Sweep};
use kiln_pipeline::init::{self, Approach, Draft};
use kiln_pipeline::recipe::RecipeText;
use kiln_pipeline::train::TrainRequest;
use kiln_pipeline::{Error, engines};
use kiln_trainer::{Device, DeviceKind, TrainError};

use crate::app::App;
use crate::hints;

/// A recipe with changes.
#[derive(Debug, Clone, clap::Args)]
pub struct RecipeArgs {
    /// Recipe, or the images to make one for as `kiln init` does: a folder or a CSV list
    #[arg(value_name = "RECIPE|FOLDER")]
    pub path: PathBuf,
    /// Change a value of the recipe, such as `training.epochs=3` or `layers.conv2d_1.filters=64`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

impl RecipeArgs {
    /// Reads the recipe, or makes one, and applies the changes.
    pub fn read(&self, app: &App<'_>) -> anyhow::Result<Recipe> {
        let text = recipe_text(&self.path, app)?;
        Ok(text.parse(&self.overrides, &app.context)?)
    }

    /// Reads a recipe with a `[sweep]`, or one whose `[sweep]` the changes make, and applies them.
    pub fn read_sweep(&self, app: &App<'_>) -> anyhow::Result<Sweep> {
        let text = recipe_text(&self.path, app)?;
        Ok(text.parse_sweep(&self.overrides, &app.context)?)
    }
}

/// Reads a recipe; of images, makes one and says what was chosen.
pub fn recipe_text(path: &Path, app: &App<'_>) -> anyhow::Result<RecipeText> {
    if !init::is_data(path) {
        return Ok(RecipeText::read(path).map_err(Error::from)?);
    }
    let draft = init::draft(path, &app.context)?;
    for (at, line) in draft.found.lines().iter().enumerate() {
        if at == 0 {
            app.terminal.status("Found", line);
        } else {
            app.terminal.detail(line);
        }
    }
    for note in draft.found.notes() {
        app.terminal.status("Note", &note);
    }
    app.terminal.status("Chose", &draft.choice.describe());
    if is_slow(&draft, app)? {
        let text =
            "tract computes the features; after `kiln fetch onnxruntime` it is many times as fast";
        app.terminal.status("Note", text);
    }
    Ok(draft.recipe())
}

/// Whether the chosen backbone would be run by tract, at 13 images/s where ONNX Runtime computes 178
/// (docs/results.md).
pub fn is_slow(draft: &Draft, app: &App<'_>) -> anyhow::Result<bool> {
    if draft.choice.approach != Approach::Pretrained {
        return Ok(false);
    }
    let engines = engines::present(&app.context)?;
    let titles: Vec<&str> = engines.iter().map(|engine| engine.title()).collect();
    Ok(!hints::has_onnx_runtime(&titles))
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
    /// Write an event file for TensorBoard into the run directory too, which `tensorboard --logdir` shows while it trains;
    /// a run that has one keeps it when it is resumed
    #[arg(long)]
    pub tensorboard: bool,
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
        let mut request = TrainRequest::new(&self.runs, device);
        request.tensorboard = self.tensorboard;
        Ok(request)
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
