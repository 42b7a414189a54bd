//! Loading models on engines.

use std::borrow::Cow;
use std::path::Path;

use kiln_assets::{Asset, Cache};
use kiln_inference::{Device, EngineChoice, Model, Options, Receipt, probe_ort};
use serde::{Deserialize, Serialize};

use crate::args::EngineArgs;
use crate::declare::Declared;

/// Options with nothing asked for but threads: the library is looked for in the cache too.
pub fn default_options(threads: Option<u16>, cache: &Cache) -> Options {
    Options { threads: threads.map(usize::from), library_cache: cached_library(cache), ..Options::default() }
}

fn options(args: &EngineArgs, threads: Option<u16>, cache: &Cache) -> Options {
    let EngineArgs { engine, device, ort_lib, .. } = args.clone();
    Options { engine, device, ort_library: ort_lib, ..default_options(threads, cache) }
}

/// Loads a model, with what the command line and a sidecar say about it.
pub fn load(path: &Path, args: &EngineArgs, threads: Option<u16>, cache: &Cache) -> anyhow::Result<Model> {
    if args.engine == EngineChoice::Tract && args.device == Device::Cuda {
        anyhow::bail!("tract has no CUDA: use --engine ort with --device cuda");
    }
    let declared = Declared::by_options(path, &args.declared)?;
    let options = Options { declared: declared.declaration(), ..options(args, threads, cache) };
    Model::load_with(path, &options).map_err(|error| declared.explain(error))
}

/// The engines that work on this machine, tract first. A library that was asked for by name must work.
pub fn present(cache: &Cache) -> anyhow::Result<Vec<EngineChoice>> {
    let named = std::env::var_os("KILN_ORT_LIB").is_some_and(|value| !value.is_empty());
    match probe_ort(&default_options(None, cache)) {
        Ok(_) => Ok(vec![EngineChoice::Tract, EngineChoice::Ort]),
        Err(error) if named => Err(error.into()),
        Err(_) => Ok(vec![EngineChoice::Tract]),
    }
}

/// What people call an engine.
pub const fn title(engine: EngineChoice) -> &'static str {
    match engine {
        EngineChoice::Tract => "tract",
        EngineChoice::Ort => "ONNX Runtime",
    }
}

fn cached_library(cache: &Cache) -> Option<std::path::PathBuf> {
    let asset = Asset::named("onnxruntime").ok()?;
    cache.lookup(&asset)?.into_iter().next()
}

/// A receipt as it is written into results.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReceiptRecord {
    engine: Cow<'static, str>,
    version: Option<String>,
    requested_device: Cow<'static, str>,
    device: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<String>,
    threads: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    library: Option<String>,
}

impl ReceiptRecord {
    /// The engine with its version and device, for people.
    pub fn describe(&self) -> String {
        let name = EngineChoice::ALL.iter().find(|engine| engine.as_str() == self.engine);
        let name = name.map_or(self.engine.as_ref(), |engine| title(*engine));
        let version = self.version.as_ref().map_or(String::new(), |version| format!(" {version}"));
        format!("{name}{version} ({})", self.device)
    }
}

impl From<&Receipt> for ReceiptRecord {
    fn from(receipt: &Receipt) -> Self {
        Self {
            engine: receipt.engine.as_str().into(),
            version: receipt.version.clone(),
            requested_device: receipt.requested.as_str().into(),
            device: receipt.device.as_str().into(),
            fallback: receipt.fallback.clone(),
            threads: receipt.threads,
            library: receipt.library.as_ref().map(|library| library.path.display().to_string()),
        }
    }
}
