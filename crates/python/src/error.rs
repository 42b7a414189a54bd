//! kiln's errors as Python's exceptions.

use std::error::Error as StdError;

pub use kiln_util::with_causes as text;
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

create_exception!(
    kiln,
    KilnError,
    PyException,
    "An error of kiln, with its message."
);
create_exception!(kiln, LoadError, KilnError, "A model cannot be loaded.");
create_exception!(
    kiln,
    ImageError,
    KilnError,
    "An image cannot be read or prepared."
);

/// Adds the exceptions to the module.
pub fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("KilnError", py.get_type::<KilnError>())?;
    module.add("LoadError", py.get_type::<LoadError>())?;
    module.add("ImageError", py.get_type::<ImageError>())
}

/// An error of work that is done with a model.
pub fn kiln(error: impl StdError) -> PyErr {
    KilnError::new_err(text(&error))
}

/// An error of loading a model.
pub fn load(error: impl StdError) -> PyErr {
    LoadError::new_err(text(&error))
}
