//! Downloading a package's archive with npm or pip.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use kiln_util::CancelToken;
use tempfile::TempDir;

use crate::cache::CLIENT_FOLDER;
use crate::error::Failure;
use crate::{CacheError, Source, SourceError};

/// The folders in which package clients (`npm`, `pip`, `python3`) are looked for: the value of
/// `PATH`.
#[derive(Debug, Clone, Default)]
pub struct Clients {
    path: OsString,
}

/// Endings of programs' file names. Windows has npm as a batch file.
const ENDINGS: &[&str] = if cfg!(windows) {
    &[".exe", ".cmd"]
} else {
    &[""]
};

impl Clients {
    /// Returns the clients on the `PATH` of this process.
    pub fn from_env() -> Self {
        Self::on(std::env::var_os("PATH").unwrap_or_default())
    }

    /// Returns the clients on a given `PATH`; on an empty one there are none.
    pub fn on(path: impl AsRef<OsStr>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
        }
    }

    /// Finds the first file of this name that can be run. Relative folders are left out: they depend on
    /// where the program is started, and clients are started in a temporary folder.
    fn find(&self, program: &str) -> Option<PathBuf> {
        let folders = std::env::split_paths(&self.path).filter(|folder| folder.is_absolute());
        let candidates = folders.flat_map(|folder| {
            ENDINGS
                .iter()
                .map(move |end| folder.join(format!("{program}{end}")))
        });
        candidates.into_iter().find(|file| runnable(file))
    }
}

#[cfg(unix)]
fn runnable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn runnable(path: &Path) -> bool {
    path.is_file()
}

/// Time between two looks at a running client.
const PAUSE: Duration = Duration::from_millis(20);

/// Has a package client put the archive of `source` into a new temporary folder under `parent`;
/// returns the archive and the folder, which is removed when dropped.
pub(crate) fn archive(
    source: &Source,
    clients: &Clients,
    parent: &Path,
    cancel: &CancelToken,
) -> Result<(PathBuf, TempDir), Failure> {
    let mut last = SourceError::NoClient {
        client: names(source).into(),
    };
    for (client, program, arguments) in candidates(source, clients) {
        let work = tempfile::Builder::new()
            .prefix(CLIENT_FOLDER)
            .tempdir_in(parent);
        let work = work.map_err(CacheError::at("write into", parent))?;
        if let Some(text) = requirements(source) {
            let path = work.path().join(REQUIREMENTS);
            fs::write(&path, text).map_err(CacheError::at("write", &path))?;
        }
        match run(&client, &program, &arguments, work.path(), cancel)? {
            Ok(()) => return Ok((only_file(&client, &download_folder(work.path()))?, work)),
            Err((reason, unusable)) => {
                last = SourceError::Client { client, reason };
                // A client that works and fails would only fail again under its other name, slowly.
                if !unusable {
                    break;
                }
            }
        }
    }
    Err(last.into())
}

/// The programs that could do it, for an error.
fn names(source: &Source) -> &'static str {
    match source {
        Source::Pip { .. } | Source::PipSource { .. } => "pip, pip3, python3 -m pip",
        Source::Npm { .. } | Source::Http { .. } => "npm",
        Source::Debian { .. } => "apt-get",
    }
}

/// Name of the file for pip beside the folder that it works in.
const REQUIREMENTS: &str = "requirements.txt";

/// Returns what the file for pip holds. A checksum cannot be an argument.
fn requirements(source: &Source) -> Option<String> {
    match source {
        Source::Http { .. } | Source::Npm { .. } | Source::Pip { .. } | Source::Debian { .. } => {
            None
        }
        Source::PipSource {
            package,
            version,
            sha256,
            ..
        } => Some(format!("{package}=={version} --hash=sha256:{sha256}\n")),
    }
}

/// The names that pip goes by.
const PIPS: &[&[&str]] = &[
    &["pip"],
    &["pip3"],
    &["python3", "-m", "pip"],
    &["python", "-m", "pip"],
];

