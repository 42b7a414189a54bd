//! Files that are read at any place by several threads.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_store::{Client, Object};

use crate::error::{Problem, RecordsError};

/// Bytes that can be read at any place.
pub trait ReadAt: Send + Sync {
    /// Fills `buffer` with the bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// If they cannot be read, or end before.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Returns whether each read is a request over a network, so that few large ones are better than many small ones.
    fn is_remote(&self) -> bool {
        false
    }
}

impl ReadAt for File {
    #[cfg(unix)]
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, buffer, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        use std::os::windows::fs::FileExt;
        while !buffer.is_empty() {
            match self.seek_read(buffer, offset)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => {
                    buffer = &mut buffer[read..];
                    offset += read as u64;
                }
            }
        }
        Ok(())
    }
}

/// An object, read by requests for ranges.
struct Remote(Object);

impl ReadAt for Remote {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        Ok(Client::shared().read(&self.0, buffer, offset)?)
    }

    fn is_remote(&self) -> bool {
        true
    }
}

/// A file of records: its path, length and bytes.
#[derive(Clone)]
pub struct Source {
    path: Arc<Path>,
    length: u64,
    bytes: Arc<dyn ReadAt>,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Source").field(&self.path).finish()
    }
}

impl Source {
    /// Opens a regular file.
    ///
    /// # Errors
    ///
    /// [`Problem::Read`] if it cannot be opened, or is a folder or a pipe, which cannot be read at any place.
    pub fn open(path: &Path) -> Result<Self, RecordsError> {
        let fail = |reason| Problem::Read(reason).of(path);
        let file = File::open(path).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        if !metadata.is_file() {
            return Err(fail(io::Error::other("it is not a regular file")));
        }
        Ok(Self::new(path, metadata.len(), Arc::new(file)))
    }

    /// Takes an object of a store, or a file on a web server.
    pub fn remote(path: &Path, object: Object) -> Self {
        Self::new(path, object.length, Arc::new(Remote(object)))
    }

    /// Takes `length` bytes, which messages call by a path.
    pub fn new(path: &Path, length: u64, bytes: Arc<dyn ReadAt>) -> Self {
        Self {
            path: path.into(),
            length,
            bytes,
        }
    }

    /// Returns the path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the number of bytes.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Returns whether each read is a request over a network.
    pub fn is_remote(&self) -> bool {
        self.bytes.is_remote()
    }

    /// Returns the same file, read in another way.
    pub(crate) fn through(&self, bytes: Arc<dyn ReadAt>) -> Self {
        Self {
            path: Arc::clone(&self.path),
            length: self.length,
            bytes,
        }
    }

    /// Reads so many bytes; memory is taken only for what the file has.
    pub(crate) fn read(&self, offset: u64, length: u64) -> Result<Vec<u8>, Problem> {
        let end = offset.checked_add(length);
        if end.is_none_or(|end| end > self.length) {
            return Err(Problem::Damaged("it ends before what its index announces"));
        }
        let mut buffer = vec![0; usize::try_from(length).map_err(|_| Problem::Memory(length))?];
        self.bytes.read_at(&mut buffer, offset)?;
        Ok(buffer)
    }

    /// Fills `buffer` with the bytes from `offset` on.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.bytes.read_at(buffer, offset)
    }

    /// Returns a part of it, without reading it.
    pub(crate) fn span(&self, offset: u64, length: u64) -> Span {
        Span {
            source: self.clone(),
            offset,
            length,
        }
    }
}

/// A part of a file: the bytes of one image.
#[derive(Debug, Clone)]
pub struct Span {
    source: Source,
    offset: u64,
    length: u64,
}

impl Span {
    /// Creates the span of bytes in an open file, such as one in which images are kept; `path` is what messages
    /// call it.
    pub fn new(path: &Path, file: &Arc<File>, offset: u64, length: u64) -> Self {
        let bytes: Arc<dyn ReadAt> = Arc::clone(file) as _;
        Self {
            source: Source::new(path, offset.saturating_add(length), bytes),
            offset,
            length,
        }
    }

    /// Returns the number of bytes.
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Returns the path of its file.
    pub(crate) fn path(&self) -> &Path {
        self.source.path()
    }

    /// Returns whether reading it is a request over a network.
    pub(crate) fn is_remote(&self) -> bool {
        self.source.is_remote()
    }

    /// Reads the bytes.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        self.source
            .read(self.offset, self.length)
            .map_err(|problem| match problem {
                Problem::Read(reason) => reason,
                other => io::Error::other(other.to_string()),
            })
    }
}

/// The path of a file in messages.
pub(crate) fn owned(path: &Path) -> PathBuf {
    path.to_owned()
}
