//! Runs and sweeps as pages.

mod images;
mod mistakes;
mod run;
mod sweep;

pub use run::run;
pub use sweep::sweep;

/// The line at a page's end.
fn footer() -> String {
    format!("Made by kiln {}.", kiln_util::VERSION)
}

/// A name with its value.
fn fact(name: &str, value: impl Into<String>) -> (String, String) {
    (name.into(), value.into())
}
