//! Loading and unloading, versions, checks before a model is in service.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::images::digits;
use crate::predict::assert_is;
use crate::server::{self, Server};

#[test]
fn models_are_unloaded_and_loaded_by_request_if_allowed() {
    let server = Server::start(&[&server::digits()]);
    let error = server
        .post("/v2/repository/models/digits/unload", &[], b"")
        .error(403);
    assert!(error.contains("--control"), "{error}");
    drop(server);
    let second = format!("other={}", server::digits());
    let server = Server::start(&[&server::digits(), &second, "--control"]);
    let image = &digits(1)[0];
    assert!(
        server
            .post("/predict", &[], &image.bytes)
            .error(400)
            .contains("names no model")
    );
    let path = "/predict?model=other";
    assert_is(
        &server.post(path, &[], &image.bytes).json()["predictions"][0],
        image,
    );
    assert_eq!(
        server
            .post("/v2/repository/models/other/unload", &[], b"")
            .status,
        200
    );
    assert!(
        server
            .post(path, &[], &image.bytes)
            .error(503)
            .contains("unloaded")
    );
    assert_eq!(server.get("/v2/health/ready").status, 200);
    let index = server.post("/v2/repository/index", &[], b"").json();
    let expected = json!([
        {"name": "digits", "version": "1", "state": "READY", "reason": ""},
        {"name": "other", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"},
    ]);
    assert_eq!(index, expected);
    server.signal("HUP");
    server.wait_for("looking for changed models");
    server.post(path, &[], &image.bytes).error(503);
    assert_eq!(
        server
            .post("/v2/repository/models/other/load", &[], b"{}")
            .status,
        200
    );
    assert_is(
        &server.post(path, &[], &image.bytes).json()["predictions"][0],
        image,
    );
    server
        .post("/v2/repository/models/x/load", &[], b"")
        .error(404);
    server
        .post("/v2/repository/models/x/unload", &[], b"")
        .error(404);
}

#[test]
fn a_file_that_cannot_be_loaded_leaves_the_old_one_in_service() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.onnx");
    fs::copy(server::digits(), &file).unwrap();
    let server = Server::start(&[folder.path().to_str().unwrap(), "--watch", "1"]);
    fs::write(&file, b"not a model").unwrap();
    let event = server.wait_for("cannot load a model");
    assert!(
        event["error"].as_str().unwrap().contains("m.onnx"),
        "{event}"
    );
    let image = &digits(1)[0];
    assert_is(
        &server.post("/predict", &[], &image.bytes).json()["predictions"][0],
        image,
    );
    fs::copy(server::digits(), &file).unwrap();
    server.wait_for("model is ready");
    assert_is(
        &server.post("/predict", &[], &image.bytes).json()["predictions"][0],
        image,
    );
    // Removed, while another appears.
    fs::rename(&file, folder.path().join("n.onnx")).unwrap();
    let event = server.wait_for("version is taken out of service");
    assert_eq!(event["model"], "m");
    let event = server.wait_for("model is ready");
    assert_eq!(event["model"], "n");
    server
        .post("/predict?model=m", &[], &image.bytes)
        .error(404);
}

#[test]
fn versions_are_kept_as_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    for version in ["1", "2", "10"] {
        let folder = folder.path().join("digits").join(version);
        fs::create_dir_all(&folder).unwrap();
        fs::copy(server::digits(), folder.join("model.onnx")).unwrap();
    }
    let server = Server::start(&[folder.path().to_str().unwrap(), "--versions", "2"]);
    let metadata = server.get("/v2/models/digits").json();
    assert_eq!(metadata["versions"], json!(["2", "10"]));
    let image = &digits(1)[0];
    let version = |query: &str| {
        server
            .post(&format!("/predict{query}"), &[], &image.bytes)
            .json()["version"]
            .clone()
    };
    assert_eq!(
        (version(""), version("?version=2")),
        (json!("10"), json!("2"))
    );
    assert!(
        server
            .get("/v2/models/digits/versions/1")
            .error(404)
            .contains("`1`")
    );
}

/// Runs the server to its end, and returns its exit code, standard output and standard error.
fn ended(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_kiln-serve"))
        .args(args)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn a_check_loads_and_proves() {
    let (code, out, _) = ended(&[&server::digits(), "--check"]);
    assert_eq!(code, 0);
    assert!(
        out.starts_with("digits 1: 10 classes, 1x28x28, tract, golden vectors: "),
        "{out}"
    );
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.onnx");
    fs::write(&broken, b"not a model").unwrap();
    for path in [
        broken.to_str().unwrap(),
        "missing.onnx",
        folder.path().join("x").to_str().unwrap(),
    ] {
        let (code, out, error) = ended(&[path, "--check"]);
        assert_eq!((code, out.as_str()), (2, ""), "{error}");
        assert!(error.contains("error: ") && error.contains(path), "{error}");
    }
    // Labels in another order than those of the golden vectors.
    let file = folder.path().join("renamed.onnx");
    fs::copy(server::digits(), &file).unwrap();
    fs::write(
        folder.path().join("renamed.toml"),
        "labels = [\"b\",\"a\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\",\"j\"]\n",
    )
    .unwrap();
    let (code, _, error) = ended(&[file.to_str().unwrap(), "--check"]);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("golden"), "{error}");
}

#[test]
fn wrong_usage_is_told() {
    let digits = server::digits();
    for (args, expected) in [
        (&[][..], "Usage"),
        (&[&digits[..], "--engine", "x"], "expected one of"),
        (&[&digits, "--host", "x"], "--host"),
        (
            &[&digits, "--allow-origin", "x", "--port", "0"],
            "not an origin",
        ),
        (&[&digits, "--token-file", "missing"], "missing"),
        (
            &[&digits, "--tls-cert", "missing", "--tls-key", "missing"],
            "missing",
        ),
        (
            &[&digits, "--host", "192.0.2.1", "--port", "0"],
            "cannot listen",
        ),
    ] {
        let (code, _, error) = ended(args);
        assert_eq!(code, 2, "{error}");
        assert!(error.contains(expected), "{error}");
    }
    let (code, help, _) = ended(&["--help"]);
    assert!(code == 0 && help.contains("Usage: kiln serve"), "{help}");
}
