//! How a model is loaded.

use std::ffi::c_char;
use std::mem::{MaybeUninit, offset_of};
use std::path::Path;

#[cfg(feature = "ort")]
use kiln_inference::OrtOptions;
use kiln_inference::{Device, EngineId, ModelOverrides, parse_settings};

use crate::error::{Failure, Status};
use crate::pointers::{optional_path, optional_text, slice};

/// How a model is loaded. Zero everything, set `size`, then what is wanted:
///
///     kiln_options options = {0};
///     options.size = sizeof options;
///     options.threads = 1;
///
/// Fields may be added at the end in later versions: `size` says which ones the program knows.
#[repr(C)]
pub struct Options {
    /// Size of this struct in bytes: `sizeof(kiln_options)`.
    pub size: usize,
    /// What computes the graph: "tract", "ort" for ONNX Runtime, or NULL for the first that is built in.
    pub engine: *const c_char,
    /// Where it is computed: "cpu", "cuda", "auto" for a GPU where there is one, or NULL for the CPU.
    pub device: *const c_char,
    /// Threads that the model starts and computes with, and that end with it; 0 for one per core. With tract and 1, each call
    /// computes on the thread that makes it. With ONNX Runtime so many calls compute at once, on a thread each.
    pub threads: usize,
    /// Shared library of ONNX Runtime, or the folder that has it; NULL for the one that the variable KILN_ORT_LIB names, or
    /// the system's.
    pub library: *const c_char,
    /// What the model's file leaves open, or has otherwise: `settings_count` texts KEY=VALUE with the keys of a sidecar, such as
    /// "preprocess=torch", "size=224" or "labels=names.txt". They go before a sidecar.
    pub settings: *const *const c_char,
    /// Number of settings.
    pub settings_count: usize,
}

/// Size of the options in the first version, which every program's have at least.
const FIRST: usize = offset_of!(Options, settings_count) + size_of::<usize>();

