//! `kiln serve`: handing over to the server. What the server does is tested in its own crate.

use std::fs;
use std::path::Path;

use crate::kiln::{kiln, run};

/// A copy of `kiln` in a folder of its own, with an empty PATH.
fn alone(folder: &Path, args: &[&str]) -> std::process::Command {
    let copy = folder.join(format!("kiln{}", std::env::consts::EXE_SUFFIX));
    fs::copy(env!("CARGO_BIN_EXE_kiln"), &copy).unwrap();
    let mut command = std::process::Command::new(copy);
    command.args(args).env("PATH", folder.join("empty"));
    command
}

#[test]
fn where_the_server_is_missing_it_is_said_how_to_build_it() {
    let folder = tempfile::tempdir().unwrap();
    for args in [
        &["serve", "m.onnx"][..],
        &["serve", "--help"],
        &["--quiet", "serve", "m.onnx"],
    ] {
        let ended = run(&mut alone(folder.path(), args));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""));
        let message = ended.stderr;
        assert!(
            message.contains("kiln-serve") && message.contains("cargo build --release --workspace"),
            "{message}"
        );
    }
}

#[cfg(unix)]
#[test]
fn arguments_and_exit_code_are_the_servers() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let server = folder.path().join("kiln-serve");
    fs::write(&server, "#!/bin/sh\nprintf '%s|' \"$@\"\nexit 7\n").unwrap();
    fs::set_permissions(&server, fs::Permissions::from_mode(0o755)).unwrap();
    let ended = run(&mut alone(
        folder.path(),
        &["serve", "--threads", "2", "a b.onnx", "--help", "--", "-x"],
    ));
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(7), "--threads|2|a b.onnx|--help|--|-x|")
    );
    let ended = run(&mut alone(
        folder.path(),
        &["--threads", "3", "serve", "m.onnx"],
    ));
    assert_eq!(ended.stdout, "--threads|3|m.onnx|");
}

#[test]
fn the_command_is_listed() {
    assert!(
        run(&mut kiln(&["--help"]))
            .stdout
            .contains("Serve models over HTTP and gRPC")
    );
}
