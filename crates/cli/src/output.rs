//! Results in files, or on standard output for `-`.

use std::fs;
use std::path::Path;

use anyhow::bail;
use kiln_util::{check_writable, write_atomically};
use serde::Serialize;

use crate::terminal::Terminal;

/// The files that a command was asked to write, with the options that name them.
pub struct Outputs<'a>(Vec<(&'static str, &'a Path)>);

impl<'a> Outputs<'a> {
    /// Checks before the work that they can be written after it, that each is a file of its own and
    /// none of the `inputs`, which the command reads, and that at most one goes to standard output.
    pub fn check<const N: usize>(
        named: [(&'static str, Option<&'a Path>); N],
        inputs: &[impl AsRef<Path>],
    ) -> anyhow::Result<Self> {
        let outputs: Vec<_> = named
            .into_iter()
            .filter_map(|(option, path)| Some((option, path?)))
            .collect();
        let stdout: Vec<_> = outputs
            .iter()
            .filter(|(_, path)| is_stdout(path))
            .map(|(option, _)| *option)
            .collect();
        if let [first, second, ..] = stdout.as_slice() {
            bail!("{first} and {second} cannot both be `-`: write one of them to a file");
        }
        let files: Vec<_> = outputs
            .iter()
            .filter(|(_, path)| !is_stdout(path))
            .collect();
        for (at, (option, path)) in files.iter().enumerate() {
            if inputs.iter().any(|input| same_file(input.as_ref(), path)) {
                bail!(
                    "{option} would replace `{}`, which the command works from: name another file",
                    path.display()
                );
            }
            if let Some((other, _)) = files[..at].iter().find(|(_, other)| same_file(other, path)) {
                bail!(
                    "{other} and {option} are the same file `{}`: give each one of its own",
                    path.display()
                );
            }
        }
        files
            .iter()
            .try_for_each(|(_, path)| check_writable(path))?;
        Ok(Self(outputs))
    }

    /// Names those that are there and will be replaced.
    pub fn announce_replaced(&self, terminal: &Terminal) {
        let named = |option: &str| option.starts_with("--");
        for (option, path) in &self.0 {
            if named(option) && path.is_file() {
                terminal.status("Replacing", &path.display().to_string());
            }
        }
    }

    /// Whether one of them takes standard output, in place of what people read.
    pub fn take_stdout(&self) -> bool {
        self.0.iter().any(|(_, path)| is_stdout(path))
    }
}

/// Whether this stands for standard output.
pub fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// Whether two paths lead to one ordinary file, there or not yet. What is no file, such as a
/// terminal, can be written to twice.
pub fn same_file(first: &Path, second: &Path) -> bool {
    let file = |path: &Path| {
        if let Ok(metadata) = fs::metadata(path) {
            return fs::canonicalize(path).ok().filter(|_| metadata.is_file());
        }
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        Some(fs::canonicalize(folder).ok()?.join(path.file_name()?))
    };
    file(first).is_some_and(|first| file(second) == Some(first))
}

/// To a file, or to standard output for `-`.
pub fn write(path: &Path, bytes: Vec<u8>, terminal: &Terminal) -> anyhow::Result<()> {
    if is_stdout(path) {
        terminal.print(&String::from_utf8(bytes)?)?;
    } else {
        write_atomically(path, &bytes)?;
    }
    Ok(())
}

/// Prints a value as JSON, or what people read.
pub fn print(
    json: bool,
    value: &impl Serialize,
    text: impl FnOnce() -> anyhow::Result<String>,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    let text = if json {
        serde_json::to_string_pretty(value)? + "\n"
    } else {
        text()?
    };
    Ok(terminal.print(&text)?)
}

/// The same as JSON for people and programs.
pub fn write_json(path: &Path, value: &impl Serialize, terminal: &Terminal) -> anyhow::Result<()> {
    let mut json = serde_json::to_vec_pretty(value)?;
    json.push(b'\n');
    write(path, json, terminal)
}

/// An argument as a shell takes it.
pub fn quoted(argument: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/\\._-+:@%=".contains(c);
    if argument.chars().all(is_plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_read_or_written_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        fs::write(file("model.onnx"), "m").unwrap();
        fs::create_dir(file("other")).unwrap();
        let check = |json: &Path, plot: &Path| {
            let named = [
                ("--json", Some(json)),
                ("--plot", Some(plot)),
                ("--none", None),
            ];
            Outputs::check(named, &[file("model.onnx"), file("list.csv")])
                .map(drop)
                .map_err(|error| error.to_string())
        };
        assert_eq!(check(&file("a.json"), &file("a.svg")), Ok(()));
        let message = check(&file("other/../model.onnx"), &file("a.svg")).unwrap_err();
        assert!(
            message.contains("--json would replace `") && message.contains("model.onnx"),
            "{message}"
        );
        let message = check(&file("a.json"), &file("other/../a.json")).unwrap_err();
        assert!(
            message.contains("--json and --plot are the same file"),
            "{message}"
        );
        assert!(
            check(Path::new("-"), Path::new("-"))
                .unwrap_err()
                .contains("cannot both be `-`")
        );
        assert_eq!(fs::read(file("model.onnx")).unwrap(), b"m");
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_devices_are_no_files() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(same_file(&file, &link));
        assert!(!same_file(Path::new("/dev/null"), Path::new("/dev/null")));
    }
}
