//! What happens at the door of every exported function.

use kiln_util::catch_panic;

use crate::error::{Error, Failure, Status};

/// Does the work of a function. An error goes to `error`, unless that is NULL, and so does the message of a panic: to unwind
/// into C would end the process.
///
/// # Safety
///
/// `error` is NULL, or points to a pointer that may be written.
pub unsafe fn door(error: *mut *mut Error, work: impl FnOnce() -> Result<(), Failure>) -> Status {
    let failure = match catch_panic(work) {
        Ok(Ok(())) => None,
        Ok(Err(failure)) => Some(failure),
        Err(message) => Some(Failure::new(
            Status::Panic,
            format!("a bug in kiln {}: {message}", kiln_util::VERSION),
        )),
    };
    let status = failure
        .as_ref()
        .map_or(Status::Ok, |failure| failure.status);
    if !error.is_null() {
        let value = failure.map_or(std::ptr::null_mut(), |failure| {
            Box::into_raw(Box::new(Error::from(failure)))
        });
        // SAFETY: it may be written, as the caller promises.
        unsafe { error.write(value) };
    }
    status
}

/// Does work that gives nothing, such as freeing; a panic is swallowed.
pub fn quietly(work: impl FnOnce()) {
    // There is nobody to tell.
    let _ = catch_panic(work);
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;
    use std::ptr::null_mut;

    use super::*;
    use crate::error::{kiln_error_free, kiln_error_message};

    /// The status and the message of what comes out of a door.
    fn outcome(work: impl FnOnce() -> Result<(), Failure>) -> (Status, Option<String>) {
        let mut error = null_mut();
        // SAFETY: `error` may be written, and is freed once.
        unsafe {
            let status = door(&raw mut error, work);
            let message = (!error.is_null()).then(|| {
                CStr::from_ptr(kiln_error_message(error))
                    .to_str()
                    .unwrap()
                    .to_owned()
            });
            kiln_error_free(error);
            (status, message)
        }
    }

    #[test]
    fn a_panic_ends_at_the_door() {
        let (status, message) = outcome(|| panic!("out of {}", "cheese"));
        assert_eq!(status, Status::Panic);
        let message = message.unwrap();
        assert!(message.starts_with("a bug in kiln ") && message.ends_with(": out of cheese"));
        quietly(|| panic!("nobody hears it"));
    }

    #[test]
    fn errors_have_a_message_and_success_has_none() {
        assert_eq!(outcome(|| Ok(())), (Status::Ok, None));
        let wrong = outcome(|| Err(Failure::argument("no\0ne")));
        assert_eq!(
            wrong,
            (Status::InvalidArgument, Some("no\u{fffd}ne".into()))
        );
        // SAFETY: NULL for an error that nobody wants.
        let status = unsafe { door(null_mut(), || Err(Failure::argument("none"))) };
        assert_eq!(status, Status::InvalidArgument);
    }
}
