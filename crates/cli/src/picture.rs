//! Pictures into files of the kind that their name says.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use kiln_report::Picture;
use kiln_util::{check_writable, write_atomically};

/// Whether a picture can be written there, before the work that it shows.
pub fn check(path: &Path) -> anyhow::Result<()> {
    if !is_svg(path)
        && path
            .extension()
            .is_none_or(|ending| !ending.eq_ignore_ascii_case("png"))
    {
        bail!(
            "`{}`: expected a file name that ends in .png or .svg",
            path.display()
        );
    }
    Ok(check_writable(path)?)
}

/// As SVG or PNG.
pub fn write(path: &Path, picture: &Picture) -> anyhow::Result<()> {
    let bytes = if is_svg(path) {
        picture.to_svg().into_bytes()
    } else {
        picture.to_png()?
    };
    Ok(write_atomically(path, &bytes)?)
}

/// Makes a folder that pictures can be written to, before the work that they show.
pub fn prepare_folder(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| {
        anyhow!(
            "cannot write {}: {error}: name another folder",
            folder.display()
        )
    })
}

/// Writes each picture into that folder twice, as PNG and SVG, and gives the files.
pub fn write_all<'a>(
    folder: &Path,
    pictures: impl IntoIterator<Item = (&'a str, &'a Picture)>,
) -> anyhow::Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    for (name, picture) in pictures {
        for ending in ["png", "svg"] {
            let path = folder.join(format!("{name}.{ending}"));
            write(&path, picture)?;
            written.push(path);
        }
    }
    Ok(written)
}

fn is_svg(path: &Path) -> bool {
    path.extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("svg"))
}
