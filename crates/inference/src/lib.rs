//! From an `.onnx` file and an image to a prediction.
//!
//! ```no_run
//! let model = kiln_inference::Model::load("model.onnx")?;
//! let prediction = model.classify(&kiln_inference::open_image("digit.png")?)?;
//! println!("{} ({:.1} %)", prediction.label, prediction.probability * 100.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Model`] takes everything it needs from the file: preprocessing, labels, what the output is.
//! It is `Send + Sync` and all of its methods take `&self`, so one model serves every thread.
//!
//! [`Model::stream`] takes any number of images through a model in flat memory, with every core at
//! work.
//!
//! Two engines compute the graph. **tract** is pure Rust and the default. **ONNX Runtime** is
//! faster on most machines and is a shared library that is found at run time; see [`Options`] for
//! where it is looked for. Each is a cargo feature: `tract`, on by default, and `ort`.

#![forbid(unsafe_code)]

#[cfg(not(any(feature = "tract", feature = "ort")))]
compile_error!("kiln-inference needs an engine: turn on its feature `tract`, `ort` or both");

/// The examples in the documentation are tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/embedding.md")]
struct Embedding;

mod chunks;
mod classify;
mod contract;
mod engine;
mod error;
mod input;
mod model;
mod options;
mod pool;
mod prediction;
mod receipt;
mod run;
mod scores;
mod stream;
mod verify;

pub use contract::{Contract, Origin, Origins};
pub use engine::{EngineError, NamedTensor, probe_ort};
pub use error::{LoadError, LoadErrorKind, RunError, VerifyError};
/// The crate whose [`DynamicImage`](image::DynamicImage) [`Model::classify`] takes, in the version
/// that it takes.
pub use image;
pub use input::InputKind;
pub use kiln_model::{
    Channels, Layout, ModelOverrides, OutputKind, OverridesError, ParseEnumError, Preprocess,
    Preprocessing, PreprocessingError,
};
/// What [`LoadErrorKind`] says of a file.
pub use kiln_onnx::{DecodeError, MetadataError, ReadError, StructureError};
pub use kiln_preprocess::{
    PreprocessError, Preprocessor, RawImage, decode as decode_image, open as open_image,
};
pub use model::Model;
pub use options::{Device, EngineChoice, Options};
pub use prediction::{Prediction, Ranked, Timings};
pub use receipt::{Library, ProviderNodes, Receipt};
pub use scores::Scores;
pub use stream::{Classified, StreamOptions, StreamSummary};
pub use verify::{Replay, Verification};
