//! How a model is loaded.

use kiln_model::ModelOverrides;
use kiln_onnx::Budget;

use crate::choice::{Device, EngineId};
#[cfg(feature = "ort")]
use crate::engine::ort::library::OrtOptions;
use crate::error::LoadErrorKind;

/// How a model is loaded. The default is the first engine of the build on the CPU, with what the
/// file specifies. Numbers are at least 1.
///
/// ```
/// use kiln_inference::{ModelOverrides, Options, Preprocess};
///
/// let declared = ModelOverrides { preprocess: Some(Preprocess::Torch), ..ModelOverrides::default() };
/// let options = Options::default().with_threads(2).with_declared(declared);
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Options {
    /// What computes the graph.
    pub engine: EngineId,
    /// Where it is computed.
    pub device: Device,
    /// Number of threads; as many as there are cores if not given.
    pub threads: Option<usize>,
    /// Maximum number of images in one run of the graph: a larger batch is cut into several, so that
    /// the memory for what lies between the layers stays bounded. Default 256 on ONNX Runtime, and 8
    /// on tract, which takes no more. A graph whose batch size is fixed keeps to that.
    pub max_batch: Option<usize>,
    /// What the caller specifies about preprocessing, labels, layout and output: it overrides the
    /// file, and is needed for files that leave it open, such as those of other exporters.
    pub declared: ModelOverrides,
    /// What the file may ask an engine for: larger values between nodes are refused.
    pub budget: Budget,
    /// Whether images are classified by the mean of their probabilities and of those of their mirror images
    /// (left to right): twice the work. Verification knows nothing of it.
    pub flips: bool,
    /// What only ONNX Runtime has.
    #[cfg(feature = "ort")]
    pub ort: OrtOptions,
}

impl Options {
    /// Sets the engine.
    #[must_use]
    pub const fn with_engine(mut self, engine: EngineId) -> Self {
        self.engine = engine;
        self
    }

    /// Sets the device.
    #[must_use]
    pub const fn with_device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Sets the number of threads, `None` for as many as there are cores.
    #[must_use]
    pub fn with_threads(mut self, threads: impl Into<Option<usize>>) -> Self {
        self.threads = threads.into();
        self
    }

    /// Sets the maximum number of images in one run of the graph, `None` for the engine's default.
    #[must_use]
    pub fn with_max_batch(mut self, images: impl Into<Option<usize>>) -> Self {
        self.max_batch = images.into();
        self
    }

    /// Sets what the caller specifies about the model.
    #[must_use]
    pub fn with_declared(mut self, declared: ModelOverrides) -> Self {
        self.declared = declared;
        self
    }

    /// Sets what the file may ask an engine for.
    #[must_use]
    pub const fn with_budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// Sets whether mirror images are classified too.
    #[must_use]
    pub const fn with_flips(mut self, flips: bool) -> Self {
        self.flips = flips;
        self
    }

    /// Sets what only ONNX Runtime has.
    #[cfg(feature = "ort")]
    #[must_use]
    pub fn with_ort(mut self, ort: OrtOptions) -> Self {
        self.ort = ort;
        self
    }

    /// Refuses 0, which could mean "as many as there are" or 1.
    pub(crate) fn check(&self) -> Result<(), LoadErrorKind> {
        let numbers = [
            ("threads", self.threads),
            #[cfg(feature = "ort")]
            ("concurrent_runs", self.ort.concurrent_runs),
            ("max_batch", self.max_batch),
        ];
        match numbers.into_iter().find(|(_, number)| *number == Some(0)) {
            Some((option, _)) => Err(LoadErrorKind::Zero { option }),
            None => Ok(()),
        }
    }
}
