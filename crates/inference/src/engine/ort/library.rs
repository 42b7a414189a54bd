//! Options that only ONNX Runtime has, and where its library is looked for.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The environment variable that names the library.
const VARIABLE: &str = "KILN_ORT_LIB";

/// Options that only ONNX Runtime has.
///
/// Its library is searched in this order: [`library`](Self::library), the environment variable
/// `KILN_ORT_LIB`, [`library_cache`](Self::library_cache), the system's search path. The first two
/// are orders rather than hints: if one is given and does not work, that is an error, and nothing
/// else is tried.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct OrtOptions {
    /// The shared library, or the folder that holds it.
    pub library: Option<PathBuf>,
    /// File or folder where a downloaded library is kept.
    pub library_cache: Option<PathBuf>,
    /// Maximum number of runs that are computed at the same time; further callers wait.
    /// [`threads`](crate::Options::threads) are shared out among them, so that there are no more
    /// runs than threads. Default 1: each run has all threads, which is best for one caller with
    /// batches. As many as threads is best for many callers with single images, and takes the
    /// memory of the weights and of a run once for each.
    pub concurrent_runs: Option<usize>,
}

impl OrtOptions {
    /// Sets the shared library, or the folder that holds it.
    #[must_use]
    pub fn with_library(mut self, library: impl Into<Option<PathBuf>>) -> Self {
        self.library = library.into();
        self
    }

    /// Sets the file or folder where a downloaded library is kept.
    #[must_use]
    pub fn with_library_cache(mut self, cache: impl Into<Option<PathBuf>>) -> Self {
        self.library_cache = cache.into();
        self
    }

    /// Sets the maximum number of concurrent runs.
    #[must_use]
    pub fn with_concurrent_runs(mut self, runs: impl Into<Option<usize>>) -> Self {
        self.concurrent_runs = runs.into();
        self
    }
}

/// A place to load the library from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// A file, a folder that has it, or a bare name for the system to find.
    pub path: PathBuf,
    /// Who asks for it.
    pub origin: Origin,
}

/// Who asks for a library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// [`OrtOptions::library`].
    Option,
    /// The environment variable.
    Variable,
    /// [`OrtOptions::library_cache`].
    Cache,
    /// Nobody: the system's search path.
    System,
}

impl Origin {
    /// Whether the user named the library.
    pub const fn is_named(self) -> bool {
        matches!(self, Self::Option | Self::Variable)
    }
}

/// The places to try, in order. What the user named is the only one.
pub fn candidates(options: &OrtOptions) -> Vec<Candidate> {
    if let Some(named) = named(options) {
        return vec![named];
    }
    let cache = options.library_cache.clone().map(|path| Candidate {
        path,
        origin: Origin::Cache,
    });
    // ONNX Runtime's own soname is `libonnxruntime.so.1`; the name without a version comes with
    // development packages.
    let unversioned = format!("{DLL_PREFIX}onnxruntime{DLL_SUFFIX}");
    let names = if cfg!(target_os = "linux") {
        vec![format!("{unversioned}.1"), unversioned]
    } else {
        vec![unversioned]
    };
    let system = names.into_iter().map(|name| Candidate {
        path: name.into(),
        origin: Origin::System,
    });
    cache.into_iter().chain(system).collect()
}

/// Returns what the user named, by option or environment variable.
pub fn named(options: &OrtOptions) -> Option<Candidate> {
    named_by(options, std::env::var_os(VARIABLE).as_deref())
}

fn named_by(options: &OrtOptions, variable: Option<&OsStr>) -> Option<Candidate> {
    let option = options.library.clone().map(|path| Candidate {
        path,
        origin: Origin::Option,
    });
    let variable = variable.filter(|value| !value.is_empty());
    option.or_else(|| {
        variable.map(|value| Candidate {
            path: value.into(),
            origin: Origin::Variable,
        })
    })
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = match self.origin {
            Origin::Option => "named by the options",
            Origin::Variable => "named by KILN_ORT_LIB",
            Origin::Cache => "kiln's cache",
            Origin::System => "the system's search path",
        };
        write!(f, "`{}` ({origin})", self.path.display())
    }
}

impl Candidate {
    /// The file to load, or why there is none.
    pub fn resolve(&self) -> Result<PathBuf, String> {
        if self.origin == Origin::System {
            return Ok(self.path.clone());
        }
        let found = fs::metadata(&self.path).map_err(|error| error.to_string())?;
        let file = if found.is_dir() {
            newest_in(&self.path)?
        } else {
            self.path.clone()
        };
        // Absolute, because `ort` would take a relative path as relative to the program.
        fs::canonicalize(file).map_err(|error| error.to_string())
    }
}

/// The library with the highest version in a folder.
fn newest_in(folder: &Path) -> Result<PathBuf, String> {
    let entries = fs::read_dir(folder).map_err(|error| error.to_string())?;
    let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let libraries = files.filter(|path| is_library(path) && path.is_file());
    let newest =
        libraries.max_by_key(|path| (version(path).map(|version| numbers(&version)), path.clone()));
    newest.ok_or_else(|| format!("the folder has no {DLL_PREFIX}onnxruntime{DLL_SUFFIX}"))
}

