//! Shared libraries that look like ONNX Runtime's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The interface that ONNX Runtime's library is entered by, of a version that knows no newer one:
/// `GetApi` gives nothing.
const SOURCE: &str = r"
struct OrtApiBase { const void *(*get_api)(unsigned version); const char *(*get_version_string)(void); };
static const void *get_api(unsigned version) { return 0; }
static const char *get_version_string(void) { return VERSION; }
static const struct OrtApiBase base = { get_api, get_version_string };
const struct OrtApiBase *OrtGetApiBase(void) { return &base; }
";

/// Compiles a library that says it is `version`, with the C compiler that building kiln needs too.
pub fn library(folder: &Path, version: &str) -> PathBuf {
    let (source, library) = (
        folder.join("stub.c"),
        folder.join(format!("libonnxruntime.so.{version}")),
    );
    fs::write(&source, SOURCE).unwrap();
    let version = format!("-DVERSION=\"{version}\"");
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", &version, "-o"])
        .args([&library, &source])
        .status();
    assert!(status.expect("a C compiler").success());
    library
}
