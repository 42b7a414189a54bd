//! One image of a file of many.

use std::io;
use std::sync::Arc;

use crate::source::Span;

/// An image in a file of many.
#[derive(Debug, Clone)]
pub struct Record {
    /// What it is called in its file: the number of its row, from 0, or its name in a tar file.
    pub name: String,
    /// The image.
    pub image: Content,
    /// Name of its class, or its number where the classes have no names; none where it has no label.
    pub label: Option<String>,
}

/// Where the bytes of an image are.
#[derive(Debug, Clone)]
pub enum Content {
    /// In memory.
    Bytes(Arc<[u8]>),
    /// In a file, to be read when they are needed.
    Span(Span),
    /// Nowhere: the row has none, or only the path of a file that is elsewhere.
    Missing,
    /// Not asked for.
    Unread,
}

impl Content {
    /// Returns the bytes; of those in a file reads them.
    ///
    /// # Errors
    ///
    /// If they cannot be read, or there are none.
    pub fn read(&self) -> io::Result<Arc<[u8]>> {
        match self {
            Self::Bytes(bytes) => Ok(Arc::clone(bytes)),
            Self::Span(span) => Ok(span.read()?.into()),
            Self::Missing => Err(io::Error::other(
                "the row has no bytes of an image: store the bytes in the file rather than a path",
            )),
            Self::Unread => Err(io::Error::other("only labels were read")),
        }
    }
}
