//! What every crate of kiln shares, each in one place.
//!
//! | to find | look in |
//! | --- | --- |
//! | numbers for people, untrusted text made safe to print | `text` |
//! | files written whole or not at all, locks on folders | `files` |
//! | panics of other crates as errors | `panic` |
//! | enums that are words on the command line and in files | [`str_enum!`] |

#![forbid(unsafe_code)]

mod files;
mod panic;
mod str_enum;
mod text;

pub use files::{FileError, Lock, check_writable, write_atomically};
pub use panic::catch_panic;
pub use str_enum::ParseEnumError;
pub use text::{Hex, Thousands, counted, duration, percent, printable, shown, thousands};