/// Arguments of pip for every archive. The file is kept in kiln's cache; pip's need not hold it a second
/// time.
const DOWNLOAD: &[&str] = &[
    "download",
    "--no-input",
    "--disable-pip-version-check",
    "--no-cache-dir",
    "--quiet",
    "--no-deps",
];

/// Downloads a package of Debian's and leaves the files that it would install as a tar archive compressed by gzip:
/// packages are of xz or Zstandard, which dpkg unpacks.
const UNPACK: &str = "set -e; apt-get download -qq \"$1\" >&2; dpkg-deb --fsys-tarfile ./*.deb > files.tar; \
                      rm -- *.deb; gzip -1 files.tar; mv files.tar.gz files.tgz";

/// Lists what to run, in order: a name for messages, the program, its arguments.
fn candidates(source: &Source, clients: &Clients) -> Vec<(String, PathBuf, Vec<String>)> {
    let words = |words: &[&str]| {
        words
            .iter()
            .map(|&word| word.to_owned())
            .collect::<Vec<_>>()
    };
    if let Source::Debian { package, .. } = source {
        let shell = clients.find("apt-get").and_then(|_| clients.find("sh"));
        let arguments = words(&["-c", UNPACK, "sh", package]);
        let found = shell.map(|shell| ("apt-get".to_owned(), shell, arguments));
        return found.into_iter().collect();
    }
    let (programs, tail): (&[&[&str]], Vec<String>) = match source {
        Source::Http { .. } | Source::Debian { .. } => (&[], Vec::new()),
        Source::Npm {
            package, version, ..
        } => {
            let package = format!("{package}@{version}");
            (
                &[&["npm"]],
                words(&["pack", "--ignore-scripts", "--loglevel=error", &package]),
            )
        }
        Source::Pip {
            package,
            version,
            python,
            platform,
            ..
        } => {
            let mut tail = words(DOWNLOAD);
            tail.extend(words(&[
                "--only-binary=:all:",
                "--python-version",
                python,
                "--dest",
                ".",
            ]));
            if let Some(platform) = platform {
                tail.extend(words(&["--implementation", "cp", "--platform", platform]));
            }
            tail.push(format!("{package}=={version}"));
            (PIPS, tail)
        }
        Source::PipSource { package, .. } => {
            let mut tail = words(DOWNLOAD);
            tail.push(format!("--no-binary={package}"));
            let requirements = format!("../{REQUIREMENTS}");
            tail.extend(words(&[
                "--require-hashes",
                "--dest",
                ".",
                "--requirement",
                &requirements,
            ]));
            (PIPS, tail)
        }
    };
    let found = programs.iter().filter_map(|command| {
        let program = clients.find(command[0])?;
        Some((
            command.join(" "),
            program,
            [words(&command[1..]), tail.clone()].concat(),
        ))
    });
    found.collect()
}

/// Returns where the client leaves the archive. Its output and its own temporary files are kept out of
/// there.
fn download_folder(work: &Path) -> PathBuf {
    work.join("archive")
}

/// Runs a client to its end. The inner error is the reason and whether the client could not even
/// start its work.
fn run(
    client: &str,
    program: &Path,
    arguments: &[String],
    work: &Path,
    cancel: &CancelToken,
) -> Result<Result<(), (String, bool)>, Failure> {
    let (folder, scratch) = (download_folder(work), work.join("scratch"));
    for path in [&folder, &scratch] {
        fs::create_dir(path).map_err(CacheError::at("create the folder", path))?;
    }
    // Files rather than pipes: nothing fills up, and a grandchild that lives on blocks nothing.
    let output = |name: &str| {
        let path = work.join(name);
        File::create(&path).map_err(CacheError::at("write", &path))
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(&folder)
        .stdin(Stdio::null());
    command.stdout(output("stdout")?).stderr(output("stderr")?);
    // What a killed client leaves is removed with the folder.
    for variable in ["TMPDIR", "TEMP", "TMP"] {
        command.env(variable, &scratch);
    }
    let mut child = match command.env("NO_COLOR", "1").spawn() {
        Ok(child) => child,
        Err(error) => return Ok(Err((format!("cannot be started: {error}"), true))),
    };
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if cancel.is_cancelled() => {
                // Failing means that it has ended meanwhile.
                let _ = child.kill();
                let _ = child.wait();
                return Err(Failure::Cancelled);
            }
            Ok(None) => thread::sleep(PAUSE),
            Err(error) => return Err(failed(client, &error.to_string()).into()),
        }
    };
    if status.success() {
        return Ok(Ok(()));
    }
    let text = fs::read(work.join("stderr")).unwrap_or_default();
    Ok(Err(explain(&String::from_utf8_lossy(&text), status)))
}

