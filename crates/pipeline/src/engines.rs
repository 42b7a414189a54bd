//! Loading models on engines, and the replay of golden vectors there as it is written.

use std::path::{Path, PathBuf};

use kiln_assets::Asset;
use kiln_inference::{
    Device, EngineError, EngineId, LoadError, LoadErrorKind, Model, ModelFile, Options, OrtOptions,
    Replay, Unspecified, Verification, VerifyError,
};
use kiln_onnx::Metadata;
use kiln_run::{RunDir, RunFile};
use kiln_util::shown;
use serde::Serialize;

use crate::context::Context;
pub use crate::error::models::EnginesError;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::limits::Limits;
use crate::networks;
use crate::overrides::{OverridesRequest, Resolved};
use crate::provenance::head_input;
use crate::runtime::RuntimeRecord;

/// What a model is to run on, and what is specified about it.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct EngineRequest {
    /// What computes the graph.
    pub engine: EngineId,
    /// Where it is computed.
    pub device: Device,
    /// ONNX Runtime's shared library; looked for if not given.
    pub library: Option<PathBuf>,
    /// Runs that ONNX Runtime computes at the same time, for programs that call a model from
    /// several threads; one if not given.
    pub concurrent_runs: Option<usize>,
    /// Whether images are classified together with their mirror images.
    pub flips: bool,
    /// What is specified about the model.
    pub overrides: OverridesRequest,
}

impl EngineRequest {
    /// Creates a request for an engine on the CPU, with what the model's file says.
    pub fn new(engine: EngineId) -> Self {
        Self {
            engine,
            ..Self::default()
        }
    }

    pub(crate) fn options(&self, context: &Context<'_>) -> Options {
        let options = options(context);
        let ort = options.ort.clone();
        options
            .with_engine(self.engine)
            .with_device(self.device)
            .with_flips(self.flips)
            .with_ort(
                ort.with_library(self.library.clone())
                    .with_concurrent_runs(self.concurrent_runs),
            )
    }
}

/// Returns options with which ONNX Runtime's library is looked for in the cache too, and the
/// context's number of threads.
pub fn options(context: &Context<'_>) -> Options {
    let library = Asset::named("onnxruntime")
        .ok()
        .and_then(|asset| context.assets.lookup(&asset)?.into_iter().next());
    let budget = context.limits.as_ref().map(Limits::budget);
    Options::default()
        .with_budget(budget.unwrap_or_default())
        .with_threads(context.threads)
        .with_ort(OrtOptions::default().with_library_cache(library))
}

/// Returns the file of a model: the exported model where the path is a run directory, a network's where there
/// is no such path and it is the name of one, such as `efficientnet-lite0`, else the path itself.
pub fn model_file(path: &Path, context: &Context<'_>) -> Result<PathBuf> {
    let name = path.to_str().filter(|_| !path.exists());
    if let Some(asset) = name.and_then(|name| Asset::named(name).ok())
        && networks::of(&asset).is_some()
    {
        let assets = context.assets;
        let fetched = assets.require(&asset, context.observer, &context.cancel)?;
        if let Some(file) = fetched.files.into_iter().next() {
            return Ok(file.path);
        }
    }
    file_of_run(path)
}

