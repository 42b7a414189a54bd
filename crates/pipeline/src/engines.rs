//! Loading models on engines.

use std::path::{Path, PathBuf};

use kiln_assets::Asset;
use kiln_inference::{Device, EngineChoice, LoadError, LoadErrorKind, Model, Options, probe_ort};
use kiln_onnx::Metadata;
use kiln_run::{RunDir, RunFile};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::hint::Hint;
use crate::overrides::{self, OverridesRequest, Resolved};
use crate::provenance::head_input;

/// What a model is to run on, and what is specified about it.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct EngineRequest {
    /// What computes the graph.
    pub engine: EngineChoice,
    /// Where it is computed.
    pub device: Device,
    /// ONNX Runtime's shared library; looked for if not given.
    pub library: Option<PathBuf>,
    /// Runs that ONNX Runtime computes at the same time, for programs that call a model from
    /// several threads; one if not given.
    pub concurrent_runs: Option<usize>,
    /// What is specified about the model.
    pub overrides: OverridesRequest,
}

impl EngineRequest {
    /// Creates a request for an engine on the CPU, with what the model's file says.
    pub fn new(engine: EngineChoice) -> Self {
        Self {
            engine,
            ..Self::default()
        }
    }

    fn options(&self, context: &Context<'_>) -> Options {
        Options {
            engine: self.engine,
            device: self.device,
            ort_library: self.library.clone(),
            parallel_runs: self.concurrent_runs,
            ..options(context)
        }
    }
}

/// Returns options with which ONNX Runtime's library is looked for in the cache too, and the
/// context's number of threads.
pub fn options(context: &Context<'_>) -> Options {
    let library = Asset::named("onnxruntime")
        .ok()
        .and_then(|asset| context.assets.lookup(&asset)?.into_iter().next());
    Options {
        threads: context.threads,
        library_cache: library,
        ..Options::default()
    }
}

/// Returns the file of a model: the exported model where the path is a run directory, else the path
/// itself.
pub fn model_file(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.into());
    }
    let Ok(run) = RunDir::open(path) else {
        return Err(EnginesError::Folder { path: path.into() }.into());
    };
    let file = run.file(RunFile::Model);
    if file.is_file() {
        Ok(file)
    } else {
        Err(EnginesError::NotExported { run: path.into() }.into())
    }
}

/// Loads a model from a file, with what is specified about it in the request and in a sidecar.
pub fn load(path: &Path, request: &EngineRequest, context: &Context<'_>) -> Result<Model> {
    if request.engine == EngineChoice::Tract && request.device == Device::Cuda {
        return Err(EnginesError::NoCuda.into());
    }
    let resolved = Resolved::new(path, &request.overrides)?;
    let options = Options {
        declared: resolved.all(),
        ..request.options(context)
    };
    Model::load_with(path, &options)
        .map_err(|error| explain(error, &resolved, || overrides::metadata(path)))
}

/// Loads ONNX Runtime's library if the engine needs it, so that loading a model no longer has to.
pub fn load_library(request: &EngineRequest, context: &Context<'_>) -> Result<()> {
    if request.engine == EngineChoice::Ort {
        probe_ort(&request.options(context))?;
    }
    Ok(())
}

/// Lists the engines that work on this machine, tract first. A library that was given by name must
/// work.
pub fn present(context: &Context<'_>) -> Result<Vec<EngineChoice>> {
    present_for(Device::Cpu, None, context)
}

/// Lists the engines of a request, each once, tract first; where it names none, those that are
/// present and can use the device, with this library.
pub fn wanted(
    engines: &[EngineChoice],
    device: Device,
    library: Option<&Path>,
    context: &Context<'_>,
) -> Result<Vec<EngineChoice>> {
    if engines.is_empty() {
        return present_for(device, library, context);
    }
    Ok(EngineChoice::ALL
        .into_iter()
        .filter(|engine| engines.contains(engine))
        .collect())
}

