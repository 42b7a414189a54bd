//! The native half of the Python package `kiln`: models, and images of every kind that Python programs have.
//!
//! What is checked, converted and documented for people is in `python/kiln/__init__.py`; here are the parts that need
//! Rust. All work runs without Python's global lock, and looks for Ctrl-C while it runs.

mod embedder;
mod error;
mod images;
mod interrupt;
mod model;

use pyo3::prelude::*;

/// The native half of the package.
#[pymodule]
fn _kiln(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", kiln_util::VERSION)?;
    error::add(module)?;
    module.add_class::<model::Model>()?;
    module.add_class::<embedder::Embedder>()
}