/// Returns the exported model where the path is a run directory, else the path itself.
fn file_of_run(path: &Path) -> Result<PathBuf> {
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

/// Checks that the name of a model to write promises no other format than ONNX.
pub fn check_name(path: &Path) -> Result<(), EnginesError> {
    // No ending is fine, as of devices and pipes.
    let other = |ending: &std::ffi::OsStr| !ending.eq_ignore_ascii_case("onnx");
    if path.extension().is_some_and(other) {
        return Err(EnginesError::Ending { path: path.into() });
    }
    Ok(())
}

/// Opens a model's file, which is read once however many models are loaded from it. A run directory
/// stands for its exported model.
pub fn open(path: &Path) -> Result<ModelFile> {
    let path = file_of_run(path)?;
    let file = ModelFile::open(&path).map_err(|error| LoadError {
        origin: format!("`{}`", path.display()),
        kind: error.into(),
    })?;
    Ok(file)
}

/// Opens a model's file as [`open`] does, with the weights that it keeps in other files of its folder.
pub fn open_with_external_data(path: &Path) -> Result<ModelFile> {
    let path = file_of_run(path)?;
    let file = ModelFile::open_with_external_data(&path).map_err(|error| {
        let origin = format!("`{}`", path.display());
        LoadError {
            origin,
            kind: error.into(),
        }
    })?;
    Ok(file)
}

/// Loads a model from its file, with what is specified about it in the request and in a sidecar.
pub fn load(file: &ModelFile, request: &EngineRequest, context: &Context<'_>) -> Result<Model> {
    let path = file.path().unwrap_or(Path::new(""));
    // A GPU's libraries alone take gigabytes.
    let watched = request.device == Device::Cpu;
    let work = format!("loading {file}");
    let _watch = watched.then(|| context.watch(&work, file.total_bytes(), 1));
    let mut resolved = Resolved::new(path, &request.overrides)?;
    let load = |resolved: &Resolved| {
        Model::load(
            file,
            &request.options(context).with_declared(resolved.all()),
        )
    };
    if let Ok(proto) = file.proto() {
        resolved.find_labels(path, proto);
    }
    let mut loaded = load(&resolved);
    if let Err(error) = &loaded
        && lacks_preprocessing(&error.kind)
        && let Ok(proto) = file.proto()
        && let Some(found) = resolved.find_config(path, proto)?
    {
        context.emit(&Event::ConfigFound { found });
        loaded = load(&resolved);
    }
    loaded.map_err(|error| explain(error, &resolved, || file.metadata()))
}

/// Whether nobody specifies how pixel values become numbers, so that it is worth asking other tools.
pub(crate) fn lacks_preprocessing(error: &LoadErrorKind) -> bool {
    matches!(
        error,
        LoadErrorKind::Unspecified(Unspecified::Preprocessing)
    )
}

/// Loads the engine's shared library if it has one, so that loading a model no longer has to.
pub fn load_library(request: &EngineRequest, context: &Context<'_>) -> Result<()> {
    request.engine.info().probe(&request.options(context))?;
    Ok(())
}

/// Lists the engines that work on this machine. A library that was given by name must work.
pub fn present(context: &Context<'_>) -> Result<Vec<EngineId>> {
    present_for(Device::Cpu, None, context)
}

/// Lists the engines of a request, each once, in the order of the registry; if it names none, those
/// that are present and can use the device, with this library.
pub fn wanted(
    engines: &[EngineId],
    device: Device,
    library: Option<&Path>,
    context: &Context<'_>,
) -> Result<Vec<EngineId>> {
    if engines.is_empty() {
        return present_for(device, library, context);
    }
    Ok(EngineId::all()
        .filter(|engine| engines.contains(engine))
        .collect())
}

fn present_for(
    device: Device,
    library: Option<&Path>,
    context: &Context<'_>,
) -> Result<Vec<EngineId>> {
    let options = options(context);
    let ort = options.ort.clone();
    let options = options.with_ort(ort.with_library(library.map(Path::to_owned)));
    let mut present = Vec::new();
    let mut absent: Option<EngineError> = None;
    for engine in EngineId::all() {
        let info = engine.info();
        match info.probe(&options) {
            Err(error) if info.is_configured(&options) => return Err(error.into()),
            Err(error) if info.supports(device) => absent = absent.or(Some(error)),
            Ok(_) if info.supports(device) => present.push(engine),
            Ok(_) | Err(_) => {}
        }
    }
    match absent {
        Some(error) if present.is_empty() => Err(error.into()),
        _ => Ok(present),
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
        LoadErrorKind::Unspecified(_) | LoadErrorKind::Input { .. }
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
        LoadErrorKind::Unspecified(what) => EnginesError::NotSpecified {
            model: error.origin,
            what,
            sidecar,
        }
        .into(),
        _ => error.into(),
    }
}

/// Replays the golden vectors of a model that was loaded from a file.
pub fn verify(
    path: &Path,
    model: &Model,
    context: &Context<'_>,
) -> Result<kiln_inference::Verification> {
    let work = format!("verifying `{}`", path.display());
    let watched = model.runtime().device == Device::Cpu;
    let vectors = model.golden_vectors() as u64;
    let _watch = watched.then(|| context.watch(&work, model.total_bytes(), vectors));
    model.verify().map_err(|source| {
        match source {
            VerifyError::NoVectors => EnginesError::NoGolden { path: path.into() },
            source => EnginesError::Verify {
                path: path.into(),
                source,
            },
        }
        .into()
    })
}

/// Describes a replay for people, a line for each engine: `tract 0.23 (cpu): 10 golden vectors, largest
/// difference 2.1e-6 (allowed 1.0e-4): passed`.
pub fn verification_text(verified: &[(RuntimeRecord, Verification)]) -> String {
    let line = |(runtime, verification): &(RuntimeRecord, Verification)| {
        let verdict = if verification.passed() {
            "passed"
        } else {
            "FAILED"
        };
        // Labels and the images' origins are the file's.
        let text = shown(&verification.to_string(), usize::MAX);
        format!("{}: {text}: {verdict}\n", runtime.describe())
    };
    verified.iter().map(line).collect()
}

/// A replay of a file's golden vectors on each engine.
#[derive(Debug, Serialize)]
pub struct VerificationRecord<'a> {
    model: String,
    passed: bool,
    engines: Vec<EngineRecord<'a>>,
}

