//! The file beside a model that specifies what the model's file does not.

use std::path::{Path, PathBuf};

use kiln_model::{ModelOverrides, Recipe};

use super::labels::read_labels;
use crate::error::models::OverridesError;

/// Longest sidecar: 16 MiB, room for very many labels.
const MAX_BYTES: u64 = 16 << 20;

/// Reads the sidecar that was named, or else the one beside the model if there is one.
pub fn find(
    named: Option<&Path>,
    beside: &Path,
) -> Result<Option<(PathBuf, ModelOverrides)>, OverridesError> {
    let path = named.unwrap_or(beside);
    if named.is_none() && !path.is_file() {
        return Ok(None);
    }
    let text = read(path)?;
    // A recipe has its model's name too. It was looked at only because of that.
    if named.is_none() && Recipe::is_recipe(&text) {
        return Ok(None);
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let declaration = ModelOverrides::parse(&text, &path.display().to_string(), &[], |file| {
        read_labels(&folder.join(file)).map_err(|error| error.to_string())
    })?;
    Ok(Some((path.into(), declaration)))
}

fn read(path: &Path) -> Result<String, OverridesError> {
    let fail = |source| OverridesError::ReadSidecar {
        path: path.into(),
        source,
    };
    let wrong = |expected| OverridesError::Sidecar {
        path: path.into(),
        expected,
    };
    let metadata = std::fs::metadata(path).map_err(fail)?;
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        return Err(wrong("a text file of at most 16 MiB"));
    }
    let bytes = std::fs::read(path).map_err(fail)?;
    String::from_utf8(bytes).map_err(|_| wrong("TOML in UTF-8"))
}