fn present_for(
    device: Device,
    library: Option<&Path>,
    context: &Context<'_>,
) -> Result<Vec<EngineChoice>> {
    let named = library.is_some()
        || std::env::var_os("KILN_ORT_LIB").is_some_and(|value| !value.is_empty());
    let options = Options {
        ort_library: library.map(Path::to_owned),
        ..options(context)
    };
    match probe_ort(&options) {
        // tract has no CUDA, and leaves nothing to try where that is asked for.
        Ok(_) if device == Device::Cuda => Ok(vec![EngineChoice::Ort]),
        Ok(_) => Ok(vec![EngineChoice::Tract, EngineChoice::Ort]),
        Err(error) if named || device == Device::Cuda => Err(error.into()),
        Err(_) => Ok(vec![EngineChoice::Tract]),
    }
}

/// Returns what people call an engine.
pub const fn title(engine: EngineChoice) -> &'static str {
    match engine {
        EngineChoice::Tract => "tract",
        EngineChoice::Ort => "ONNX Runtime",
    }
}

/// Turns a loading error into one that says what to specify and where, or what the file is, where
/// it is part of a model by its metadata.
pub(crate) fn explain(
    error: LoadError,
    resolved: &Resolved,
    metadata: impl FnOnce() -> Option<Metadata>,
) -> Error {
    if matches!(
        error.kind,
        LoadErrorKind::NotSaid { .. } | LoadErrorKind::Input { .. }
    ) && let Some(layer) = metadata().as_ref().and_then(head_input)
    {
        return EnginesError::HeadOnly {
            model: error.origin,
            layer: layer.into(),
        }
        .into();
    }
    let sidecar = resolved.beside().to_path_buf();
    match error.kind {
        LoadErrorKind::NotSaid { what, .. } => EnginesError::NotSpecified {
            model: error.origin,
            what,
            sidecar,
        }
        .into(),
        LoadErrorKind::Sigmoid => EnginesError::Sigmoid {
            model: error.origin,
            sidecar,
        }
        .into(),
        _ => error.into(),
    }
}

/// A model cannot be loaded as it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnginesError {
    /// CUDA with the engine that has none.
    #[error("tract has no CUDA")]
    NoCuda,
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
    #[error("{model} does not say the {what}")]
    NotSpecified {
        /// The file, as messages call it.
        model: String,
        /// What is missing.
        what: &'static str,
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
            Self::NoCuda => Hint::EngineForCuda,
            Self::Folder { .. } => Hint::CheckPath,
            Self::NotExported { run } => Hint::ExportFirst { run: run.clone() },
            Self::HeadOnly { .. } => Hint::WholeModel,
            Self::NotSpecified { what, sidecar, .. } => Hint::Specify {
                key: match *what {
                    "labels" => "labels",
                    "size of the images" => "size",
                    _ => "preprocess",
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

/// Replays the golden vectors of a model that was loaded from a file.
pub fn verify(path: &Path, model: &Model) -> Result<kiln_inference::Verification> {
    model.verify().map_err(|source| {
        match source {
            kiln_inference::VerifyError::NoVectors => EnginesError::NoGolden { path: path.into() },
            source => EnginesError::Verify {
                path: path.into(),
                source,
            },
        }
        .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_directory_stands_for_its_model() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path();
        let error = |path: &Path| {
            let error = model_file(path).unwrap_err();
            (error.to_string(), error.hint())
        };
        let file = run.join("m.onnx");
        assert_eq!(model_file(&file).unwrap(), file, "there or not");
        let (message, hint) = error(run);
        assert!(message.contains("found the folder"), "{message}");
        assert_eq!(hint, Some(Hint::CheckPath));
        let recipe = include_str!("../../../models/quickstart.toml");
        std::fs::write(run.join("recipe.toml"), recipe).unwrap();
        let (message, hint) = error(run);
        assert!(message.contains("has no exported model"), "{message}");
        assert_eq!(hint, Some(Hint::ExportFirst { run: run.into() }));
        std::fs::write(run.join("model.onnx"), "").unwrap();
        assert_eq!(model_file(run).unwrap(), run.join("model.onnx"));
    }
}
