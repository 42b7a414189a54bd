//! Errors as C has them: a status, and a message.

use std::ffi::{CStr, CString, c_char};

use kiln_util::with_causes;

use crate::door::quietly;

/// What came of a call.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It did what it is for.
    Ok = 0,
    /// An argument that cannot be: NULL, a size that does not fit, an option that does not exist.
    InvalidArgument = 1,
    /// A model that cannot be loaded: its file, its engine, what is specified about it.
    Load = 2,
    /// An image that cannot be read, decoded or prepared.
    Image = 3,
    /// The engine failed, or gave scores that are no numbers.
    Run = 4,
    /// The golden vectors of a model have other scores on this machine, or there are none.
    Verification = 5,
    /// A bug in kiln, whose message is the error's. The model may be used further.
    Panic = 6,
}

/// What went wrong.
#[derive(Debug)]
pub struct Error {
    message: CString,
}

/// An error before it goes through a door.
#[derive(Debug)]
pub struct Failure {
    pub status: Status,
    pub message: String,
}

impl Failure {
    pub const fn new(status: Status, message: String) -> Self {
        Self { status, message }
    }

    /// An error with its causes.
    pub fn of(status: Status, error: &dyn std::error::Error) -> Self {
        Self::new(status, with_causes(error))
    }

    /// An argument that cannot be.
    pub fn argument(message: impl Into<String>) -> Self {
        Self::new(Status::InvalidArgument, message.into())
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self {
            message: c_string(&failure.message),
        }
    }
}

/// Text as C has it: a NUL within it, at which C would end it, becomes U+FFFD.
pub fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{fffd}")).expect("there is no NUL left in it")
}

/// Returns the message of an error: a sentence without a full stop, valid until the error is freed. Of NULL it is "".
///
/// # Safety
///
/// `error` is NULL, or comes from a function of this library and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_error_message(error: *const Error) -> *const c_char {
    const NONE: &CStr = c"";
    // SAFETY: an error of this library's that was not freed, or NULL.
    unsafe { error.as_ref() }.map_or(NONE.as_ptr(), |error| error.message.as_ptr())
}

/// Frees an error. NULL is fine.
///
/// # Safety
///
/// `error` is NULL, or comes from a function of this library, was not freed, and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_error_free(error: *mut Error) {
    if !error.is_null() {
        // SAFETY: an error of this library's, which its doors make with `Box::into_raw`, and which nobody else frees.
        quietly(|| drop(unsafe { Box::from_raw(error) }));
    }
}
