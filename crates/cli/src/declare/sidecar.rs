//! The file beside a model that says what the model's file does not.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use kiln_model::{ModelOverrides, Recipe};

use super::labels;

/// Longest sidecar: 16 MiB, room for very many labels.
const MAX_BYTES: u64 = 16 << 20;

/// Reads the sidecar that was named, or else the one beside the model if there is one.
pub fn find(
    named: Option<&Path>,
    beside: &Path,
) -> anyhow::Result<Option<(PathBuf, ModelOverrides)>> {
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
        labels::read(&folder.join(file))
    })?;
    Ok(Some((path.into(), declaration)))
}

fn read(path: &Path) -> anyhow::Result<String> {
    let fail = |error: std::io::Error| {
        anyhow!(
            "cannot read the sidecar {}: {error}: check the path",
            path.display()
        )
    };
    let metadata = std::fs::metadata(path).map_err(fail)?;
    if !metadata.is_file() || metadata.len() > MAX_BYTES {
        bail!(
            "the sidecar {} is not a text file of at most 16 MiB: check the path",
            path.display()
        );
    }
    let bytes = std::fs::read(path).map_err(fail)?;
    String::from_utf8(bytes).map_err(|_| {
        anyhow!(
            "the sidecar {} is not UTF-8 text: write it as TOML",
            path.display()
        )
    })
}
