//! From an `.onnx` file and an image to a prediction.
//!
//! ```no_run
//! let model = kiln_inference::Model::open("model.onnx")?;
//! let prediction = model.classify(&kiln_inference::open_image("digit.png")?)?;
//! println!("{} ({:.1} %)", prediction.label, prediction.probability * 100.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`Model`] takes everything it needs from the file: preprocessing, labels, kind of output. It is
//! `Send + Sync` and all of its methods take `&self`, so one model serves every thread.
//!
//! [`Model::stream`] takes any number of images through a model in flat memory, with every core at
//! work.
//!
//! [`engines`] lists what can compute the graph, each a Cargo feature. **tract** is pure Rust and the
//! default; what kiln's kernels have of a graph, they compute. **ONNX Runtime** (`ort`) is a shared library that is found
//! at run time; see `OrtOptions` for where it is searched.
//!
//! | to find | look in |
//! | --- | --- |
//! | loading, and what a loaded model is | `model`, `options`, `spec` |
//! | what is specified beside a model's file | `sidecar` |
//! | images to predictions | `classify`, `stream`, `run` |
//! | batches from threads of the caller's own, as a server has them | `sessions` |
//! | golden vectors | `verify` |
//! | where the time of a run goes | `profile` |
//! | engines | `engine` |
//! | errors and hints | `error`, `engine::error`, `hint` |

#![forbid(unsafe_code)]

mod adapt;
mod choice;
mod chunks;
mod classify;
mod engine;
mod error;
mod hint;
mod input;
mod model;
mod options;
mod pool;
mod profile;
mod run;
mod sessions;
mod sidecar;
mod spec;
mod stream;
mod threads;
mod verify;

pub use choice::{Device, EngineId, ParseEngineError, RuntimeInfo};
pub use chunks::NamedTensor;
pub use classify::{Prediction, Ranked, Timings};
pub use engine::engines;
pub use engine::error::EngineError;
pub use engine::interface::{Availability, EngineInfo};
#[cfg(feature = "ort")]
pub use engine::ort::{
    error::OrtError,
    info::{Library, OrtInfo, ProviderNodes},
    library::OrtOptions,
    load_library,
};
pub use error::{LoadError, LoadErrorKind, NotFinite, RunError, Unclassified, VerifyError};
pub use hint::{Hint, Unspecified};
/// The crate whose [`DynamicImage`](image::DynamicImage) [`Model::classify`] takes too, in the version
/// that it takes.
pub use image;
pub use input::InputKind;
pub use kiln_model::{
    Arithmetic, Background, Channels, CropRounding, Filter, Fit, Layout, ModelOverrides,
    OutputKind, OverridesError, ParseEnumError, Preprocess, Preprocessing, PreprocessingError,
    Resize, Steps,
};
/// A file that several models are loaded from, and the errors of reading one.
pub use kiln_onnx::{DecodeError, MetadataError, ModelFile, ReadError, Repair, StructureError};
pub use kiln_preprocess::{
    Decoded, ImageSource, Orientation, Picture, PreprocessError, Preprocessor, RawImage,
    decode as decode_image, open as open_image,
};
pub use model::Model;
pub use options::Options;
pub use profile::{Profile, StepCost};
pub use run::Scores;
pub use sessions::{BatchResults, Sessions};
pub use sidecar::{Sidecar, SidecarError, parse_settings, read_labels};
pub use spec::{ModelSpec, Origin, Origins, ScoresInfo};
pub use stream::{Classified, StreamOptions, StreamSummary};
pub use verify::{Replay, Verification};
