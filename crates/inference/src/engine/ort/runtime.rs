//! The loaded library: one per process, because ONNX Runtime keeps its state in globals.

use std::sync::{Mutex, OnceLock, PoisonError};

use ::ort::environment::Environment;

use super::library::{Candidate, Origin, candidates, mapped, version};
use crate::engine::EngineError;
use crate::options::{EngineChoice, Options};
use crate::receipt::Library;

/// The loaded library and its environment, which lives as long as the process: `ort` refuses to make a second one.
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
/// `ort` panics when any other part of it is used before a library is loaded, errors included; `init_from` is the one
/// entry that reports a library that is missing, broken or too old, and leaves nothing behind.
fn load(candidates: &[Candidate]) -> Result<Runtime, EngineError> {
    let mut tried = Vec::new();
    for candidate in candidates {
        let loaded = candidate.resolve().and_then(|path| match ::ort::init_from(&path) {
            Ok(environment) => Ok((path, environment)),
            Err(error) => Err(error.to_string()),
        });
        let (path, environment) = match loaded {
            Ok(loaded) => loaded,
            Err(why) => {
                tried.push((candidate.to_string(), why));
                continue;
            }
        };
        // From here on the library stays loaded: there is no next one to try.
        let environment = environment.with_name("kiln").with_telemetry(false).build();
        let environment =
            environment.map_err(|error| EngineError::Load { engine: EngineChoice::Ort, reason: error.to_string() })?;
        let path = if candidate.origin == Origin::System { mapped().unwrap_or(path) } else { path };
        let library = Library { version: version(&path), path, build: ::ort::info().to_owned() };
        return Ok(Runtime { environment, library });
    }
    Err(EngineError::Library { tried })
}

/// Refuses a library named by the user that is not the loaded one.
fn check_same(loaded: &Library, candidates: &[Candidate]) -> Result<(), EngineError> {
    let Some(named) = candidates.iter().find(|candidate| candidate.origin.is_named()) else { return Ok(()) };
    match named.resolve() {
        Ok(path) if path == loaded.path => Ok(()),
        Ok(requested) => Err(EngineError::SecondLibrary { loaded: loaded.path.clone(), requested }),
        Err(why) => Err(EngineError::Library { tried: vec![(named.to_string(), why)] }),
    }
}
