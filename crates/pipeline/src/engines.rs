//! Loading models on engines.

use std::path::Path;

use kiln_assets::{Asset, Cache};
use kiln_inference::{Device, EngineChoice, Model, Options, probe_ort};

use crate::args::{EngineArgs, EnginesArgs, PlaceArgs};
use crate::declare::{self, Declared};
use crate::receipt::ReceiptRecord;
use crate::terminal::Terminal;

/// Options with nothing asked for but threads: the library is looked for in the cache too.
pub fn default_options(threads: Option<u16>, cache: &Cache) -> Options {
    Options {
        threads: threads.map(usize::from),
        library_cache: cached_library(cache),
        ..Options::default()
    }
}

fn options(args: &EngineArgs, threads: Option<u16>, cache: &Cache) -> Options {
    let EngineArgs {
        engine,
        place: PlaceArgs { device, ort_lib },
        parallel_runs,
        ..
    } = args.clone();
    Options {
        engine,
        device,
        ort_library: ort_lib,
        parallel_runs,
        ..default_options(threads, cache)
    }
}

/// Loads a model, with what the command line and a sidecar say about it.
pub fn load(
    path: &Path,
    args: &EngineArgs,
    threads: Option<u16>,
    cache: &Cache,
) -> anyhow::Result<Model> {
    if args.engine == EngineChoice::Tract && args.place.device == Device::Cuda {
        anyhow::bail!("tract has no CUDA: use --engine ort with --device cuda");
    }
    let declared = Declared::by_options(path, &args.declared)?;
    let options = Options {
        declared: declared.declaration(),
        ..options(args, threads, cache)
    };
    Model::load_with(path, &options)
        .map_err(|error| declared.explain(error, || declare::metadata(path)))
}

/// Says what a model runs on, and why not on what was asked for.
pub fn announce(receipt: &ReceiptRecord, terminal: &Terminal) {
    if let Some(fallback) = receipt.fallback() {
        terminal.status("Falling back", &format!("to the CPU: {fallback}"));
    }
    terminal.status("Running", &format!("on {}", receipt.line()));
}

/// Loads ONNX Runtime's library if the engine needs it, so that loading a model no longer has to.
pub fn load_library(args: &EngineArgs, cache: &Cache) -> anyhow::Result<()> {
    if args.engine == EngineChoice::Ort {
        probe_ort(&options(args, None, cache))?;
    }
    Ok(())
}

/// The engines that work on this machine, tract first. A library that was asked for by name must
/// work.
pub fn present(cache: &Cache) -> anyhow::Result<Vec<EngineChoice>> {
    present_for(Device::Cpu, None, cache)
}

/// Those named, each once, tract first; where none is, those that are there and can use the device.
pub fn wanted(args: &EnginesArgs, cache: &Cache) -> anyhow::Result<Vec<EngineChoice>> {
    if args.engine.is_empty() {
        return present_for(args.place.device, args.place.ort_lib.as_deref(), cache);
    }
    Ok(EngineChoice::ALL
        .into_iter()
        .filter(|engine| args.engine.contains(engine))
        .collect())
}

/// Those that can use a device, with this library.
fn present_for(
    device: Device,
    ort_lib: Option<&Path>,
    cache: &Cache,
) -> anyhow::Result<Vec<EngineChoice>> {
    let named = ort_lib.is_some()
        || std::env::var_os("KILN_ORT_LIB").is_some_and(|value| !value.is_empty());
    let options = Options {
        ort_library: ort_lib.map(Path::to_owned),
        ..default_options(None, cache)
    };
    match probe_ort(&options) {
        // tract has no CUDA, and leaves nothing to try where that is asked for.
        Ok(_) if device == Device::Cuda => Ok(vec![EngineChoice::Ort]),
        Ok(_) => Ok(vec![EngineChoice::Tract, EngineChoice::Ort]),
        Err(error) if named || device == Device::Cuda => Err(error.into()),
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
