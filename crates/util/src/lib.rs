//! What every crate of kiln shares, each in one place.
//!
//! | to find | look in |
//! | --- | --- |
//! | numbers for people, untrusted text made safe to print | `text` |
//! | files written whole or not at all, locks on folders | `files` |
//! | stopping work from another thread | `cancel` |
//! | enums that are words on the command line and in files | [`str_enum!`] |
//! | the valid word that was meant by a misspelled one | [`closest`] |

#![forbid(unsafe_code)]

mod cancel;
mod closest;
#[cfg(feature = "files")]
mod files;
mod str_enum;
mod text;

pub use cancel::{CancelToken, Watch};
pub use closest::{closest, equivalent};
#[cfg(feature = "files")]
pub use files::{FileError, Lock, check_writable, write_atomically};
pub use str_enum::ParseEnumError;
pub use text::{Hex, Thousands, counted, duration, percent, printable, shown, thousands};
