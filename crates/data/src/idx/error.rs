//! What can be wrong with an IDX file.

use std::io;
use std::path::PathBuf;

use kiln_util::Thousands;

/// An IDX file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum IdxError {
    /// The file is missing, unreadable, or damaged gzip.
    #[error("cannot read `{}`: {reason}: check that the file is there and whole", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What reading says.
        reason: io::Error,
    },
    /// The first four bytes are not those of a file of unsigned bytes.
    #[error(
        "`{}` is not an IDX file of unsigned bytes: expected it to begin with 00 00 08 and 01 to 04, found {}: \
         check that it is the right file", path.display(), hex(*found)
    )]
    Magic {
        /// The file.
        path: PathBuf,
        /// The first four bytes.
        found: [u8; 4],
    },
    /// The axes multiply to a size beyond 64 bits.
    #[error(
        "`{}` announces an array of {dims:?}: expected a size that fits in memory: the header is damaged, \
         replace the file", path.display()
    )]
    Overflow {
        /// The file.
        path: PathBuf,
        /// The length of each axis.
        dims: Vec<u32>,
    },
    /// The file ends before its values do.
    #[error(
        "`{}` is cut short: expected {} bytes, found {}: replace it by a complete copy",
        path.display(), Thousands(*expected), Thousands(*found)
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes of header and values together, uncompressed; of the header alone where that is cut
        /// short.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// The file goes on after its values.
    #[error(
        "`{}` has bytes left over: expected {} bytes, found more: the header does not fit the content, \
         replace the file", path.display(), Thousands(*expected)
    )]
    Trailing {
        /// The file.
        path: PathBuf,
        /// Bytes of header and values together, uncompressed.
        expected: u64,
    },
}

fn hex(bytes: [u8; 4]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(" ")
}
