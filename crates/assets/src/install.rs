//! Writing one verified file into the cache.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use kiln_util::{CancelToken, Hex, temporary_file};
use sha2::{Digest, Sha256};

use crate::cache::write_stamp;
use crate::error::Failure;
use crate::{AssetFile, CacheError, SourceError};

/// Bytes moved at once: large enough that a call's overhead does not show, small enough for the
/// CPU's cache.
pub(crate) const CHUNK: usize = 64 * 1024;

/// The first bytes of everything that gzip makes. Of an asset's files, only those [in gzip](AssetFile::is_gzip) begin with
/// them.
pub(crate) const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Writes what `reader` gives, decompressed if it is gzip and `file` is not, as `file` into `folder`, which exists.
/// It is written to another name first, and renamed when size and checksum are right and it has
/// reached the disk.
///
/// Never writes more than `file.size` bytes, whatever `reader` has.
pub(crate) fn install(
    reader: impl Read,
    file: &AssetFile,
    folder: &Path,
    cancel: &CancelToken,
) -> Result<(), Failure> {
    let mut reader = BufReader::with_capacity(CHUNK, reader);
    let unreadable = |error: io::Error| SourceError::Read {
        what: file.name.clone(),
        reason: error.to_string(),
    };
    let is_gzip = reader.fill_buf().map_err(unreadable)?.starts_with(&GZIP);
    if is_gzip && !file.is_gzip() {
        return copy(MultiGzDecoder::new(reader), file, folder, cancel);
    }
    copy(reader, file, folder, cancel)
}

fn copy(
    mut reader: impl Read,
    file: &AssetFile,
    folder: &Path,
    cancel: &CancelToken,
) -> Result<(), Failure> {
    let path = folder.join(&file.name);
    let mut target = temporary_file(folder).map_err(CacheError::at("write into", folder))?;
    let mut hasher = Sha256::new();
    let mut written: u64 = 0;
    let mut chunk = vec![0; CHUNK];
    let wrong_size = |found: String| SourceError::Size {
        file: file.name.clone(),
        expected: file.size,
        found,
    };
    loop {
        if cancel.is_cancelled() {
            return Err(Failure::Cancelled);
        }
        let n = match reader.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(SourceError::Read {
                    what: file.name.clone(),
                    reason: error.to_string(),
                }
                .into());
            }
        };
        written += n as u64;
        if written > file.size {
            return Err(wrong_size("more".into()).into());
        }
        hasher.update(&chunk[..n]);
        target
            .write_all(&chunk[..n])
            .map_err(CacheError::at("write", &path))?;
    }
    if written != file.size {
        return Err(wrong_size(written.to_string()).into());
    }
    let found = Hex(&hasher.finalize()).to_string();
    if found != file.sha256 {
        let (file, expected) = (file.name.clone(), file.sha256.clone());
        return Err(SourceError::Checksum {
            file,
            expected,
            found,
        }
        .into());
    }
    target
        .as_file()
        .sync_all()
        .map_err(CacheError::at("write", &path))?;
    let stored = target
        .persist(&path)
        .map_err(|error| CacheError::at("write", &path)(error.error))?;
    if let Ok(metadata) = stored.metadata() {
        write_stamp(folder, file, &metadata);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cache::verified;
    use crate::testing::{cancelled, file, gzip, sha256_hex};

    /// The content installed, or the source's fault; checks that nothing else is left behind.
    fn attempt(content: &[u8], wanted: &AssetFile) -> Result<Vec<u8>, SourceError> {
        let folder = tempfile::tempdir().unwrap();
        let result = install(content, wanted, folder.path(), &CancelToken::new());
        let visible = fs::read_dir(folder.path()).unwrap().count();
        match result {
            Ok(()) => {
                assert!(verified(folder.path(), wanted));
                assert_eq!(visible, 2, "the file and its stamp");
                Ok(fs::read(folder.path().join(&wanted.name)).unwrap())
            }
            Err(Failure::Source(error)) => {
                assert_eq!(visible, 0, "a failure leaves nothing");
                Err(error)
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn plain_and_compressed_content_come_out_the_same() {
        let wanted = file("a", b"content");
        assert_eq!(attempt(b"content", &wanted).unwrap(), b"content");
        assert_eq!(attempt(&gzip(b"content"), &wanted).unwrap(), b"content");
    }

    #[test]
    fn wrong_sizes_and_contents_are_told() {
        let wanted = file("a", b"content");
        let message = |content: &[u8]| attempt(content, &wanted).unwrap_err().to_string();
        assert_eq!(message(b"conten"), "a: expected 7 bytes, found 6");
        assert_eq!(message(b"contents"), "a: expected 7 bytes, found more");
        assert_eq!(message(b""), "a: expected 7 bytes, found 0");
        assert_eq!(
            message(b"contenT"),
            format!(
                "a: expected SHA-256 {}, found {}",
                wanted.sha256,
                sha256_hex(b"contenT")
            )
        );
        let bomb = gzip(&vec![0; 10_000_000]);
        assert_eq!(message(&bomb), "a: expected 7 bytes, found more");
        let torn = gzip(b"content");
        assert!(message(&torn[..torn.len() - 3]).starts_with("cannot read a: "));
    }

    #[test]
    fn a_stop_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let result = install(
            &b"content"[..],
            &file("a", b"content"),
            folder.path(),
            &cancelled(),
        );
        assert!(matches!(result, Err(Failure::Cancelled)));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let result = install(
            &b""[..],
            &file("a", b""),
            Path::new("/nowhere/at all"),
            &CancelToken::new(),
        );
        let Err(Failure::Cache(error)) = result else {
            panic!("{result:?}")
        };
        assert!(
            error
                .to_string()
                .starts_with("cannot write into /nowhere/at all: "),
            "{error}"
        );
    }
}
