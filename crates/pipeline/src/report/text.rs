//! Phrases of all pages.

/// The line at a page's end.
pub(super) fn footer() -> String {
    format!("Made by kiln {}.", kiln_util::VERSION)
}

/// A name with its value.
pub(super) fn fact(name: &str, value: impl Into<String>) -> (String, String) {
    (name.into(), value.into())
}