/// The file that a bare name led to: the system does not say, its table of mapped files does.
pub fn mapped() -> Option<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    // The sixth column; a path may contain spaces.
    let paths = maps
        .lines()
        .filter_map(|line| line.find('/').map(|at| Path::new(&line[at..])));
    paths
        .into_iter()
        .find(|path| is_library(path))
        .map(Path::to_owned)
}

/// Whether a file is ONNX Runtime's library by its name: `libonnxruntime.so.1.31.1`,
/// `libonnxruntime.1.31.1.dylib`, `onnxruntime.dll`, but not `libonnxruntime_providers_shared.so`.
fn is_library(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let rest = name
        .strip_prefix(DLL_PREFIX)
        .and_then(|name| name.strip_prefix("onnxruntime"));
    rest.is_some_and(|rest| rest.starts_with('.') && rest.contains(DLL_SUFFIX))
}

/// The version in the name of a library file: `libonnxruntime.so.1.31.1` is `1.31.1`.
pub fn version(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let rest = name.strip_prefix(DLL_PREFIX)?.strip_prefix("onnxruntime")?;
    let version = rest.replacen(DLL_SUFFIX, "", 1);
    let version = version.trim_matches('.');
    let numeric = version.split('.').all(|part| part.parse::<u32>().is_ok());
    (numeric && version.contains('.')).then(|| version.to_owned())
}

/// The version of the symbols that a library exports, where its build gave them one: `VERS_1.31.1`
/// in the table of names, which is near the beginning of a file for Linux.
pub fn symbol_version(path: &Path) -> Option<String> {
    const NEAR: u64 = 1 << 20;
    let mut head = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(NEAR).read_to_end(&mut head))
        .ok()?;
    let tag = b"\0VERS_";
    let start = head.windows(tag.len()).position(|window| window == tag)? + tag.len();
    let version: Vec<u8> = head[start..]
        .iter()
        .copied()
        .take_while(|byte| *byte != 0)
        .take(20)
        .collect();
    let version = String::from_utf8(version).ok()?;
    (numbers(&version).len() == version.split('.').count() && version.contains('.'))
        .then_some(version)
}

fn numbers(version: &str) -> Vec<u32> {
    version
        .split('.')
        .filter_map(|part| part.parse().ok())
        .collect()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_names_is_the_only_candidate() {
        let options = OrtOptions::default().with_library(PathBuf::from("a.so"));
        assert_eq!(
            named_by(&options, Some("b.so".as_ref())).unwrap().path,
            Path::new("a.so")
        );
        let none = OrtOptions::default();
        assert_eq!(
            named_by(&none, Some("b.so".as_ref())).unwrap().origin,
            Origin::Variable
        );
        assert_eq!(named_by(&none, Some("".as_ref())), None);
    }

    #[test]
    fn the_newest_library_of_a_folder_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let names = [
            "libonnxruntime.so.1.9.0",
            "libonnxruntime.so.1.31.1",
            "libonnxruntime_providers_shared.so",
            "x",
        ];
        for name in names {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let candidate = Candidate {
            path: folder.path().into(),
            origin: Origin::Cache,
        };
        assert!(
            candidate
                .resolve()
                .unwrap()
                .ends_with("libonnxruntime.so.1.31.1")
        );
        let empty = tempfile::tempdir().unwrap();
        let candidate = Candidate {
            path: empty.path().into(),
            origin: Origin::Cache,
        };
        assert_eq!(
            candidate.resolve().unwrap_err(),
            "the folder has no libonnxruntime.so"
        );
    }

    #[test]
    fn versions_are_read_from_names() {
        let version = |name: &str| version(Path::new(name));
        assert_eq!(
            version("/a/libonnxruntime.so.1.31.1").as_deref(),
            Some("1.31.1")
        );
        assert_eq!(version("libonnxruntime.so"), None);
        assert_eq!(version("libonnxruntime.so.1"), None);
        assert_eq!(version("libonnxruntime_providers_cuda.so"), None);
    }

    #[test]
    fn versions_are_read_from_symbols() {
        let folder = tempfile::tempdir().unwrap();
        let version = |bytes: &[u8]| {
            let path = folder.path().join("onnxruntime.so");
            fs::write(&path, bytes).unwrap();
            symbol_version(&path)
        };
        assert_eq!(
            version(b"\x7fELF\0OrtGetApiBase\0VERS_1.31.1\0libdl.so.2\0").as_deref(),
            Some("1.31.1")
        );
        assert_eq!(version(b"\x7fELF\0OrtGetApiBase\0VERS_new\0"), None);
        assert_eq!(version(b"\x7fELF\0VERS_1.3"), Some("1.3".to_owned()));
        assert_eq!(version(b"\x7fELF\0OrtGetApiBase\0"), None);
    }
}
