//! A model: loading it, what is known of it, golden vectors.

use std::ffi::{CString, c_char, c_void};
use std::ptr::null;
use std::sync::{Arc, LazyLock};

use kiln_inference::{ModelFile, Sidecar};

use crate::door::{door, quietly};
use crate::error::{Error, Failure, Status, c_string};
use crate::labels::Labels;
use crate::options::{self, Options};
use crate::pointers::{Output, output, path, reference, slice};

/// A model, loaded on an engine.
pub struct Model {
    pub loaded: kiln_inference::Model,
    pub labels: Arc<Labels>,
    info: ModelInfo,
    /// What `info` points to.
    _texts: Vec<CString>,
    _thresholds: Vec<f32>,
}

/// What is known of a model. Fields may be added at the end in later versions; the library makes it, so that a program need not
/// know its size.
#[repr(C)]
pub struct ModelInfo {
    /// Number of classes, at least 1: that of scores and probabilities of an image.
    pub classes: usize,
    /// Their names, in the order of scores and probabilities; their numbers from 0 where nobody names them.
    pub labels: *const *const c_char,
    /// Channels of an image as the graph takes it: 1 or 3.
    pub channels: u32,
    /// Its height in pixels. Images of any size are classified: they are resized as the model's record says.
    pub height: u32,
    /// Its width in pixels.
    pub width: u32,
    /// What the channels are: "gray", "rgb" or "bgr".
    pub channel_order: *const c_char,
    /// What the scores are: "logits", "probabilities", "log_probabilities", "sigmoid" or "sigmoid_logits".
    pub output: *const c_char,
    /// Whether each class has a probability by itself, so that an image can have any number of classes.
    pub has_several: bool,
    /// Whether the graph ends as one of features does rather than a classifier's: only `scores` of a prediction mean something
    /// then, and are the features.
    pub is_features: bool,
    /// What a probability has to exceed where each class has one by itself: one for each class, or for two classes with one
    /// score that of the second. NULL where classes exclude each other.
    pub thresholds: *const f32,
    /// Number of thresholds.
    pub thresholds_count: usize,
    /// Number of golden vectors in the file, which `kiln_verify` replays.
    pub golden_vectors: usize,
    /// The engine in use, such as "tract".
    pub engine: *const c_char,
    /// Its version; "" where it is not known.
    pub engine_version: *const c_char,
    /// The device in use: "cpu" or "cuda".
    pub device: *const c_char,
    /// Number of threads that a call may use.
    pub threads: usize,
}

impl Model {
    fn new(loaded: kiln_inference::Model) -> Self {
        let labels = Arc::new(Labels::new(loaded.labels()));
        let spec = loaded.spec();
        let runtime = loaded.runtime();
        let texts: Vec<CString> = [
            loaded.preprocessing().channels.as_str(),
            loaded.output_kind().as_str(),
            runtime.engine.name(),
            runtime.version.as_deref().unwrap_or_default(),
            runtime.device.as_str(),
        ]
        .map(c_string)
        .into();
        let thresholds = spec.thresholds.clone();
        let [channels, height, width] = loaded.preprocessor().shape().map(|side| side as u32);
        let info = ModelInfo {
            classes: labels.count(),
            labels: labels.all(),
            channels,
            height,
            width,
            channel_order: texts[0].as_ptr(),
            output: texts[1].as_ptr(),
            has_several: spec.has_several(),
            is_features: spec.scores.is_features,
            thresholds: if thresholds.is_empty() {
                null()
            } else {
                thresholds.as_ptr()
            },
            thresholds_count: thresholds.len(),
            golden_vectors: loaded.golden_vectors(),
            engine: texts[2].as_ptr(),
            engine_version: texts[3].as_ptr(),
            device: texts[4].as_ptr(),
            threads: runtime.threads,
        };
        Self {
            loaded,
            labels,
            info,
            _texts: texts,
            _thresholds: thresholds,
        }
    }
}

/// What threads of C share has to be what threads may share.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<kiln_inference::Model>();
};

/// Returns the version of the library, such as "0.2.0".
#[unsafe(no_mangle)]
pub extern "C" fn kiln_version() -> *const c_char {
    static VERSION: LazyLock<CString> = LazyLock::new(|| c_string(kiln_util::VERSION));
    VERSION.as_ptr()
}

