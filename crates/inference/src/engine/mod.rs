//! What computes a graph.

mod error;
mod one_line;
// Each engine has a twin with the same signatures for builds without it.
#[cfg(feature = "ort")]
mod ort;
#[cfg(not(feature = "ort"))]
#[path = "ort_disabled.rs"]
mod ort;
#[cfg(feature = "tract")]
mod tract;
#[cfg(not(feature = "tract"))]
#[path = "tract_disabled.rs"]
mod tract;

pub use error::EngineError;
pub use ort::probe_ort;

use kiln_onnx::ModelProto;

use crate::chunks::Chunk;
use crate::input::{Input, InputKind};
use crate::options::{EngineChoice, Options};
use crate::receipt::Receipt;

/// An output of a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// The output's name.
    pub name: String,
    /// Shape, the batch first.
    pub shape: Vec<usize>,
    /// Values in row-major order.
    pub data: Vec<f32>,
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
    /// Their number at most.
    const fn limit(self) -> usize {
        match self {
            Self::First => 1,
            Self::All => usize::MAX,
        }
    }
}

/// What computes a graph.
pub trait Engine: Send + Sync {
    /// How this engine wants a batch of `images` to be cut.
    fn chunks(&self, images: usize) -> Vec<Chunk>;

    /// Computes `outputs` for `input`, a batch of [`Source::shape`] in row-major order; `batch` is
    /// that of a chunk that [`chunks`](Self::chunks) returned. They are in the graph's order.
    fn run(
        &self,
        input: &Input<'_>,
        batch: usize,
        outputs: Outputs,
    ) -> Result<Vec<NamedTensor>, EngineError>;

    /// What the engine runs on.
    fn receipt(&self) -> &Receipt;

    /// How many runs at a time this engine gains from, where each has a lane of its own: at least
    /// 1.
    fn lanes(&self) -> usize;

    /// A lane; there are never more than [`lanes`](Self::lanes) at a time.
    fn lane(&self) -> Result<Box<dyn Lane + '_>, EngineError>;
}

/// What runs a graph on the thread that calls it, beside other lanes of the same engine.
pub trait Lane: Send {
    /// How this lane wants a batch of `images` to be cut.
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
pub struct Source<'a> {
    /// The file.
    pub bytes: &'a [u8],
    /// The same, decoded and checked.
    #[cfg_attr(
        not(feature = "tract"),
        expect(dead_code, reason = "ONNX Runtime reads the bytes only")
    )]
    pub proto: &'a ModelProto,
    /// What the graph takes.
    #[cfg_attr(
        not(feature = "tract"),
        expect(dead_code, reason = "ONNX Runtime finds out itself")
    )]
    pub input: InputKind,
    /// Shape of one image in the order of the graph's axes.
    pub shape: [usize; 3],
    /// The graph's batch size, where it is fixed.
    pub batch: Option<usize>,
}

/// Loads a model with the engine that the options name.
pub fn load(
    source: &Source<'_>,
    options: &Options,
    threads: usize,
) -> Result<Box<dyn Engine>, EngineError> {
    match options.engine {
        EngineChoice::Tract => tract::load(source, options, threads),
        EngineChoice::Ort => ort::load(source, options, threads),
    }
}
