//! A library that says it is new enough and does not give the interface that belongs to its
//! version. In a process of its own, since it stays loaded.
#![cfg(all(feature = "ort", target_os = "linux"))]

mod stub;

use kiln_inference::{Options, OrtOptions, load_library};

#[test]
fn a_library_that_does_not_keep_its_promise_is_an_error_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let library = stub::library(folder.path(), "1.99.0");
    let options = Options::default().with_ort(OrtOptions::default().with_library(library.clone()));
    for _ in 0..2 {
        let message = load_library(&options).unwrap_err().to_string();
        assert!(
            message.contains("it does not give the interface of its version"),
            "{message}"
        );
        assert!(
            message.contains(&format!("`{}`", library.display())),
            "{message}"
        );
    }
}
