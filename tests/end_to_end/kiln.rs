//! Running the binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// Options that put the images of `tests/fixtures` in place of a recipe's dataset: 400 training and
/// 100 test images of the classes `0` to `9`.
pub const DIGITS: [&str; 4] = [
    "--set",
    "data.dataset=",
    "--set",
    "data.folder=tests/fixtures/digits",
];

/// The test images of `tests/fixtures`, as an argument.
pub const TEST_DIGITS: &str = "tests/fixtures/digits/test";

/// Returns a command that runs in the repository's root, without a download: offline, with an empty
/// cache.
pub fn kiln(args: &[&str]) -> Command {
    static CACHE: OnceLock<PathBuf> = OnceLock::new();
    let cache = CACHE.get_or_init(|| tempfile::tempdir().expect("a temporary folder").keep());
    let mut command = online(args);
    command.env("KILN_CACHE", cache).env("KILN_OFFLINE", "1");
    command
}

/// Returns a command that runs in the repository's root, with the user's cache, and may download.
/// Tests that need it are ignored unless asked for.
pub fn online(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    command
        .args(args)
        .current_dir(root())
        .stdin(Stdio::null())
        .env_remove("KILN_ORT_LIB");
    command
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

pub fn run(command: &mut Command) -> Ended {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    Ended {
        code: status.code(),
        stdout: text(stdout),
        stderr: text(stderr),
    }
}

/// Runs a command that must succeed.
#[track_caller]
pub fn succeed(command: &mut Command) -> Ended {
    let ended = run(command);
    assert_eq!(
        ended.code,
        Some(0),
        "{command:?}\n{}\n{}",
        ended.stdout,
        ended.stderr
    );
    ended
}

/// Runs [`kiln`] with arguments that must succeed.
#[track_caller]
pub fn ok(args: &[&str]) -> Ended {
    succeed(&mut kiln(args))
}

/// Runs a command that must fail with exit code 2 and one clear error, and gives that.
#[track_caller]
pub fn error(command: &mut Command) -> String {
    let ended = run(command);
    assert_eq!(ended.code, Some(2), "{}\n{}", ended.stdout, ended.stderr);
    assert_eq!(ended.stdout, "", "an error gives no results");
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    assert!(
        ended.stderr.starts_with("error: ") && !ended.stderr.contains("\nerror: "),
        "one error: {}",
        ended.stderr
    );
    ended.stderr
}

/// Runs a command whose reader goes away before there is anything to read; how it ended, and what
/// it said about it.
pub fn unread(command: &mut Command) -> (Option<i32>, String) {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    (
        output.status.code(),
        String::from_utf8(output.stderr).expect("output is UTF-8"),
    )
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The images of a class of `tests/fixtures`, in the order of their names.
pub fn digits(subset: &str, class: usize) -> Vec<PathBuf> {
    let folder = root().join(format!("tests/fixtures/digits/{subset}/{class}"));
    let entries = std::fs::read_dir(folder).expect("the fixture is there");
    let mut images: Vec<PathBuf> = entries
        .map(|entry| entry.expect("the folder can be read").path())
        .collect();
    images.sort();
    images
}

/// A run of the quickstart on the images of `tests/fixtures`, made once for all tests: its folder.
pub fn trained() -> &'static Path {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    RUN.get_or_init(|| {
        // 360 images are few steps of the recipe's batches of 128.
        let batch = ["--set", "training.batch_size=32"];
        quickstart(kiln, &[&DIGITS[..], &batch].concat())
    })
}

/// The folder of the cached MNIST files; fetches them if they are not there.
pub fn mnist() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let fetched = succeed(&mut online(&["fetch", "mnist"]));
        let first = fetched
            .stdout
            .lines()
            .next()
            .expect("fetch prints the files' paths");
        Path::new(first)
            .parent()
            .expect("a file has a folder")
            .to_path_buf()
    })
}

/// ONNX Runtime's library; fetches it if it is not there.
pub fn onnxruntime() -> &'static str {
    static LIBRARY: OnceLock<String> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let fetched = succeed(&mut online(&["fetch", "onnxruntime"]));
        fetched.stdout.trim().to_string()
    })
}

/// A run of the quickstart on 512 images of MNIST, made once for all tests, with ONNX Runtime at
/// hand: its folder.
pub fn trained_on_mnist() -> &'static Path {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    RUN.get_or_init(|| {
        onnxruntime();
        quickstart(online, &["--set", "data.limit=512"])
    })
}

fn quickstart(kiln: fn(&[&str]) -> Command, data: &[&str]) -> PathBuf {
    let runs = tempfile::tempdir().expect("a temporary folder").keep();
    let runs = runs.to_str().expect("UTF-8");
    let args = ["run", "models/quickstart.toml", "--runs", runs];
    let set = ["--set", "training.epochs=2"];
    succeed(&mut kiln(&[&args[..], &set, data].concat()));
    Path::new(runs).join("quickstart")
}

/// The path of a file as an argument.
pub fn path(folder: &Path, file: &str) -> String {
    folder.join(file).to_str().expect("UTF-8").to_string()
}
