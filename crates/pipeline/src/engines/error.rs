//! Models that cannot be loaded as they were asked for.

use std::path::PathBuf;

use kiln_inference::Unspecified;

use crate::hint::Hint;

/// A model cannot be loaded as it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnginesError {
    /// A folder that is no run directory.
    #[error("expected a model's file or a run directory, found the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// A run whose model was not exported.
    #[error("the run {} has no exported model", run.display())]
    NotExported {
        /// The run directory.
        run: PathBuf,
    },
    /// A file of some layers alone.
    #[error(
        "{model} holds only the layers after `{layer}` and takes the output of that layer, not images"
    )]
    HeadOnly {
        /// The file, as messages call it.
        model: String,
        /// The last of the layers that are not in it.
        layer: String,
    },
    /// Something that nobody specifies.
    #[error("{model} does not specify the {what}")]
    NotSpecified {
        /// The file, as messages call it.
        model: String,
        /// What is missing.
        what: Unspecified,
        /// Where a sidecar is looked for.
        sidecar: PathBuf,
    },
    /// A graph whose scores may be anything.
    #[error("{model} ends in a sigmoid, so its scores are not logits, and need not sum to 1")]
    Sigmoid {
        /// The file, as messages call it.
        model: String,
        /// Where a sidecar is looked for.
        sidecar: PathBuf,
    },
    /// Golden vectors are asked for of a file that has none.
    #[error("{} has no golden vectors (metadata key `kiln.golden`)", path.display())]
    NoGolden {
        /// The file.
        path: PathBuf,
    },
    /// Golden vectors cannot be replayed.
    #[error("cannot verify {}: {source}", path.display())]
    Verify {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: kiln_inference::VerifyError,
    },
}

impl EnginesError {
    /// Returns what to do about it.
    pub fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::Folder { .. } => Hint::CheckPath,
            Self::NotExported { run } => Hint::ExportFirst { run: run.clone() },
            Self::HeadOnly { .. } => Hint::WholeModel,
            Self::NotSpecified { what, sidecar, .. } => Hint::Specify {
                key: match what {
                    Unspecified::Labels => "labels",
                    Unspecified::Size => "size",
                    Unspecified::Output => "output",
                    Unspecified::Preprocessing => "preprocess",
                },
                sidecar: sidecar.clone(),
            },
            Self::Sigmoid { sidecar, .. } => Hint::SpecifyOutput {
                sidecar: sidecar.clone(),
            },
            Self::NoGolden { .. } => Hint::ExportWithGolden,
            Self::Verify { .. } => return None,
        })
    }
}
