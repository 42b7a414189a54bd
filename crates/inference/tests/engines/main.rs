//! Small models on every engine, against a naive computation.

mod agreement;
mod classify;
mod embedding;
mod forms;
mod hammer;
mod hostile;
mod layout;
mod model;
mod mutation;
mod naive;
mod outputs;
mod refusals;
mod sessions;
mod stream;
mod verify;

use kiln_inference::{EngineId, Options};

/// The engines to test: tract, and ONNX Runtime where ignored tests are run too, which may download.
fn engines() -> Vec<EngineId> {
    let downloads = std::env::args().any(|arg| arg == "--include-ignored" || arg == "--ignored");
    #[cfg(feature = "ort")]
    if downloads {
        static LOADED: std::sync::Once = std::sync::Once::new();
        LOADED.call_once(load_onnxruntime);
    }
    EngineId::all()
        .filter(|engine| downloads || engine.name() != "ort")
        .collect()
}

/// Sets the number of concurrent runs of the engine that has this option.
fn with_concurrent_runs(options: Options, runs: impl Into<Option<usize>>) -> Options {
    #[cfg(feature = "ort")]
    let options =
        options.with_ort(kiln_inference::OrtOptions::default().with_concurrent_runs(runs));
    #[cfg(not(feature = "ort"))]
    let _ = runs;
    options
}

/// Loads ONNX Runtime's library for all models of this process: the one that is installed, or else
/// that of kiln's cache, into which it is fetched if need be. To pass without it would say nothing.
#[cfg(feature = "ort")]
fn load_onnxruntime() {
    use kiln_assets::{Asset, Cache, Fetcher, Silent};
    use kiln_inference::{OrtOptions, load_library};

    if load_library(&Options::default()).is_ok() {
        return;
    }
    let cancel = kiln_util::CancelToken::new();
    let asset = Asset::named("onnxruntime").unwrap_or_else(|error| panic!("{error}"));
    let fetched = Fetcher::new(Cache::from_env().unwrap(), &Silent, &cancel).fetch(&asset);
    let library = fetched
        .unwrap_or_else(|error| panic!("{error}"))
        .files
        .remove(0)
        .path;
    let options = Options::default().with_ort(OrtOptions::default().with_library(library));
    load_library(&options).unwrap_or_else(|error| panic!("{error}"));
}
