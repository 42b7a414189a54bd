//! What every crate of kiln shares, each in one place.
//!
//! | to find | look in |
//! | --- | --- |
//! | numbers for people, untrusted text made safe to print | `text` |
//! | files written whole or not at all (feature `files`) | `files` |
//! | locks between processes (feature `files`) | `lock` |
//! | text in UTF-8 and UTF-16 with a byte-order mark | `encoding` |
//! | stopping work from another thread | `cancel` |
//! | panics of other crates as errors | `panic` |
//! | version and platform of the program | `program` |
//! | SHA-256 (feature `sha256`) | `sha256` |
//! | enums that are words on the command line and in files | [`str_enum!`] |
//! | the valid word that was meant by a misspelled one | [`closest`] |

#![forbid(unsafe_code)]

mod cancel;
mod encoding;
#[cfg(feature = "files")]
mod files;
#[cfg(feature = "files")]
mod lock;
mod panic;
mod program;
#[cfg(feature = "sha256")]
mod sha256;
mod str_enum;
mod text;

pub use cancel::{CancelToken, Watch};
pub use encoding::{TextReader, decode_text, is_utf16};
#[cfg(feature = "files")]
pub use files::{
    AtomicFile, FileError, check_writable, is_temporary_name, temporary_file, write_atomically,
};
#[cfg(feature = "files")]
pub use lock::Lock;
pub use panic::catch_panic;
pub use program::{VERSION, platform};
#[cfg(feature = "sha256")]
pub use sha256::sha256;
pub use str_enum::{ParseEnumError, closest, equivalent};
pub use text::{
    Hex, Thousands, bytes, counted, duration, first_few, listed, percent, printable, shown,
    thousands, with_causes,
};
