//! Images in MNIST's format.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_data::{Dataset, View};

use super::input::Inputs;
use super::source::Source;
use crate::error::Result;
use crate::error::images::InputsError;

/// Opens an IDX file of images with that of their labels beside it.
pub fn labeled(path: &Path, classes: &[String]) -> Result<Inputs> {
    let labels = labels_beside(path)?;
    let name = path.display().to_string();
    let dataset = Dataset::from_idx(&name, path, &labels, classes.to_vec())?;
    Ok(inputs(path, dataset))
}

/// Opens an IDX file of images.
pub fn unlabeled(path: &Path) -> Result<Inputs> {
    let pixels = kiln_data::read_idx(path)?;
    let [count, height, width, ref channels @ ..] = pixels.dims[..] else {
        return Err(InputsError::NotImages {
            path: path.into(),
            found: pixels.dims,
        }
        .into());
    };
    let shape = [height, width, channels.first().copied().unwrap_or(1)];
    let labels = vec![0; count as usize];
    let name = path.display().to_string();
    let dataset = Dataset::new(name, pixels.data, shape, labels, vec![String::new()])?;
    Ok(inputs(path, dataset))
}

fn inputs(path: &Path, dataset: Dataset) -> Inputs {
    Inputs {
        source: Source::at(path),
        ..Inputs::of_view(&View::all(Arc::new(dataset)))
    }
}

/// Finds the labels of an IDX file of images, by MNIST's names: `…-labels-idx1-…` beside
/// `…-images-idx3-…`.
pub(super) fn labels_beside(images: &Path) -> Result<PathBuf, InputsError> {
    let name = images
        .file_name()
        .and_then(OsStr::to_str)
        .unwrap_or_default();
    let labels = name
        .replace("images", "labels")
        .replace("idx3", "idx1")
        .replace("idx4", "idx1");
    let plain = labels.strip_suffix(".gz").unwrap_or(&labels);
    let candidates = [
        images.with_file_name(&labels),
        images.with_file_name(plain),
        images.with_file_name(format!("{plain}.gz")),
    ];
    let found = candidates
        .into_iter()
        .find(|path| path != images && path.is_file());
    found.ok_or_else(|| InputsError::NoLabelFile {
        images: images.into(),
        expected: plain.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_lie_beside_images() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("t10k-labels-idx1-ubyte"), "").unwrap();
        for images in ["t10k-images-idx3-ubyte", "t10k-images-idx3-ubyte.gz"] {
            assert_eq!(
                labels_beside(&path(images)).unwrap(),
                path("t10k-labels-idx1-ubyte")
            );
        }
        assert!(labels_beside(&path("t10k-labels-idx1-ubyte")).is_err());
        let error = labels_beside(&path("train-images-idx3-ubyte")).unwrap_err();
        assert!(error.to_string().contains("train-labels-idx1"), "{error}");
    }
}
