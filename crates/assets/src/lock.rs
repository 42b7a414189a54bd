//! One fetch of an asset at a time, across processes.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::error::Failure;
use crate::{CacheError, Progress};

/// How often a waiting process looks again.
const PAUSE: Duration = Duration::from_millis(100);

/// The right to write into an asset's folder; given up when dropped, or by the operating system
/// when the process ends.
pub(crate) struct Lock {
    /// Closing it unlocks it.
    _file: File,
    /// Whether the file system can lock at all; some network file systems cannot.
    pub(crate) exclusive: bool,
}

/// Waits until no other process fetches into `folder`, which exists.
pub(crate) fn acquire(
    folder: &Path,
    what: &str,
    progress: &dyn Progress,
    cancel: &AtomicBool,
) -> Result<Lock, Failure> {
    let path = folder.join(".lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(CacheError::at("write", &path))?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => {
                return Ok(Lock {
                    _file: file,
                    exclusive: true,
                });
            }
            // Renaming keeps the files whole all the same; at worst two processes download the same
            // thing.
            Err(TryLockError::Error(_)) => {
                return Ok(Lock {
                    _file: file,
                    exclusive: false,
                });
            }
            Err(TryLockError::WouldBlock) => {}
        }
        if cancel.load(Ordering::Relaxed) {
            return Err(Failure::Cancelled);
        }
        if !told {
            progress.message(&format!("waiting for another kiln that is getting {what}"));
            told = true;
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Recorder;

    #[test]
    fn a_second_one_waits_says_so_once_and_can_be_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let (recorder, cancel) = (Recorder::default(), AtomicBool::new(false));
        let first = acquire(folder.path(), "mnist", &recorder, &cancel).unwrap();
        assert_eq!(recorder.messages(), Vec::<String>::new());
        thread::scope(|scope| {
            let second =
                scope.spawn(|| acquire(folder.path(), "mnist", &recorder, &cancel).map(drop));
            while recorder.messages().is_empty() {
                thread::sleep(Duration::from_millis(1));
            }
            cancel.store(true, Ordering::Relaxed);
            assert!(matches!(second.join().unwrap(), Err(Failure::Cancelled)));
        });
        assert_eq!(
            recorder.messages(),
            ["waiting for another kiln that is getting mnist"]
        );
        cancel.store(false, Ordering::Relaxed);
        drop(first);
        assert!(acquire(folder.path(), "mnist", &recorder, &cancel).is_ok());
    }
}
