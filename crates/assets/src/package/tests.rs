use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

use super::*;
use crate::testing::{cancelled, script};

fn npm() -> Source {
    Source::Npm {
        package: "toy".into(),
        version: "1.0.0".into(),
        members: vec!["package/a".into()],
    }
}

fn pip(platform: Option<&str>) -> Source {
    Source::Pip {
        package: "toy".into(),
        version: "1.0".into(),
        python: "3.11".into(),
        platform: platform.map(str::to_owned),
        members: vec!["toy/a".into()],
    }
}

/// What a fake client's archive holds, or why there is none. The programs are shell scripts.
fn attempt(source: &Source, programs: &[(&str, &str)]) -> Result<String, String> {
    let (bin, parent) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (name, body) in programs {
        script(bin.path(), name, body);
    }
    let result = archive(
        source,
        &Clients::on(bin.path()),
        parent.path(),
        &CancelToken::new(),
    );
    let outcome = match result {
        Ok((archive, _work)) => Ok(fs::read_to_string(archive).unwrap()),
        Err(Failure::Source(error)) => Err(error.to_string()),
        Err(other) => panic!("{other:?}"),
    };
    assert_eq!(
        fs::read_dir(parent.path()).unwrap().count(),
        0,
        "temporary folders are removed"
    );
    outcome
}

#[test]
fn npm_is_asked_for_the_exact_version() {
    let arguments = attempt(&npm(), &[("npm", r#"echo "$@" > toy-1.0.0.tgz"#)]).unwrap();
    assert_eq!(
        arguments,
        "pack --ignore-scripts --loglevel=error toy@1.0.0\n"
    );
}

#[test]
fn pip_is_asked_for_the_exact_wheel() {
    let print = [("pip", r#"echo "$@" > toy.whl"#)];
    let any = attempt(&pip(None), &print).unwrap();
    assert!(any.starts_with("download --no-input "), "{any}");
    assert!(
        any.ends_with("--no-deps --only-binary=:all: --python-version 3.11 --dest . toy==1.0\n"),
        "{any}"
    );
    let mac = attempt(&pip(Some("macosx_14_0_arm64")), &print).unwrap();
    assert!(
        mac.ends_with("--implementation cp --platform macosx_14_0_arm64 toy==1.0\n"),
        "{mac}"
    );
}

#[test]
fn python_stands_in_for_a_pip_that_is_missing_or_cannot_start() {
    let python = ("python3", r#"echo "$1 $2 $3" > toy.whl"#);
    assert_eq!(attempt(&pip(None), &[python]).unwrap(), "-m pip download\n");
    assert_eq!(
        attempt(&pip(None), &[python, ("pip", "exit 127")]).unwrap(),
        "-m pip download\n"
    );
    let no_module = (
        "pip3",
        "echo 'ModuleNotFoundError: No module named pip' >&2; exit 1",
    );
    assert_eq!(
        attempt(&pip(None), &[python, no_module]).unwrap(),
        "-m pip download\n"
    );
}

#[test]
fn a_pip_that_works_and_fails_is_not_repeated_under_another_name() {
    let failing = ("pip", "echo 'ERROR: no such version' >&2; exit 1");
    let error = attempt(&pip(None), &[failing, ("pip3", "echo > toy.whl")]).unwrap_err();
    assert_eq!(error, "pip: ERROR: no such version");
}

#[test]
fn a_missing_client_is_named() {
    assert_eq!(attempt(&npm(), &[]).unwrap_err(), "npm: not found on PATH");
    assert_eq!(
        attempt(&pip(None), &[]).unwrap_err(),
        "pip, pip3, python3 -m pip: not found on PATH"
    );
}

#[test]
fn a_client_that_leaves_no_archive_or_several_is_not_believed() {
    assert_eq!(
        attempt(&npm(), &[("npm", "exit 0")]).unwrap_err(),
        "npm: it left no archive"
    );
    let two = attempt(&npm(), &[("npm", "echo > a; echo > b")]).unwrap_err();
    assert_eq!(two, "npm: it left 2 files instead of one archive");
}

#[test]
fn a_stop_kills_the_client() {
    let (bin, parent) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    script(bin.path(), "npm", "exec sleep 600");
    let start = Instant::now();
    let result = archive(
        &npm(),
        &Clients::on(bin.path()),
        parent.path(),
        &cancelled(),
    );
    assert!(matches!(result, Err(Failure::Cancelled)));
    // Not a question of speed: without the kill it would take ten minutes.
    assert!(start.elapsed() < Duration::from_mins(5));
}

#[test]
fn the_line_that_explains_is_found() {
    let failed = ExitStatus::from_raw(256);
    let npm = "npm error code ETARGET\nnpm error notarget No matching version found for toy@9.\nnpm error notarget In most \
               cases you are wrong.\nnpm error A complete log of this run can be found in: /x\n";
    assert_eq!(
        explain(npm, failed),
        (
            "notarget No matching version found for toy@9.".into(),
            false
        )
    );
    let old = "npm ERR! code ENOTFOUND\nnpm ERR! syscall getaddrinfo\nnpm ERR! errno ENOTFOUND\nnpm ERR! network failed\n";
    assert_eq!(explain(old, failed).0, "network failed");
    let pip = "WARNING: Retrying (Retry(total=0)) after connection broken by 'X'\nERROR: Could not find a version\n\
               ERROR: No matching distribution found for toy==1\n\n";
    let reason =
        "cannot reach the package index (ERROR: No matching distribution found for toy==1)";
    assert_eq!(explain(pip, failed).0, reason);
    assert_eq!(explain("something\n  odd  \n\n", failed).0, "odd");
    assert_eq!(explain("", failed).0, "exit status: 1");
}

#[test]
fn the_first_runnable_one_on_the_path_is_found() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(first.path().join("npm"), "not runnable").unwrap();
    script(second.path(), "npm", "exit 0");
    let path = std::env::join_paths([Path::new("."), first.path(), second.path()]).unwrap();
    assert_eq!(
        Clients::on(path).find("npm"),
        Some(second.path().join("npm"))
    );
    assert_eq!(Clients::on("").find("npm"), None);
}
