//! What can go wrong with ONNX Runtime's library.

use std::path::PathBuf;

use crate::hint::Hint;

/// A library of ONNX Runtime, or a GPU, that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrtError {
    /// The library is missing, or cannot be used.
    #[error("no ONNX Runtime library can be loaded; tried{}", list(.tried))]
    Library {
        /// The paths tried with their origins, and why each failed.
        tried: Vec<(String, String)>,
    },
    /// Another library is in use already.
    #[error(
        "ONNX Runtime is already loaded from `{}`, and a process can load it only once: `{}` cannot be used",
        loaded.display(),
        requested.display()
    )]
    SecondLibrary {
        /// The library in use.
        loaded: PathBuf,
        /// The library asked for.
        requested: PathBuf,
    },
    /// The library is too old for a model with weights in other files.
    #[error(
        "ONNX Runtime {found} cannot load a model with weights in other files from memory: it takes 1.{needed} or newer"
    )]
    WeightFiles {
        /// Its version.
        found: String,
        /// The version that can, after the 1.
        needed: u32,
    },
    /// The GPU cannot be used.
    #[error("ONNX Runtime cannot use the GPU: {0}")]
    Cuda(String),
}

impl OrtError {
    pub(crate) const fn hint(&self) -> Hint {
        match self {
            Self::Library { .. } => Hint::InstallOnnxRuntime,
            Self::SecondLibrary { .. } => Hint::NewProcess,
            Self::WeightFiles { .. } => Hint::File(kiln_onnx::Hint::SaveAsOneFile),
            Self::Cuda(_) => Hint::InstallCuda,
        }
    }
}

fn list(tried: &[(String, String)]) -> String {
    tried
        .iter()
        .flat_map(|(what, why)| ["\n  ", what, ": ", why])
        .collect()
}
