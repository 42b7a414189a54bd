//! From what was typed to images.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use image::DynamicImage;
use kiln_preprocess::{ENDINGS, is_image_name};

/// Most bytes read from standard input: 256 MiB.
const MAX_STDIN: u64 = 256 << 20;

/// One image to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    File { path: PathBuf, name: String },
    Stdin,
}

impl Input {
    pub fn name(&self) -> &str {
        match self {
            Self::File { name, .. } => name,
            Self::Stdin => "-",
        }
    }

    pub fn read(&self) -> anyhow::Result<DynamicImage> {
        match self {
            Self::File { path, .. } => Ok(kiln_inference::open_image(path)?),
            Self::Stdin => {
                let mut bytes = Vec::new();
                std::io::stdin().lock().take(MAX_STDIN).read_to_end(&mut bytes)?;
                Ok(kiln_preprocess::decode(&bytes)?)
            }
        }
    }
}

/// Files as they are, the images in folders (not below them) sorted by name, what patterns match, and `-`.
pub fn expand(arguments: &[OsString]) -> anyhow::Result<Vec<Input>> {
    let mut inputs = Vec::new();
    for argument in arguments {
        let path = Path::new(argument);
        if argument == "-" {
            if inputs.contains(&Input::Stdin) {
                bail!("`-` was given twice: standard input can be read once");
            }
            inputs.push(Input::Stdin);
        } else if path.is_dir() {
            inputs.extend(folder(path)?);
        } else {
            match argument.to_str().filter(|text| text.contains(['*', '?', '[']) && !path.exists()) {
                Some(text) => inputs.extend(pattern(text)?),
                None => inputs.push(file(path.into())),
            }
        }
    }
    Ok(inputs)
}

fn file(path: PathBuf) -> Input {
    let name = path.display().to_string();
    Input::File { path, name }
}

fn folder(path: &Path) -> anyhow::Result<Vec<Input>> {
    let entries =
        std::fs::read_dir(path).map_err(|error| anyhow!("cannot read the folder {}: {error}", path.display()))?;
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| anyhow!("cannot read the folder {}: {error}", path.display()))?.path();
        if path.is_file() && is_image_name(&path) {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        bail!("there is no image in {}: expected files ending in {}", path.display(), ENDINGS.join(", "));
    }
    paths.sort();
    Ok(paths.into_iter().map(file).collect())
}

fn pattern(pattern: &str) -> anyhow::Result<Vec<Input>> {
    let paths = glob::glob(pattern).map_err(|error| anyhow!("`{pattern}` is not a valid pattern: {error}"))?;
    let mut inputs = Vec::new();
    for path in paths {
        let path = path.map_err(|error| anyhow!("cannot read {}: {}", error.path().display(), error.error()))?;
        if path.is_file() {
            inputs.push(file(path));
        }
    }
    if inputs.is_empty() {
        bail!("no file matches `{pattern}`: check the pattern");
    }
    Ok(inputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(inputs: &[Input]) -> Vec<String> {
        inputs.iter().map(|input| Path::new(input.name()).file_name().unwrap().to_string_lossy().into()).collect()
    }

    #[test]
    fn folders_patterns_and_files_are_expanded_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.png", "a.JPG", "notes.txt", "c.bmp"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let path = |name: &str| folder.path().join(name).into_os_string();
        let all = expand(&[folder.path().into(), path("?.bmp"), path("notes.txt")]).unwrap();
        assert_eq!(names(&all), ["a.JPG", "b.png", "c.bmp", "c.bmp", "notes.txt"]);
    }

    #[test]
    fn nothing_found_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().as_os_str().to_os_string();
        assert!(expand(std::slice::from_ref(&empty)).unwrap_err().to_string().contains("there is no image in"));
        assert!(expand(&[folder.path().join("*.png").into()]).unwrap_err().to_string().contains("no file matches"));
        assert!(expand(&["-".into(), "-".into()]).unwrap_err().to_string().contains("given twice"));
    }
}