/// Finds the line of a failed client's output that tells why, and whether the client could not even
/// start its work.
fn explain(stderr: &str, status: ExitStatus) -> (String, bool) {
    let unusable =
        matches!(status.code(), Some(126 | 127)) || stderr.contains("No module named pip");
    let lines = || {
        stderr
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
    };
    // npm first lists codes, then explains, then gives advice.
    let npm = lines().filter_map(|line| {
        line.strip_prefix("npm error ")
            .or_else(|| line.strip_prefix("npm ERR! "))
    });
    let npm = npm.map(str::trim).find(|line| {
        !["code ", "errno ", "syscall "]
            .iter()
            .any(|word| line.starts_with(word))
    });
    // pip calls an index that it cannot reach a package that does not exist, after warnings that
    // tell the truth.
    let pip = lines().rfind(|line| line.starts_with("ERROR: "));
    let unreachable = lines().any(|line| line.contains("after connection broken by"));
    let reason = match npm.or(pip) {
        Some(line) if unreachable => format!("cannot reach the package index ({line})"),
        Some(line) => line.to_owned(),
        None => lines()
            .next_back()
            .map_or_else(|| status.to_string(), str::to_owned),
    };
    (reason, unusable)
}

/// Returns the one file in a folder.
fn only_file(client: &str, folder: &Path) -> Result<PathBuf, Failure> {
    let entries = fs::read_dir(folder).map_err(|error| failed(client, &error.to_string()))?;
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    match (files.pop(), files.len()) {
        (Some(file), 0) => Ok(file),
        (None, _) => Err(failed(client, "it left no archive").into()),
        (Some(_), more) => Err(failed(
            client,
            &format!("it left {} files instead of one archive", more + 1),
        )
        .into()),
    }
}

fn failed(client: &str, reason: &str) -> SourceError {
    SourceError::Client {
        client: client.into(),
        reason: reason.into(),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::time::Instant;

    use super::*;
    use crate::testing::{cancelled, script};

    fn npm() -> Source {
        Source::Npm {
            package: "toy".into(),
            version: "1.0.0".into(),
            members: vec![Some("package/a".into())],
        }
    }

    fn pip(platform: Option<&str>) -> Source {
        Source::Pip {
            package: "toy".into(),
            version: "1.0".into(),
            python: "3.11".into(),
            platform: platform.map(str::to_owned),
            members: vec![Some("toy/a".into())],
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
            any.ends_with(
                "--no-deps --only-binary=:all: --python-version 3.11 --dest . toy==1.0\n"
            ),
            "{any}"
        );
        let mac = attempt(&pip(Some("macosx_14_0_arm64")), &print).unwrap();
        assert!(
            mac.ends_with("--implementation cp --platform macosx_14_0_arm64 toy==1.0\n"),
            "{mac}"
        );
    }

    #[test]
    fn pip_compares_the_checksum_of_a_source_archive() {
        let source = Source::PipSource {
            package: "toy".into(),
            version: "1.0".into(),
            sha256: "ab".repeat(32),
            members: vec![Some("toy-1.0/a".into())],
        };
        let print = [(
            "pip",
            r#"(echo "$@"; cat ../requirements.txt) > toy.tar.gz"#,
        )];
        let printed = attempt(&source, &print).unwrap();
        let (arguments, requirements) = printed.split_once('\n').unwrap();
        assert!(
            arguments.ends_with(
                "--no-deps --no-binary=toy --require-hashes --dest . --requirement ../requirements.txt"
            ),
            "{arguments}"
        );
        assert_eq!(
            requirements,
            format!("toy==1.0 --hash=sha256:{}\n", "ab".repeat(32))
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
}
