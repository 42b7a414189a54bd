//! Small models on every engine, against a naive computation.

mod agreement;
mod classify;
mod embedding;
mod hammer;
mod hostile;
mod layout;
mod model;
mod naive;
mod outputs;
mod refusals;
mod stream;
mod verify;

use kiln_inference::EngineChoice;

/// The engines to test: tract, and ONNX Runtime where ignored tests are run too, which may download.
fn engines() -> Vec<EngineChoice> {
    let mut engines = Vec::new();
    if cfg!(feature = "tract") {
        engines.push(EngineChoice::Tract);
    }
    #[cfg(feature = "ort")]
    if std::env::args().any(|arg| arg == "--include-ignored" || arg == "--ignored") {
        static LOADED: std::sync::Once = std::sync::Once::new();
        LOADED.call_once(load_onnxruntime);
        engines.push(EngineChoice::Ort);
    }
    engines
}

/// Loads ONNX Runtime's library for all models of this process: the one that is installed, or else
/// that of kiln's cache, into which it is fetched if need be. To pass without it would say nothing.
#[cfg(feature = "ort")]
fn load_onnxruntime() {
    use kiln_assets::{Asset, Cache, Fetcher, Silent};
    use kiln_inference::{Options, probe_ort};

    if probe_ort(&Options::default()).is_ok() {
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
    let options = Options {
        ort_library: Some(library),
        ..Options::default()
    };
    probe_ort(&options).unwrap_or_else(|error| panic!("{error}"));
}