/// Loads with what is in the options, and in overrides that go after them.
///
/// # Safety
///
/// `options` is NULL, or points to as many bytes as its first field says, of which each field is as documented.
pub unsafe fn read(options: *const Options) -> Result<kiln_inference::Options, Failure> {
    // SAFETY: as the caller promises.
    let Some(given) = unsafe { copy(options) }? else {
        return Ok(resolve(
            None,
            Device::default(),
            0,
            None,
            ModelOverrides::default(),
        ));
    };
    // SAFETY: as the caller promises, of this field and the next ones.
    let engine = unsafe { optional_text(given.engine, "options.engine") }?;
    let engine = engine
        .map(|name| name.parse().map_err(|error| invalid(&error)))
        .transpose()?;
    // SAFETY: as above.
    let device = unsafe { optional_text(given.device, "options.device") }?;
    let device = device
        .map(|name| name.parse().map_err(|error| invalid(&error)))
        .transpose()?
        .unwrap_or_default();
    // SAFETY: as above.
    let library = unsafe { optional_path(given.library, "options.library") }?;
    // SAFETY: as above.
    let settings = unsafe { slice(given.settings, given.settings_count, "options.settings") }?;
    let settings = settings
        .iter()
        .enumerate()
        .map(|(at, &setting)| {
            let name = format!("options.settings[{at}]");
            // SAFETY: as above.
            let text = unsafe { optional_text(setting, &name) }?;
            text.map(str::to_owned)
                .ok_or_else(|| Failure::argument(format!("`{name}` is NULL")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let declared = parse_settings("options.settings", &settings)
        .map_err(|error| Failure::of(Status::Load, &error))?;
    Ok(resolve(engine, device, given.threads, library, declared))
}

fn resolve(
    engine: Option<EngineId>,
    device: Device,
    threads: usize,
    library: Option<&Path>,
    declared: ModelOverrides,
) -> kiln_inference::Options {
    // Threads of its own in any case, which have ended when the model is freed.
    let cores = || std::thread::available_parallelism().map_or(1, Into::into);
    let threads = if threads == 0 { cores() } else { threads };
    let options = kiln_inference::Options::default()
        .with_engine(engine.unwrap_or_default())
        .with_device(device)
        .with_threads(threads)
        .with_declared(declared);
    #[cfg(feature = "ort")]
    {
        // As many runs at once as there may be threads of the program's that call.
        let ort = OrtOptions::default()
            .with_library(library.map(Path::to_owned))
            .with_concurrent_runs(threads);
        options.with_ort(ort)
    }
    #[cfg(not(feature = "ort"))]
    {
        let _ = library;
        options
    }
}

fn invalid(error: &dyn std::error::Error) -> Failure {
    Failure::of(Status::InvalidArgument, error)
}

/// Copies what a program of any version has, the rest zero.
///
/// # Safety
///
/// As [`read`].
unsafe fn copy(options: *const Options) -> Result<Option<Options>, Failure> {
    if options.is_null() {
        return Ok(None);
    }
    if !options.is_aligned() {
        return Err(Failure::argument(
            "`options` is at an address that is not that of a kiln_options",
        ));
    }
    // SAFETY: the first field is there in every version.
    let size = unsafe { (&raw const (*options).size).read() };
    if size < FIRST {
        return Err(Failure::argument(format!(
            "`options.size` is {size}: expected sizeof(kiln_options), {FIRST} or more"
        )));
    }
    let known = size_of::<Options>();
    if size > known {
        // More than a program can have on its stack is no size.
        if size > 1 << 16 {
            return Err(Failure::argument(format!(
                "`options.size` is {size}: expected sizeof(kiln_options), {known}"
            )));
        }
        // SAFETY: there are as many bytes as `size` says.
        let newer =
            unsafe { std::slice::from_raw_parts(options.cast::<u8>().add(known), size - known) };
        if newer.iter().any(|&byte| byte != 0) {
            return Err(Failure::argument(format!(
                "`options` sets what a later version of kiln has: this is {}",
                kiln_util::VERSION
            )));
        }
    }
    let mut copy = MaybeUninit::<Options>::zeroed();
    // SAFETY: as many bytes as both have, and all fields may be zero.
    unsafe {
        std::ptr::copy_nonoverlapping(
            options.cast::<u8>(),
            copy.as_mut_ptr().cast::<u8>(),
            size.min(known),
        );
        Ok(Some(copy.assume_init()))
    }
}

#[cfg(test)]
mod tests {
    use std::ptr::{null, null_mut};

    use super::*;

    /// Options as a later version may have them.
    #[repr(C)]
    struct Later {
        known: Options,
        more: usize,
    }

    fn options() -> Options {
        Options {
            size: size_of::<Options>(),
            engine: null(),
            device: null(),
            threads: 0,
            library: null(),
            settings: null(),
            settings_count: 0,
        }
    }

    fn message(options: &Options) -> String {
        // SAFETY: a whole struct, or one whose size is refused before more of it is read.
        unsafe { read(options) }.unwrap_err().message
    }

    #[test]
    fn options_of_other_versions_are_told_by_their_size() {
        let mut given = options();
        given.size = 0;
        assert!(message(&given).starts_with("`options.size` is 0: expected sizeof(kiln_options)"));
        given.size = usize::MAX;
        assert!(message(&given).contains("expected sizeof(kiln_options)"));

        let mut later = Later {
            known: options(),
            more: 0,
        };
        later.known.size = size_of::<Later>();
        later.known.threads = 3;
        let pointer = &raw const later;
        // SAFETY: as many bytes as the size says.
        assert_eq!(unsafe { read(pointer.cast()) }.unwrap().threads, Some(3));
        later.more = 1;
        let pointer = &raw const later;
        // SAFETY: the same.
        let failure = unsafe { read(pointer.cast()) }.unwrap_err();
        assert!(
            failure.message.contains("a later version of kiln"),
            "{}",
            failure.message
        );
    }

    #[test]
    fn what_does_not_exist_is_named() {
        let mut given = options();
        given.engine = c"onnx".as_ptr();
        assert!(message(&given).contains("found `onnx`"));
        let mut given = options();
        given.device = c"gpu".as_ptr();
        assert!(message(&given).contains("did you mean `cuda`?"));
        let mut given = options();
        given.engine = c"\xff".as_ptr();
        assert_eq!(message(&given), "`options.engine` is not UTF-8");
        let settings = [c"sizes=3".as_ptr(), null()];
        let mut given = options();
        given.settings_count = 2;
        assert_eq!(
            message(&given),
            "`options.settings` is NULL: expected 2 elements"
        );
        given.settings = settings.as_ptr();
        assert_eq!(message(&given), "`options.settings[1]` is NULL");
        given.settings_count = 1;
        assert!(
            message(&given).contains("did you mean `size`?"),
            "{}",
            message(&given)
        );
        given.settings_count = usize::MAX;
        assert!(message(&given).contains("expected no more than memory has"));
    }

    #[test]
    fn settings_are_those_of_a_sidecar() {
        let settings = [c"size=7".as_ptr(), c"preprocess=torch".as_ptr()];
        let mut given = options();
        given.settings = settings.as_ptr();
        given.settings_count = 2;
        given.threads = 2;
        // SAFETY: a whole struct.
        let read = unsafe { read(&raw const given) }.unwrap();
        assert_eq!((read.declared.size, read.threads), (Some([7, 7]), Some(2)));
        // SAFETY: NULL is fine.
        let default = unsafe { super::read(null_mut()) }.unwrap();
        assert!(default.threads.is_some());
    }
}
