//! Values as JSON files.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use kiln_util::write_atomically;

use crate::RunError;

/// Writes a value for people and programs.
pub fn write(path: &Path, value: &impl Serialize) -> Result<(), RunError> {
    let mut json = serde_json::to_vec_pretty(value).map_err(|error| content(path, &error))?;
    json.push(b'\n');
    Ok(write_atomically(path, &json)?)
}

/// Reads what [`write`] wrote.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<T, RunError> {
    let bytes = std::fs::read(path).map_err(|source| RunError::Read {
        path: path.into(),
        source,
    })?;
    serde_json::from_slice(&bytes).map_err(|error| content(path, &error))
}

fn content(path: &Path, error: &serde_json::Error) -> RunError {
    RunError::Content {
        path: path.into(),
        problem: error.to_string(),
    }
}