/// Loads a model from its file, and puts it into `*model`. A sidecar beside the file (a TOML file with its name) is read as on
/// the command line. `options` may be NULL.
///
/// Of a model with weights in files beside it those are found by its path.
///
/// # Safety
///
/// Pointers are as documented; `model` and `error` point to pointers that may be written, or are NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_open(
    path: *const c_char,
    options: *const Options,
    model: *mut *mut Model,
    error: *mut *mut Error,
) -> Status {
    let work = || {
        // SAFETY: as the caller promises, of this pointer and those after it.
        let model = unsafe { output(model, "model") }?;
        // SAFETY: as above.
        let path = unsafe { self::path(path, "path") }?;
        // SAFETY: as above.
        let mut options = unsafe { options::read(options) }?;
        let sidecar = Sidecar::of(path).map_err(|error| Failure::of(Status::Load, &error))?;
        if let Some(sidecar) = sidecar {
            options.declared = options.declared.or(sidecar.overrides);
        }
        give(kiln_inference::Model::open_with(path, &options), model)
    };
    // SAFETY: as the caller promises.
    unsafe { door(error, work) }
}

/// Loads a model from the bytes of its file, which are not needed after the call, and puts it into `*model`. `options` may be
/// NULL.
///
/// # Safety
///
/// Pointers are as documented; `model` and `error` point to pointers that may be written, or are NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_open_bytes(
    data: *const c_void,
    size: usize,
    options: *const Options,
    model: *mut *mut Model,
    error: *mut *mut Error,
) -> Status {
    let work = || {
        // SAFETY: as the caller promises, of this pointer and those after it.
        let model = unsafe { output(model, "model") }?;
        // SAFETY: as above.
        let bytes = unsafe { slice(data.cast::<u8>(), size, "data") }?;
        // SAFETY: as above.
        let options = unsafe { options::read(options) }?;
        let file = ModelFile::from_bytes(bytes.to_vec());
        give(kiln_inference::Model::load(&file, &options), model)
    };
    // SAFETY: as the caller promises.
    unsafe { door(error, work) }
}

fn give(
    loaded: Result<kiln_inference::Model, kiln_inference::LoadError>,
    model: Output<Model>,
) -> Result<(), Failure> {
    let loaded = loaded.map_err(|error| Failure::of(Status::Load, &error))?;
    model.give(Model::new(loaded));
    Ok(())
}

/// Frees a model, and waits for its threads to end. NULL is fine. No other thread may be using it.
///
/// # Safety
///
/// `model` is NULL, or comes from a function of this library, was not freed, and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_free(model: *mut Model) {
    if !model.is_null() {
        // SAFETY: a model of this library's, made by `Output::give`, which nobody else frees.
        quietly(|| drop(unsafe { Box::from_raw(model) }));
    }
}

/// Returns what is known of a model, valid until it is freed. Of NULL it is NULL.
///
/// # Safety
///
/// `model` is NULL, or comes from a function of this library and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_info(model: *const Model) -> *const ModelInfo {
    // SAFETY: as the caller promises.
    unsafe { model.as_ref() }.map_or(null(), |model| &raw const model.info)
}

/// Replays the golden vectors of a model's file, from raw pixels to scores: proves that this machine, with this engine, computes
/// what the program did that made the file. KILN_STATUS_VERIFICATION where scores differ by more than the file allows, or the
/// file has no vectors.
///
/// `difference` may be NULL; else `*difference` is set to the largest difference of a score, as a share of what its vector
/// allows: up to 1 passes. It is NaN where nothing was replayed.
///
/// # Safety
///
/// Pointers are as documented; `difference` and `error` may be written, or are NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_verify(
    model: *const Model,
    difference: *mut f64,
    error: *mut *mut Error,
) -> Status {
    let work = || {
        let tell = |share: f64| {
            if !difference.is_null() {
                // SAFETY: as the caller promises.
                unsafe { difference.write(share) };
            }
        };
        tell(f64::NAN);
        // SAFETY: as the caller promises.
        let model = unsafe { reference(model, "model") }?;
        let verification = model
            .loaded
            .verify()
            .map_err(|error| Failure::of(Status::Verification, &error))?;
        let worst = verification.worst();
        tell(worst.difference / worst.tolerance);
        if verification.passed() {
            return Ok(());
        }
        Err(Failure::new(
            Status::Verification,
            format!("the scores of golden vectors differ on this machine: {verification}"),
        ))
    };
    // SAFETY: as the caller promises.
    unsafe { door(error, work) }
}
