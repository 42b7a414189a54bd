//! Locks between processes.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::{CancelToken, FileError};

/// Time between two attempts of a waiting process.
const PAUSE: Duration = Duration::from_millis(100);

/// Held while a process writes to a folder; the system releases it when the process ends, however
/// it does.
#[derive(Debug)]
pub struct Lock {
    file: File,
    exclusive: bool,
}

impl Drop for Lock {
    /// Unlocks before the file is closed: a process that another thread is just starting still has
    /// the file open and would otherwise hold the lock a moment longer.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

impl Lock {
    /// Locks a folder that exists, or a file, which is created.
    ///
    /// Where the file system has no locks, as some network file systems, nothing is locked:
    /// [`is_exclusive`](Self::is_exclusive) tells.
    ///
    /// # Errors
    ///
    /// [`FileError::Locked`] if another process holds the lock, [`FileError::Write`] if there is
    /// nothing to lock.
    pub fn try_lock(path: &Path) -> Result<Self, FileError> {
        Self::attempt(open(path).map_err(|source| failed(path, source))?).map_err(|_| {
            FileError::Locked {
                path: path.to_owned(),
            }
        })
    }

    /// Locks as [`try_lock`](Self::try_lock) does, but together with others that share the lock.
    ///
    /// # Errors
    ///
    /// As [`try_lock`](Self::try_lock); no other process shares the lock then.
    pub fn try_share(path: &Path) -> Result<Self, FileError> {
        let file = open(path).map_err(|source| failed(path, source))?;
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Err(FileError::Locked {
                path: path.to_owned(),
            }),
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self {
                file,
                exclusive: false,
            }),
        }
    }

    /// Locks as [`try_lock`](Self::try_lock) does, and waits while another process holds the lock;
    /// `waiting` is called once before that. Returns nothing if `cancel` ended the wait.
    ///
    /// # Errors
    ///
    /// [`FileError::Write`] if there is nothing to lock.
    pub fn acquire(
        path: &Path,
        cancel: &CancelToken,
        waiting: impl FnOnce(),
    ) -> Result<Option<Self>, FileError> {
        let mut file = open(path).map_err(|source| failed(path, source))?;
        let mut waiting = Some(waiting);
        loop {
            file = match Self::attempt(file) {
                Ok(lock) => return Ok(Some(lock)),
                Err(file) => file,
            };
            if cancel.is_cancelled() {
                return Ok(None);
            }
            if let Some(waiting) = waiting.take() {
                waiting();
            }
            thread::sleep(PAUSE);
        }
    }

    /// Returns whether no other process can hold the lock: false where it is shared, and where the file system has none.
    pub fn is_exclusive(&self) -> bool {
        self.exclusive
    }

    /// Gives the file back if another process holds the lock.
    fn attempt(file: File) -> Result<Self, File> {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => Err(file),
            result => Ok(Self {
                file,
                exclusive: result.is_ok(),
            }),
        }
    }
}

fn failed(path: &Path, source: io::Error) -> FileError {
    FileError::Write {
        path: path.to_owned(),
        source,
    }
}

/// Opens what is locked: of a folder itself where folders can be locked, so that nothing is left
/// in it, else a file in it.
fn open(path: &Path) -> io::Result<File> {
    if path.is_dir() && cfg!(unix) {
        return File::open(path);
    }
    let lock_file = if path.is_dir() {
        path.join(".lock")
    } else {
        path.to_owned()
    };
    File::options().create(true).append(true).open(lock_file)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_folder_is_locked_once_and_free_again_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::try_lock(folder.path()).unwrap();
        assert!(lock.is_exclusive());
        let message = Lock::try_lock(folder.path()).unwrap_err().to_string();
        assert!(
            message.contains("another kiln process is using"),
            "{message}"
        );
        drop(lock);
        Lock::try_lock(folder.path()).unwrap();
    }

    #[test]
    fn those_that_share_a_lock_keep_out_those_that_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let shared = [(); 2].map(|()| Lock::try_share(folder.path()).unwrap());
        assert!(Lock::try_lock(folder.path()).is_err());
        drop(shared);
        let alone = Lock::try_lock(folder.path()).unwrap();
        let message = Lock::try_share(folder.path()).unwrap_err().to_string();
        assert!(
            message.contains("another kiln process is using"),
            "{message}"
        );
        drop(alone);
    }

    #[test]
    fn a_second_one_waits_says_so_once_and_can_be_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let (file, cancel) = (folder.path().join(".lock"), CancelToken::new());
        let first = Lock::acquire(&file, &cancel, || panic!("nobody to wait for")).unwrap();
        let waits = AtomicUsize::new(0);
        thread::scope(|scope| {
            let second = scope.spawn(|| {
                Lock::acquire(&file, &cancel, || {
                    waits.fetch_add(1, Ordering::Relaxed);
                })
            });
            while waits.load(Ordering::Relaxed) == 0 {
                thread::sleep(Duration::from_millis(1));
            }
            cancel.cancel();
            assert!(second.join().unwrap().unwrap().is_none());
        });
        assert_eq!(waits.into_inner(), 1);
        drop(first);
        // A free lock is taken even by who was cancelled: there is nothing to wait for.
        assert!(Lock::acquire(&file, &cancel, || ()).unwrap().is_some());
    }

    #[test]
    fn a_process_that_inherited_the_file_does_not_hold_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::try_lock(folder.path()).unwrap();
        let inherited = lock.file.try_clone().unwrap();
        drop(lock);
        Lock::try_lock(folder.path()).unwrap();
        drop(inherited);
    }

    #[test]
    fn nothing_to_lock_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("no/such");
        let message = Lock::try_lock(&missing).unwrap_err().to_string();
        assert!(message.contains("cannot write"), "{message}");
    }
}
