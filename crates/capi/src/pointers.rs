//! Pointers of C: checked for what can be checked, and followed.

use std::ffi::{CStr, c_char};
use std::path::Path;

use crate::error::Failure;

/// What a pointer to one value points to.
///
/// # Safety
///
/// `pointer` is NULL, or points to a value that stays as it is for as long as the reference is used.
pub unsafe fn reference<'a, T>(pointer: *const T, name: &str) -> Result<&'a T, Failure> {
    check_alignment(pointer, name)?;
    // SAFETY: it is aligned, and the caller promises the rest.
    unsafe { pointer.as_ref() }.ok_or_else(|| null(name))
}

/// Where a function puts what it gives. NULL is written there first, so that a failure leaves that.
///
/// # Safety
///
/// `pointer` is NULL, or points to a pointer that may be written.
pub unsafe fn output<T>(pointer: *mut *mut T, name: &str) -> Result<Output<T>, Failure> {
    check_alignment(pointer, name)?;
    if pointer.is_null() {
        return Err(null(name));
    }
    // SAFETY: it may be written, as the caller promises.
    unsafe { pointer.write(std::ptr::null_mut()) };
    Ok(Output(pointer))
}

/// A place for what a function gives.
pub struct Output<T>(*mut *mut T);

impl<T> Output<T> {
    /// Hands a value over to the caller.
    pub fn give(self, value: T) {
        // SAFETY: `output` was promised that it may be written.
        unsafe { self.0.write(Box::into_raw(Box::new(value))) };
    }
}

/// So many values one after another. NULL stands for none of them.
///
/// # Safety
///
/// `pointer` is NULL, or points to as many values, which stay as they are for as long as the slice is used.
pub unsafe fn slice<'a, T>(
    pointer: *const T,
    count: usize,
    name: &str,
) -> Result<&'a [T], Failure> {
    check_alignment(pointer, name)?;
    if count == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(Failure::argument(format!(
            "`{name}` is NULL: expected {count} elements"
        )));
    }
    if count > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(Failure::argument(format!(
            "`{name}` has {count} elements: expected no more than memory has"
        )));
    }
    // SAFETY: it is aligned and not NULL, no longer than a slice may be, and the caller promises the rest.
    Ok(unsafe { std::slice::from_raw_parts(pointer, count) })
}

/// Text up to its NUL, none for NULL.
///
/// # Safety
///
/// `pointer` is NULL, or points to text that ends in NUL and stays as it is for as long as the reference is used.
pub unsafe fn optional_text<'a>(
    pointer: *const c_char,
    name: &str,
) -> Result<Option<&'a str>, Failure> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: as the caller promises.
    let text = unsafe { CStr::from_ptr(pointer) };
    match text.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(Failure::argument(format!("`{name}` is not UTF-8"))),
    }
}

/// A path, none for NULL.
///
/// # Safety
///
/// As [`optional_text`].
#[cfg_attr(
    unix,
    expect(clippy::unnecessary_wraps, reason = "elsewhere a path has to be UTF-8")
)]
pub unsafe fn optional_path<'a>(
    pointer: *const c_char,
    name: &str,
) -> Result<Option<&'a Path>, Failure> {
    #[cfg(unix)]
    {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;

        let _ = name;
        // SAFETY: as the caller promises.
        let text = (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) });
        Ok(text.map(|text| Path::new(OsStr::from_bytes(text.to_bytes()))))
    }
    #[cfg(not(unix))]
    {
        // SAFETY: as the caller promises.
        unsafe { optional_text(pointer, name) }.map(|text| text.map(Path::new))
    }
}

/// A path that has to be there.
///
/// # Safety
///
/// As [`optional_text`].
pub unsafe fn path<'a>(pointer: *const c_char, name: &str) -> Result<&'a Path, Failure> {
    // SAFETY: as the caller promises.
    unsafe { optional_path(pointer, name) }?.ok_or_else(|| null(name))
}

fn null(name: &str) -> Failure {
    Failure::argument(format!("`{name}` is NULL"))
}

fn check_alignment<T>(pointer: *const T, name: &str) -> Result<(), Failure> {
    if pointer.is_aligned() {
        return Ok(());
    }
    Err(Failure::argument(format!(
        "`{name}` is at an address that is not a multiple of {}",
        align_of::<T>()
    )))
}