#[derive(Debug, Serialize)]
struct EngineRecord<'a> {
    runtime: &'a RuntimeRecord,
    passed: bool,
    /// What computed the expected scores.
    computed_by: &'a str,
    vectors: Vec<VectorRecord<'a>>,
}

#[derive(Debug, Serialize)]
struct VectorRecord<'a> {
    source: &'a str,
    passed: bool,
    /// None if the engine computed a score that is not a number.
    difference: Option<f64>,
    tolerance: f64,
    label: &'a str,
    named: &'a str,
}

impl<'a> VerificationRecord<'a> {
    /// Collects the replays of a file.
    pub fn new(file: &Path, verified: &'a [(RuntimeRecord, Verification)]) -> Self {
        let engines = verified.iter().map(|(runtime, verification)| EngineRecord {
            runtime,
            passed: verification.passed(),
            computed_by: &verification.computed_by,
            vectors: verification.replays.iter().map(vector).collect(),
        });
        Self {
            model: file.display().to_string(),
            passed: verified
                .iter()
                .all(|(_, verification)| verification.passed()),
            engines: engines.collect(),
        }
    }
}

fn vector(replay: &Replay) -> VectorRecord<'_> {
    VectorRecord {
        source: &replay.source,
        passed: replay.passed(),
        difference: Some(replay.difference).filter(|difference| difference.is_finite()),
        tolerance: replay.tolerance,
        label: &replay.label,
        named: &replay.named,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hint::Hint;

    #[test]
    fn a_run_directory_stands_for_its_model() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path();
        let error = |path: &Path| {
            let error = file_of_run(path).unwrap_err();
            (error.to_string(), error.hint())
        };
        let file = run.join("m.onnx");
        assert_eq!(file_of_run(&file).unwrap(), file, "there or not");
        let (message, hint) = error(run);
        assert!(message.contains("found the folder"), "{message}");
        assert_eq!(hint, Some(Hint::CheckPath));
        let recipe = include_str!("../../../models/quickstart.toml");
        std::fs::write(run.join("recipe.toml"), recipe).unwrap();
        let (message, hint) = error(run);
        assert!(message.contains("has no exported model"), "{message}");
        assert_eq!(hint, Some(Hint::ExportFirst { run: run.into() }));
        std::fs::write(run.join("model.onnx"), "").unwrap();
        assert_eq!(file_of_run(run).unwrap(), run.join("model.onnx"));
    }
}
