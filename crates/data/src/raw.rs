//! Datasets of pixels that fit in memory: pairs of IDX files, and CIFAR's files.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use kiln_records::{Cifar, Format, RecordFiles, read_idx};

use crate::{DataError, Dataset, record_subsets};

/// Pixels of images of one size, with the value of each one's label.
struct Raw {
    pixels: Vec<u8>,
    /// Height, width, channels.
    shape: [u32; 3],
    labels: Vec<u8>,
    /// Names of the classes, which labels count.
    names: Option<Vec<String>>,
}

/// The subsets of a dataset in memory: to train on, to validate on, to test on. All have the classes of the first.
#[derive(Debug)]
pub struct RawSubsets {
    /// Images to train on, or all images.
    pub train: Dataset,
    /// Validation images, if there are some.
    pub validation: Option<Dataset>,
    /// Test images, if there are some.
    pub test: Option<Dataset>,
}

/// Reads IDX files of images with those of their labels beside them, or CIFAR's files, one after another as one dataset.
///
/// The classes are the values that occur as labels, or where CIFAR's names are beside its files all of these.
pub fn raw_dataset(name: &str, files: &RecordFiles) -> Result<Dataset, DataError> {
    let raw = read(files)?;
    let classes = class_values(&raw);
    dataset(name, raw, &classes, files)
}

/// Reads the subsets of such files, by their names.
pub fn raw_subsets(files: &RecordFiles) -> Result<RawSubsets, DataError> {
    let [train, validation, test] = record_subsets(files);
    let Some(train) = train else {
        return Err(crate::files::no_train(files).into());
    };
    let name = files.name.display().to_string();
    let of_train = read(&train)?;
    let classes = class_values(&of_train);
    let subset = |subset: &str, files: Option<RecordFiles>| -> Result<_, DataError> {
        let Some(files) = files else {
            return Ok(None);
        };
        let name = format!("{name} ({subset})");
        dataset(&name, read(&files)?, &classes, &files).map(Some)
    };
    let train_name = if validation.is_none() && test.is_none() {
        name.clone()
    } else {
        format!("{name} (train)")
    };
    Ok(RawSubsets {
        train: dataset(&train_name, of_train, &classes, &train)?,
        validation: subset("validation", validation)?,
        test: subset("test", test)?,
    })
}

/// Values of labels and the names of their classes, in order.
fn class_values(raw: &Raw) -> Vec<(u8, String)> {
    if let Some(names) = &raw.names {
        return (0..).zip(names.iter().cloned()).collect();
    }
    let values: BTreeSet<u8> = raw.labels.iter().copied().collect();
    let named = values.into_iter().map(|value| (value, value.to_string()));
    named.collect()
}

fn dataset(
    name: &str,
    raw: Raw,
    classes: &[(u8, String)],
    files: &RecordFiles,
) -> Result<Dataset, DataError> {
    let number = |label: u8| classes.iter().position(|(value, _)| *value == label);
    let labels = raw.labels.iter().enumerate().map(|(index, &label)| {
        number(label)
            .map(|number| number as u32)
            .ok_or_else(|| DataError::Label {
                place: format!("`{}`", files.name.display()),
                index,
                found: label.into(),
                classes: classes.len(),
            })
    });
    let labels = labels.collect::<Result<Vec<u32>, _>>()?;
    let names = classes.iter().map(|(_, name)| name.clone()).collect();
    Dataset::new(name, raw.pixels, raw.shape, labels, names)
}

