//! Reading what the system says in files, and looking for libraries and programs.

use std::fs;
use std::path::{Path, PathBuf};

/// The text of a small file of the system, trimmed; nothing if it cannot be read.
pub fn text(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path)
        .ok()
        .map(|text| text.trim().to_owned())
}

/// The value after `key` and a colon, as in `/proc/cpuinfo`.
pub fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then_some(value.trim())
    })
}

/// A program on the `PATH`.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

/// A shared library where the system's loader looks for it, without loading it: libraries run code
/// when they are loaded.
pub fn library(name: &str) -> Option<PathBuf> {
    let variable = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let named = std::env::split_paths(&variable)
        .filter(|folder| !folder.as_os_str().is_empty())
        .collect::<Vec<_>>();
    let configured = fs::read_dir("/etc/ld.so.conf.d")
        .into_iter()
        .flatten()
        .flatten();
    let configured = configured.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let configured: Vec<PathBuf> = configured
        .flat_map(|text| text.lines().map(PathBuf::from).collect::<Vec<_>>())
        .collect();
    let usual = [
        "/lib",
        "/usr/lib",
        "/lib64",
        "/usr/lib64",
        "/usr/local/lib",
        "/usr/lib/wsl/lib",
        "/usr/local/cuda/lib64",
    ];
    let multiarch = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let folders = named
        .into_iter()
        .chain(configured)
        .chain(usual.map(PathBuf::from))
        .chain([multiarch.into()]);
    folders
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_whole_key() {
        let text = "model\t\t: 85\nmodel name\t: Some CPU\n";
        assert_eq!(
            (
                value(text, "model name"),
                value(text, "model"),
                value(text, "name")
            ),
            (Some("Some CPU"), Some("85"), None)
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn programs_and_libraries_are_found_where_the_system_has_them() {
        assert!(program("sh").is_some() && program("no-such-program").is_none());
        assert!(library("libc.so.6").is_some() && library("libnothing.so.6").is_none());
    }
}
