//! ONNX Runtime libraries that are not there or cannot be used. Apart from the other tests, because
//! a process that has loaded a library does not look for another.
#![cfg(feature = "ort")]

#[cfg(target_os = "linux")]
mod stub;

use std::path::Path;
use std::time::{Duration, Instant};

use kiln_inference::{Hint, Options, OrtOptions, load_library};

/// The error for a library, which names the file and has a hint, and takes no more than a second.
fn message(library: &Path) -> String {
    let options =
        Options::default().with_ort(OrtOptions::default().with_library(library.to_owned()));
    let start = Instant::now();
    let error = load_library(&options).unwrap_err();
    let message = error.to_string();
    assert!(start.elapsed() < Duration::from_secs(1), "{message}");
    assert!(
        message.contains(&format!("`{}`", library.display())),
        "{message}"
    );
    assert_eq!(error.hint(), Some(Hint::InstallOnnxRuntime), "{message}");
    message
}

#[test]
fn each_attempt_is_listed_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("libonnxruntime.so.1.99.0");
    std::fs::write(&text, "this is no library\n").unwrap();

    let missing = message(&folder.path().join("nothing.so"));
    assert!(
        missing.contains("nothing.so` (named by the options): No such file"),
        "{missing}"
    );
    for path in [text.as_path(), folder.path()] {
        let message = message(path);
        assert!(
            message.contains("this is not a shared library") && !message.contains("No such file"),
            "{message}"
        );
    }
    let empty = tempfile::tempdir().unwrap();
    assert!(message(empty.path()).contains("the folder has no "));
}

/// The C library's file, as an example of a library that loads but is not ONNX Runtime.
#[cfg(target_os = "linux")]
fn libc() -> std::path::PathBuf {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let paths = maps
        .lines()
        .filter_map(|line| line.find('/').map(|at| &line[at..]));
    paths
        .into_iter()
        .find(|path| path.contains("libc.so"))
        .expect("this test is linked to the C library")
        .into()
}

#[test]
#[cfg(target_os = "linux")]
fn another_library_is_refused() {
    let message = message(&libc());
    assert!(
        message.contains("this is not ONNX Runtime's library: it does not export `OrtGetApiBase`"),
        "{message}"
    );
}

#[test]
#[cfg(target_os = "linux")]
fn a_library_for_another_cpu_is_named_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("libonnxruntime.so.1.31.1");
    let mut bytes = std::fs::read(libc()).unwrap();
    let (number, name) = if cfg!(target_arch = "aarch64") {
        (62_u16, "x86_64")
    } else {
        (183, "aarch64")
    };
    bytes[18..20].copy_from_slice(&number.to_le_bytes());
    std::fs::write(&file, bytes).unwrap();
    let message = message(&file);
    assert!(
        message.contains(&format!(
            "it is built for {name}, this program for {}",
            std::env::consts::ARCH
        )),
        "{message}"
    );
}

/// The system's loader maps such a file, and the process ends at the first access after its end.
#[test]
#[cfg(target_os = "linux")]
fn a_library_that_is_cut_short_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("libonnxruntime.so.1.31.1");
    let bytes = std::fs::read(libc()).unwrap();
    for length in [100, 5000, bytes.len() / 2] {
        std::fs::write(&file, &bytes[..length]).unwrap();
        let message = message(&file);
        assert!(
            message.contains(&format!("the file is cut short: it has {length} bytes")),
            "{message}"
        );
    }
}

/// Opening a pipe waits for somebody to write into it.
#[test]
#[cfg(target_os = "linux")]
fn a_pipe_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("libonnxruntime.so.1.31.1");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    assert!(message(&pipe).contains("this is not a regular file"));
}

#[test]
#[cfg(target_os = "linux")]
fn a_library_that_is_too_old_is_named_with_its_version() {
    let folder = tempfile::tempdir().unwrap();
    let message = message(&stub::library(folder.path(), "1.16.3"));
    assert!(
        message.contains("it is ONNX Runtime 1.16.3, and kiln needs 1.18 or newer"),
        "{message}"
    );
}

/// What only the system's loader can know is shown as it says it.
#[test]
#[cfg(target_os = "linux")]
fn a_library_that_needs_another_names_that() {
    let folder = tempfile::tempdir().unwrap();
    let gone = stub::library(folder.path(), "gone");
    let library = folder.path().join("libonnxruntime.so.1.31.1");
    let linked = std::process::Command::new("cc")
        .args(["-shared", "-fPIC", "-Wl,--no-as-needed", "-o"])
        .args([&library, &gone])
        .status();
    assert!(linked.unwrap().success());
    std::fs::remove_file(&gone).unwrap();
    let message = message(&library);
    assert!(
        message.contains("libonnxruntime.so.gone: cannot open shared object file"),
        "{message}"
    );
}
