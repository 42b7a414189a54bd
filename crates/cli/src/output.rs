//! Results in files, or on standard output for `-`.

use std::path::{Path, PathBuf};

use anyhow::bail;
use kiln_run::{check_writable, write_atomically};
use serde::Serialize;

use crate::terminal::Terminal;

/// The files that a command was asked to write, with the options that name them.
pub struct Outputs<'a>(Vec<(&'static str, &'a Path)>);

impl<'a> Outputs<'a> {
    /// Checks before the work that they can be written after it, and that at most one goes to standard output.
    pub fn check<const N: usize>(named: [(&'static str, &'a Option<PathBuf>); N]) -> anyhow::Result<Self> {
        let outputs: Vec<_> = named.into_iter().filter_map(|(option, path)| Some((option, path.as_deref()?))).collect();
        let stdout: Vec<_> = outputs.iter().filter(|(_, path)| is_stdout(path)).map(|(option, _)| *option).collect();
        if let [first, second, ..] = stdout.as_slice() {
            bail!("{first} and {second} cannot both be `-`: write one of them to a file");
        }
        outputs.iter().filter(|(_, path)| !is_stdout(path)).try_for_each(|(_, path)| check_writable(path))?;
        Ok(Self(outputs))
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

/// To a file, or to standard output for `-`.
pub fn write(path: &Path, bytes: Vec<u8>, terminal: &Terminal) -> anyhow::Result<()> {
    if is_stdout(path) {
        terminal.print(&String::from_utf8(bytes)?)?;
    } else {
        write_atomically(path, &bytes)?;
    }
    Ok(())
}

/// The same as JSON for people and programs.
pub fn write_json(path: &Path, value: &impl Serialize, terminal: &Terminal) -> anyhow::Result<()> {
    let mut json = serde_json::to_vec_pretty(value)?;
    json.push(b'\n');
    write(path, json, terminal)
}