fn read(files: &RecordFiles) -> Result<Raw, DataError> {
    let mut all: Option<Raw> = None;
    for path in &files.files {
        let raw = match files.format {
            Format::Idx => idx(path)?,
            Format::Cifar => cifar(path)?,
            Format::Parquet | Format::Tar => {
                return Err(DataError::Missing {
                    folder: path.clone(),
                    name: "images-idx3-ubyte".into(),
                });
            }
        };
        match &mut all {
            None => all = Some(raw),
            Some(all) if all.shape == raw.shape => {
                all.pixels.extend(raw.pixels);
                all.labels.extend(raw.labels);
            }
            Some(all) => {
                let [height, width, channels] = all.shape;
                return Err(DataError::Shape {
                    name: path.display().to_string(),
                    height,
                    width,
                    channels,
                    found: raw.pixels.len() as u64,
                });
            }
        }
    }
    all.ok_or_else(|| DataError::Extent {
        name: files.name.display().to_string(),
        images: 0,
        classes: 0,
    })
}

fn cifar(path: &Path) -> Result<Raw, DataError> {
    let cifar = Cifar::read(path).map_err(crate::FilesError::from)?;
    Ok(Raw {
        pixels: cifar.pixels,
        shape: Cifar::SHAPE,
        labels: cifar.labels,
        names: cifar.names,
    })
}

fn idx(images: &Path) -> Result<Raw, DataError> {
    let labels = idx_labels(images)?;
    let pixels = read_idx(images)?;
    let shape = Dataset::idx_shape(images, &pixels.dims)?;
    let values = read_idx(&labels)?;
    Dataset::check_idx_labels((images, &labels), &pixels.dims, &values.dims)?;
    Ok(Raw {
        pixels: pixels.data,
        shape,
        labels: values.data,
        names: None,
    })
}

/// Finds the labels of an IDX file of images, by MNIST's names: `…-labels-idx1-…` beside
/// `…-images-idx3-…`.
pub fn idx_labels(images: &Path) -> Result<PathBuf, DataError> {
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
    found.ok_or_else(|| DataError::NoLabelFile {
        images: images.into(),
        expected: plain.into(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::Format;

    #[test]
    fn labels_lie_beside_images() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("t10k-labels-idx1-ubyte"), "").unwrap();
        for images in ["t10k-images-idx3-ubyte", "t10k-images-idx3-ubyte.gz"] {
            assert_eq!(
                idx_labels(&path(images)).unwrap(),
                path("t10k-labels-idx1-ubyte")
            );
        }
        assert!(idx_labels(&path("t10k-labels-idx1-ubyte")).is_err());
        let error = idx_labels(&path("train-images-idx3-ubyte")).unwrap_err();
        assert!(error.to_string().contains("train-labels-idx1"), "{error}");
    }

    fn idx(dims: &[u32], values: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, dims.len() as u8];
        bytes.extend(dims.iter().flat_map(|dim| dim.to_be_bytes()));
        bytes.extend(values);
        bytes
    }

    #[test]
    fn any_pair_of_a_folder_is_a_dataset() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, bytes: Vec<u8>| fs::write(folder.path().join(name), bytes).unwrap();
        let pair = |prefix: &str, labels: &[u8]| {
            let count = labels.len() as u32;
            write(
                &format!("{prefix}-images-idx3-ubyte"),
                idx(&[count, 1, 2], &[9, 8].repeat(labels.len())),
            );
            write(
                &format!("{prefix}-labels-idx1-ubyte"),
                idx(&[count], labels),
            );
        };
        // EMNIST's letters count from 1.
        pair("emnist-letters-train", &[1, 26, 1]);
        pair("emnist-letters-test", &[26]);
        let files = RecordFiles::find(folder.path()).unwrap();
        assert_eq!((files.format, files.files.len()), (Format::Idx, 2));
        let subsets = raw_subsets(&files).unwrap();
        assert_eq!(subsets.train.classes(), ["1", "26"]);
        assert_eq!(subsets.train.labels(), [0, 1, 0]);
        assert_eq!(subsets.test.unwrap().labels(), [1]);
        assert!(subsets.validation.is_none());
        pair("emnist-letters-test", &[2]);
        let message = raw_subsets(&files).unwrap_err().to_string();
        assert!(message.contains("label 2"), "{message}");
    }
}
