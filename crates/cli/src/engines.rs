//! Loading models on engines.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use kiln_assets::{Asset, Cache};
use kiln_inference::{
    Device, EngineError, EngineId, LoadError, Model, ModelFile, Options, OrtOptions,
};

use crate::args::{EngineArgs, EnginesArgs, PlaceArgs};
use crate::declare::Declared;
use crate::hints;
use crate::receipt::ReceiptRecord;
use crate::terminal::Terminal;

/// The names of the engines as the value of an option, such as `tract|ort`.
pub static NAMES: LazyLock<String> = LazyLock::new(|| {
    let names: Vec<_> = EngineId::all().map(EngineId::name).collect();
    names.join("|")
});

/// The engines in the help of an option.
pub static HELP: LazyLock<String> = LazyLock::new(|| {
    let engines: Vec<_> = EngineId::all()
        .map(|engine| format!("{engine} ({})", engine.info().summary))
        .collect();
    format!("Engine that computes the graph: {}", engines.join(" or "))
});

/// Options with nothing asked for but threads: the library is looked for in the cache too.
pub fn default_options(threads: Option<u16>, cache: &Cache) -> Options {
    Options::default()
        .with_threads(threads.map(usize::from))
        .with_ort(OrtOptions::default().with_library_cache(cached_library(cache)))
}

fn options(args: &EngineArgs, threads: Option<u16>, cache: &Cache) -> Options {
    let EngineArgs {
        engine,
        place: PlaceArgs { device, ort_lib },
        concurrent_runs,
        ..
    } = args.clone();
    let options = default_options(threads, cache);
    let ort = options.ort.clone();
    options.with_engine(engine).with_device(device).with_ort(
        ort.with_library(ort_lib)
            .with_concurrent_runs(concurrent_runs),
    )
}

/// Opens a model's file, which is read once however many models are loaded from it.
pub fn open(path: &Path) -> Result<ModelFile, LoadError> {
    ModelFile::open(path).map_err(|error| LoadError {
        origin: format!("`{}`", path.display()),
        kind: error.into(),
    })
}

/// Loads a model, with what the command line and a sidecar specify about it.
pub fn load(
    file: &ModelFile,
    args: &EngineArgs,
    threads: Option<u16>,
    cache: &Cache,
) -> anyhow::Result<Model> {
    let declared = Declared::by_options(file.path().unwrap_or(Path::new("")), &args.declared)?;
    let options = options(args, threads, cache).with_declared(declared.declaration());
    Model::load(file, &options).map_err(|error| declared.explain(error, || file.metadata()))
}

/// Shows what a model runs on, and why not on what was asked for.
pub fn announce(receipt: &ReceiptRecord, terminal: &Terminal) {
    if let Some(fallback) = receipt.fallback() {
        terminal.status("Falling back", &format!("to the CPU: {fallback}"));
    }
    terminal.status("Running", &format!("on {}", receipt.line()));
}

/// Loads the engine's shared library if it has one, so that loading a model no longer has to.
pub fn load_library(args: &EngineArgs, cache: &Cache) -> anyhow::Result<()> {
    args.engine.info().probe(&options(args, None, cache))?;
    Ok(())
}

/// The engines that work on this machine. A library that was asked for by name must work.
pub fn present(cache: &Cache) -> anyhow::Result<Vec<EngineId>> {
    present_for(Device::Cpu, None, cache)
}

/// Those named, each once, in the order of the list; where none is, those that are there and can
/// use the device.
pub fn wanted(args: &EnginesArgs, cache: &Cache) -> anyhow::Result<Vec<EngineId>> {
    if args.engine.is_empty() {
        return present_for(args.place.device, args.place.ort_lib.as_deref(), cache);
    }
    Ok(EngineId::all()
        .filter(|engine| args.engine.contains(engine))
        .collect())
}

/// Those that can use a device, with this library.
fn present_for(
    device: Device,
    ort_lib: Option<&Path>,
    cache: &Cache,
) -> anyhow::Result<Vec<EngineId>> {
    let options = default_options(None, cache);
    let ort = options.ort.clone();
    let options = options.with_ort(ort.with_library(ort_lib.map(Path::to_owned)));
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

/// How to get the engines that are not among those present, such as
/// ``(`kiln fetch onnxruntime` adds ONNX Runtime)``.
pub fn suggestions(present: &[EngineId], cache: &Cache) -> String {
    let options = default_options(None, cache);
    let absent = EngineId::all().filter(|engine| !present.contains(engine));
    let suggestions = absent.filter_map(|engine| {
        let command = install(&engine.info().probe(&options).err()?)?;
        Some(format!(" (`{command}` adds {})", engine.title()))
    });
    suggestions.collect()
}

/// The command that installs what an engine is missing.
pub fn install(error: &EngineError) -> Option<&'static str> {
    error.hint().as_ref().and_then(hints::install)
}

fn cached_library(cache: &Cache) -> Option<PathBuf> {
    let asset = Asset::named("onnxruntime").ok()?;
    cache.lookup(&asset)?.into_iter().next()
}
