//! What an engine has to provide.

use std::sync::Arc;

use kiln_onnx::{DataType, ModelProto};

use crate::choice::{Device, EngineId, RuntimeInfo};
use crate::chunks::{Chunk, NamedTensor};
use crate::engine::error::EngineError;
use crate::input::{Input, InputKind};
use crate::options::Options;
use crate::profile::Profile;

/// An engine of this build: its names, devices, and how it is started.
pub struct EngineInfo {
    /// Name and title.
    pub id: EngineId,
    /// A few words for people, such as `pure Rust, built in`.
    pub summary: &'static str,
    /// The values of [`Options::device`] that it accepts.
    pub devices: &'static [Device],
    /// The types of floats that it computes itself, besides float32; graphs of others get float32 in
    /// their place.
    pub(crate) floats: &'static [DataType],
    /// Whether options or environment specify something for this engine, which then has to work.
    pub(crate) is_configured: fn(&Options) -> bool,
    pub(crate) probe: fn(&Options) -> Result<Availability, EngineError>,
    /// Takes the number of threads too. A graph that the engine cannot run is an error here rather
    /// than at the first image.
    pub(crate) load: LoadFn,
}

type LoadFn = fn(&Source<'_>, &Options, usize) -> Result<Arc<dyn Engine>, EngineError>;

impl EngineInfo {
    /// Finds out whether the engine works on this machine, loading libraries as a model would.
    ///
    /// # Errors
    ///
    /// Returns why it does not.
    pub fn probe(&self, options: &Options) -> Result<Availability, EngineError> {
        (self.probe)(options)
    }

    /// Returns whether options or environment specify something for this engine, such as a library,
    /// so that an error of [`probe`](Self::probe) is one to report.
    pub fn is_configured(&self, options: &Options) -> bool {
        (self.is_configured)(options)
    }

    /// Returns whether the engine accepts a device.
    pub fn supports(&self, device: Device) -> bool {
        self.devices.contains(&device)
    }
}

impl std::fmt::Debug for EngineInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineInfo")
            .field("id", &self.id)
            .field("devices", &self.devices)
            .finish_non_exhaustive()
    }
}

/// An engine that works on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Availability {
    /// The engine's version, where it is known.
    pub version: Option<String>,
    /// What it consists of, line by line, such as the path of its library; empty where it is built
    /// in.
    pub details: Vec<String>,
}

/// Which of a graph's outputs a run returns. What is not returned need not be float32, nor begin
/// with the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outputs {
    /// The first: the scores.
    First,
    /// All of them.
    All,
}

impl Outputs {
    /// Returns their maximum number.
    pub const fn limit(self) -> usize {
        match self {
            Self::First => 1,
            Self::All => usize::MAX,
        }
    }
}

/// A model loaded on an engine.
pub trait Engine: Send + Sync {
    /// Cuts a batch of `images` as this engine prefers.
    fn chunks(&self, images: usize) -> Vec<Chunk>;

    /// Computes `outputs` for `input`, a batch of [`Source::shape`] in row-major order; `batch` is
    /// that of a chunk that [`chunks`](Self::chunks) returned. They are in the graph's order.
    fn run(
        &self,
        input: &Input<'_>,
        batch: usize,
        outputs: Outputs,
    ) -> Result<Vec<NamedTensor>, EngineError>;

    /// The same on the calling thread alone, where others compute other chunks.
    fn run_beside_others(
        &self,
        input: &Input<'_>,
        batch: usize,
        outputs: Outputs,
    ) -> Result<Vec<NamedTensor>, EngineError> {
        self.run(input, batch, outputs)
    }

    /// Computes `input` so many times, at least once, and returns what each step cost; none where the engine does not
    /// tell.
    fn profile(
        &self,
        _input: &Input<'_>,
        _batch: usize,
        _runs: usize,
    ) -> Option<Result<Profile, EngineError>> {
        None
    }

    /// Returns whether [`run`](Self::run) computes on the threads of the rayon pool in which it is called, rather than on
    /// threads of its own.
    fn runs_in_pool(&self) -> bool {
        false
    }

    /// Returns what is actually in use.
    fn runtime(&self) -> &RuntimeInfo;

    /// Returns how many concurrent sessions this engine gains from, at least 1.
    fn max_sessions(&self) -> usize;

    /// Opens a session; there are never more than [`max_sessions`](Self::max_sessions).
    fn session(self: Arc<Self>) -> Result<Box<dyn Session>, EngineError>;
}

/// Computes one run at a time on the thread that calls it, beside other sessions of the same
/// engine.
pub trait Session: Send {
    /// Cuts a batch of `images` as this session prefers.
    fn chunks(&self, images: usize) -> Vec<Chunk>;

    /// As [`Engine::run`].
    fn run(
        &mut self,
        input: &Input<'_>,
        batch: usize,
        outputs: Outputs,
    ) -> Result<Vec<NamedTensor>, EngineError>;
}

/// A model for an engine to load.
#[allow(
    dead_code,
    reason = "which fields are read depends on the engines of the build"
)]
pub struct Source<'a> {
    /// The file.
    pub bytes: &'a [u8],
    /// The same, decoded and checked.
    pub proto: &'a ModelProto,
    /// The absolute name of the folder of the files with weights that are not among the bytes, which have
    /// been checked: the model's. None where all weights are.
    pub weights_folder: Option<&'a str>,
    /// Size of those files.
    pub weights_bytes: u64,
    /// Type of the graph's input.
    pub input: InputKind,
    /// Shape of one image in the order of the graph's axes.
    pub shape: [usize; 3],
    /// The graph's batch size, where it is fixed.
    pub batch: Option<usize>,
}
