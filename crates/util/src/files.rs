//! Files that are written whole or not at all.

use std::fs;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Beginning of the names of temporary files.
const TEMPORARY_PREFIX: &str = ".kiln-";
/// Ending of the names of temporary files.
const TEMPORARY_SUFFIX: &str = ".tmp";

/// A file that cannot be written, or a folder that another process uses.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Writing failed; nothing was changed.
    #[error(
        "cannot write {}: {source}. Check that the folder is writable and the disk has room",
        path.display()
    )]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The folder of a file to write does not exist.
    #[error(
        "cannot write {}: the folder {} does not exist: make it, or name another",
        path.display(), folder.display()
    )]
    NoFolder {
        /// The file.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// Another process writes to the folder.
    #[error("another kiln process is using {}: wait for it, or stop it", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
}

/// Writes a file under a temporary name beside it and renames it, so that the file is either the
/// old one or the new one, whole. A link is followed. What is not a regular file, such as a pipe or
/// a terminal, is written to as it is. The folder must be there.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let write = || -> io::Result<()> {
        // A link to nothing yet is replaced, as there is nothing to keep.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        if fs::metadata(&target).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
            return fs::OpenOptions::new()
                .write(true)
                .open(&target)?
                .write_all(bytes);
        }
        let mut file = temporary_file(folder_of(&target))?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(&target).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|source| failed(path, source))
}

/// A file that is written piece by piece under a temporary name, and gets its own with
/// [`commit`](Self::commit): until then, and if that is never called, the file of that name stays as
/// it is. A link is followed; what is not a regular file is refused.
pub struct AtomicFile {
    file: io::BufWriter<NamedTempFile>,
    path: PathBuf,
    target: PathBuf,
}

impl AtomicFile {
    /// Creates the temporary file. The folder must be there.
    pub fn create(path: &Path) -> Result<Self, FileError> {
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let create = || {
            if fs::metadata(&target).is_ok_and(|metadata| !metadata.is_file()) {
                return Err(io::Error::other("expected a regular file"));
            }
            temporary_file(folder_of(&target))
        };
        let file = create().map_err(|source| failed(path, source))?;
        Ok(Self {
            file: io::BufWriter::with_capacity(1 << 16, file),
            path: path.into(),
            target,
        })
    }

    /// Returns the name that the file gets.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the error of a failed write with the file's name.
    pub fn failed(&self, source: io::Error) -> FileError {
        failed(&self.path, source)
    }

    /// Gives the file its name, when all of it has reached the disk.
    pub fn commit(self) -> Result<(), FileError> {
        let Self { file, path, target } = self;
        let commit = || {
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.as_file().sync_all()?;
            file.persist(&target).map_err(|error| error.error)
        };
        commit().map(drop).map_err(|source| failed(&path, source))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// Checks whether [`write_atomically`] can be expected to work: to be asked before the work whose result
/// is written.
pub fn check_writable(path: &Path) -> Result<(), FileError> {
    let check = || match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(metadata) if !metadata.is_file() => Ok(()),
        _ => temporary_file(folder_of(path)).map(drop),
    };
    check().map_err(|source| failed(path, source))
}

fn failed(path: &Path, source: io::Error) -> FileError {
    let folder = folder_of(path);
    match source.kind() {
        io::ErrorKind::NotFound if !folder.exists() => FileError::NoFolder {
            path: path.into(),
            folder: folder.into(),
        },
        _ => FileError::Write {
            path: path.into(),
            source,
        },
    }
}

/// Creates a file in `folder`, under a name of its own, that is removed unless it is persisted.
pub fn temporary_file(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY_PREFIX).suffix(TEMPORARY_SUFFIX);
    // As the user's umask has it, as any other file: the temporary file's own mode would be 0600.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder).map_err(without_path)
}

/// Returns whether a file of this name is one of [`temporary_file`]'s: left behind by a process
/// that was killed, if nobody writes to its folder now.
pub fn is_temporary_name(name: &str) -> bool {
    name.starts_with(TEMPORARY_PREFIX) && name.ends_with(TEMPORARY_SUFFIX)
}

/// Returns the reason without the temporary file's name, which means nothing to the user.
fn without_path(error: io::Error) -> io::Error {
    if error.get_ref().is_some() {
        error.kind().into()
    } else {
        error
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.txt");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1
        );
    }

    #[test]
    fn a_file_in_pieces_has_its_name_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.bin");
        std::fs::write(&path, b"old").unwrap();
        let mut dropped = AtomicFile::create(&path).unwrap();
        dropped.write_all(b"half").unwrap();
        drop(dropped);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"?bc").unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(b"a").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        file.commit().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"abc");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let message = AtomicFile::create(folder.path()).err().unwrap().to_string();
        assert!(message.contains("expected a regular file"), "{message}");
    }

    #[test]
    fn a_failure_names_the_file_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        std::fs::create_dir(&taken).unwrap();
        let error = write_atomically(&taken, b"x").unwrap_err().to_string();
        assert!(
            error.contains("cannot write") && error.contains("taken"),
            "{error}"
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_one_and_what_is_no_file_stays_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        std::fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write_atomically(&link, b"new").unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read(&file).unwrap(), b"new");
        write_atomically(Path::new("/dev/null"), b"x").unwrap();
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
    }

    #[test]
    fn a_place_can_be_tried_before_the_work() {
        let folder = tempfile::tempdir().unwrap();
        check_writable(&folder.path().join("new")).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(check_writable(folder.path()).is_err());
        let missing = folder.path().join("no/such");
        let message = check_writable(&missing.join("file"))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains(&format!(
                "the folder {} does not exist: make it",
                missing.display()
            )),
            "{message}"
        );
        let message = write_atomically(&missing.join("file"), b"x")
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("does not exist") && !message.contains(".kiln-"),
            "{message}"
        );
        // A file where a folder should be: the system's own reason.
        fs::write(folder.path().join("file"), "").unwrap();
        let message = check_writable(&folder.path().join("file/below"))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("cannot write") && !message.contains(".kiln-"),
            "{message}"
        );
    }

    #[test]
    fn temporary_files_are_known_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let file = temporary_file(folder.path()).unwrap();
        assert!(is_temporary_name(
            file.path().file_name().unwrap().to_str().unwrap()
        ));
        assert!(!is_temporary_name(".kiln-notes") && !is_temporary_name("x.tmp"));
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
