//! Where package clients are looked for.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The folders in which package clients (`npm`, `pip`, `python3`) are looked for: the value of
/// `PATH`.
#[derive(Debug, Clone, Default)]
pub struct Clients {
    path: OsString,
}

/// What a program's file name ends in. Windows has npm as a batch file.
const ENDINGS: &[&str] = if cfg!(windows) {
    &[".exe", ".cmd"]
} else {
    &[""]
};

impl Clients {
    /// The clients on the `PATH` of this process.
    pub fn from_env() -> Self {
        Self::on(std::env::var_os("PATH").unwrap_or_default())
    }

    /// The clients on a given `PATH`; on an empty one there are none.
    pub fn on(path: impl AsRef<OsStr>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
        }
    }

    /// The first file of this name that can be run. Relative folders are left out: they depend on
    /// where the program is started, and clients are started in a temporary folder.
    pub(crate) fn find(&self, program: &str) -> Option<PathBuf> {
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

#[cfg(all(test, unix))]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::script;

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
