//! The loaded library: one per process, because ONNX Runtime keeps its state in globals.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use ::ort::LoadDynamicError;
use ::ort::environment::Environment;

use super::library::{Candidate, Origin, candidates, mapped, symbol_version, version};
use super::{binary, providers};
use crate::engine::EngineError;
use crate::options::{EngineChoice, Options};
use crate::receipt::Library;

/// The loaded library and its environment, which lives as long as the process: `ort` refuses to
/// make a second one.
pub struct Runtime {
    pub environment: Environment,
    pub library: Library,
}

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// Held while the library is loaded, so that two threads do not load two.
static LOADING: Mutex<()> = Mutex::new(());

/// The runtime; loads the library the first time. Later calls may name the same library or none.
pub fn get(options: &Options) -> Result<&'static Runtime, EngineError> {
    let _loading = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    let candidates = candidates(options);
    if let Some(runtime) = RUNTIME.get() {
        return check_same(&runtime.library, &candidates).map(|()| runtime);
    }
    let runtime = load(&candidates)?;
    Ok(RUNTIME.get_or_init(|| runtime))
}

/// Loads the first library that works.
///
/// `ort` panics when any other part of it is used before a library is loaded, errors included;
/// `init_from` is the one entry that reports a library that is missing, broken or too old, and
/// leaves nothing behind.
fn load(candidates: &[Candidate]) -> Result<Runtime, EngineError> {
    let mut tried = Vec::new();
    for candidate in candidates {
        let loaded = candidate.resolve().and_then(|path| {
            if candidate.origin != Origin::System {
                binary::check(&path)?;
            }
            let environment = guarded(|| ::ort::init_from(&path).map_err(|error| reason(&error)))?;
            Ok((path, environment))
        });
        let (path, environment) = match loaded {
            Ok(loaded) => loaded,
            Err(why) => {
                tried.push((candidate.to_string(), why));
                continue;
            }
        };
        // From here on the library stays loaded: there is no next one to try.
        let environment = environment.with_name("kiln").with_telemetry(false);
        let environment = match guarded(|| environment.build().map_err(|error| error.to_string())) {
            Ok(environment) => environment,
            Err(why) => {
                return Err(EngineError::Library {
                    tried: vec![(candidate.to_string(), why)],
                });
            }
        };
        let path = if candidate.origin == Origin::System {
            mapped().unwrap_or(path)
        } else {
            path
        };
        let library = describe(&path).map_err(|reason| EngineError::Load {
            engine: EngineChoice::Ort,
            reason,
        })?;
        return Ok(Runtime {
            environment,
            library,
        });
    }
    Err(EngineError::Library { tried })
}

/// `ort` panics where a library with the right name and version lacks the interface that belongs to
/// them.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let broken = |_| Err("it is broken: it does not give the interface of its version".to_owned());
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(broken)
}

/// The same without the path, which is named already, nor what only `ort`'s users can do.
fn reason(error: &LoadDynamicError) -> String {
    match error {
        // `libloading` keeps what the system says in the error's source.
        LoadDynamicError::Dlopen { error, .. } => error.source().map_or_else(
            || error.to_string(),
            |source| source.to_string().replace('\n', " "),
        ),
        LoadDynamicError::MissingApi { .. } => {
            "this is not ONNX Runtime's library: it does not export `OrtGetApiBase`".to_owned()
        }
        LoadDynamicError::InvalidVersionString => "it does not say its version".to_owned(),
        LoadDynamicError::BadVersion { version_str, .. } => {
            format!(
                "it is ONNX Runtime {version_str}, and kiln needs 1.{} or newer",
                ::ort::MINOR_VERSION
            )
        }
    }
}

/// What a loaded library says about itself.
fn describe(path: &Path) -> Result<Library, String> {
    let providers = providers::available().map_err(|error| error.to_string())?;
    let version = version(path).or_else(|| symbol_version(path));
    Ok(Library {
        version,
        path: path.to_owned(),
        build: ::ort::info().to_owned(),
        providers,
    })
}

/// Refuses a library named by the user that is not the loaded one.
fn check_same(loaded: &Library, candidates: &[Candidate]) -> Result<(), EngineError> {
    let Some(named) = candidates
        .iter()
        .find(|candidate| candidate.origin.is_named())
    else {
        return Ok(());
    };
    match named.resolve() {
        Ok(path) if path == loaded.path => Ok(()),
        Ok(requested) => Err(EngineError::SecondLibrary {
            loaded: loaded.path.clone(),
            requested,
        }),
        Err(why) => Err(EngineError::Library {
            tried: vec![(named.to_string(), why)],
        }),
    }
}
