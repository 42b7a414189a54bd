//! The names of the classes as C has them.

use std::ffi::{CString, c_char};

use crate::error::c_string;

/// Names, and an array of pointers to them.
#[derive(Debug)]
pub struct Labels {
    names: Vec<CString>,
    pointers: Vec<*const c_char>,
}

// SAFETY: the pointers lead to the names beside them, which nobody changes.
unsafe impl Send for Labels {}
// SAFETY: the same.
unsafe impl Sync for Labels {}

impl Labels {
    pub fn new(labels: &[String]) -> Self {
        let names: Vec<CString> = labels.iter().map(|label| c_string(label)).collect();
        let pointers = names.iter().map(|name| name.as_ptr()).collect();
        Self { names, pointers }
    }

    /// Returns their number.
    pub const fn count(&self) -> usize {
        self.names.len()
    }

    /// Returns one name, valid as long as these.
    pub fn get(&self, index: usize) -> *const c_char {
        self.pointers[index]
    }

    /// Returns the array of all, valid as long as these.
    pub const fn all(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }
}
