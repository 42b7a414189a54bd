//! The loaded library: one per process, because ONNX Runtime keeps its state in globals; and the
//! execution providers that it was built with.

use std::error::Error;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use ::ort::LoadDynamicError;
use ::ort::environment::Environment;
use ::ort::ep::ExecutionProvider;
use ::ort::session::builder::SessionBuilder;
use kiln_util::catch_panic;

use super::binary;
use super::error::OrtError;
use super::info::Library;
use super::library::{Candidate, Origin, OrtOptions, candidates, mapped, symbol_version, version};
use crate::choice::EngineId;
use crate::engine::error::EngineError;

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
pub fn get(options: &OrtOptions) -> Result<&'static Runtime, EngineError> {
    let _loading = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    let candidates = candidates(options);
    if let Some(runtime) = RUNTIME.get() {
        check_same(&runtime.library, &candidates)?;
        return Ok(runtime);
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
                return Err(OrtError::Library {
                    tried: vec![(candidate.to_string(), why)],
                }
                .into());
            }
        };
        let path = if candidate.origin == Origin::System {
            mapped().unwrap_or(path)
        } else {
            path
        };
        let library = describe(&path).map_err(|reason| EngineError::Load {
            engine: EngineId::ORT,
            reason,
        })?;
        return Ok(Runtime {
            environment,
            library,
        });
    }
    Err(OrtError::Library { tried }.into())
}

/// `ort` panics where a library with the right name and version lacks the interface that belongs to
/// them.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let broken = |_| Err("it is broken: it does not give the interface of its version".to_owned());
    catch_panic(work).unwrap_or_else(broken)
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
    let providers = available_providers().map_err(|error| error.to_string())?;
    let version = version(path).or_else(|| symbol_version(path));
    Ok(Library {
        version,
        path: path.to_owned(),
        build: ::ort::info().to_owned(),
        providers,
    })
}

/// Refuses a library named by the user that is not the loaded one.
fn check_same(loaded: &Library, candidates: &[Candidate]) -> Result<(), OrtError> {
    let Some(named) = candidates
        .iter()
        .find(|candidate| candidate.origin.is_named())
    else {
        return Ok(());
    };
    match named.resolve() {
        Ok(path) if path == loaded.path => Ok(()),
        Ok(requested) => Err(OrtError::SecondLibrary {
            loaded: loaded.path.clone(),
            requested,
        }),
        Err(why) => Err(OrtError::Library {
            tried: vec![(named.to_string(), why)],
        }),
    }
}

/// Asks the loaded library for each provider by ONNX Runtime's name for it. `ort` has the question,
/// but only for the providers that it is compiled for; here they are named, never used.
macro_rules! available {
    ($($provider:ident),* $(,)?) => {{
        let mut names = Vec::new();
        $({
            struct $provider;

            impl ExecutionProvider for $provider {
                const NAME: &'static str = stringify!($provider);

                fn register(&self, _: &mut SessionBuilder) -> ::ort::Result<()> {
                    Err(::ort::Error::new(concat!("kiln does not use ", stringify!($provider))))
                }
            }

            if $provider::is_available()? {
                names.push($provider::NAME.to_owned());
            }
        })*
        Ok(names)
    }};
}

/// Names of the execution providers that the loaded library was built with, in the order in which
/// ONNX Runtime prefers them.
fn available_providers() -> ::ort::Result<Vec<String>> {
    available![
        NvTensorRTRTXExecutionProvider,
        TensorrtExecutionProvider,
        CUDAExecutionProvider,
        MIGraphXExecutionProvider,
        ROCMExecutionProvider,
        OpenVINOExecutionProvider,
        DnnlExecutionProvider,
        VitisAIExecutionProvider,
        QNNExecutionProvider,
        NnapiExecutionProvider,
        CoreMLExecutionProvider,
        ACLExecutionProvider,
        DmlExecutionProvider,
        CANNExecutionProvider,
        WebGpuExecutionProvider,
        XnnpackExecutionProvider,
        AzureExecutionProvider,
        CPUExecutionProvider,
    ]
}
