//! Pictures into files of the kind that their name says.

use std::path::Path;

use anyhow::bail;
use kiln_eval::Picture;
use kiln_run::{check_writable, write_atomically};

/// Whether a picture can be written there, before the work that it shows.
pub fn check(path: &Path) -> anyhow::Result<()> {
    if !is_svg(path) && path.extension().is_none_or(|ending| !ending.eq_ignore_ascii_case("png")) {
        bail!("`{}`: expected a file name that ends in .png or .svg", path.display());
    }
    Ok(check_writable(path)?)
}

/// As SVG or PNG.
pub fn write(path: &Path, picture: &Picture) -> anyhow::Result<()> {
    let bytes = if is_svg(path) { picture.to_svg().into_bytes() } else { picture.to_png()? };
    Ok(write_atomically(path, &bytes)?)
}

fn is_svg(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("svg"))
}
