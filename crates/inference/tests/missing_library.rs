//! ONNX Runtime libraries that are not there or are none. Apart from the other tests, because a process that has loaded
//! a library does not look for another.
#![cfg(feature = "ort")]

use std::path::Path;

use kiln_inference::{Options, probe_ort};

fn message(library: &Path) -> String {
    let options = Options { ort_library: Some(library.to_owned()), ..Options::default() };
    probe_ort(&options).unwrap_err().to_string()
}

#[test]
fn each_attempt_is_listed_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("libonnxruntime.so.1.99.0");
    std::fs::write(&text, "this is no library\n").unwrap();

    let missing = message(&folder.path().join("nothing.so"));
    assert!(missing.contains("nothing.so` (named by the options): No such file"), "{missing}");
    assert!(missing.ends_with("run `kiln fetch onnxruntime`, or set KILN_ORT_LIB to the file"), "{missing}");
    for path in [text.as_path(), folder.path()] {
        let message = message(path);
        assert!(message.contains("libonnxruntime.so.1.99.0") && !message.contains("No such file"), "{message}");
    }
    let empty = tempfile::tempdir().unwrap();
    assert!(message(empty.path()).contains("the folder has no "));
}

/// A library that loads but is not ONNX Runtime: the C library's.
#[test]
#[cfg(target_os = "linux")]
fn another_library_is_refused() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let libc = maps.lines().filter_map(|line| line.find('/').map(|at| &line[at..])).find(|path| path.contains("libc"));
    let Some(libc) = libc else { return };
    let message = message(Path::new(libc));
    assert!(message.contains("does not export `OrtGetApiBase`"), "{message}");
}
