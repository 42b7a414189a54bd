//! MNIST's files in a folder.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use kiln_data::{DataError, Subset, mnist};
use kiln_preprocess::RawImage;

fn idx(dims: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dims.len() as u8];
    bytes.extend(dims.iter().flat_map(|dim| dim.to_be_bytes()));
    bytes.extend(data);
    bytes
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    fs::write(folder.join(name), bytes).expect("the folder can be written to");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .expect("memory can be written to")
}

#[test]
fn plain_and_compressed_files_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    write(
        folder.path(),
        "t10k-images-idx3-ubyte",
        &idx(&[2, 1, 3], &[1, 2, 3, 4, 5, 6]),
    );
    write(
        folder.path(),
        "t10k-labels-idx1-ubyte.gz",
        &gzip(&idx(&[2], &[9, 0])),
    );
    let dataset = mnist(folder.path(), Subset::Test).expect("complete files");
    assert_eq!((dataset.name(), dataset.len()), ("mnist:test", 2));
    assert_eq!(dataset.labels(), [9, 0]);
    let image = dataset.image(1).expect("in memory");
    let expected = RawImage {
        pixels: &[4, 5, 6],
        height: 1,
        width: 3,
        channels: 1,
    };
    assert_eq!(image.as_raw(), expected);
    assert_eq!(
        dataset.classes(),
        ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
    );
}

#[test]
fn what_is_wrong_is_told_with_the_file() {
    let images = idx(&[2, 1, 1], &[1, 2]);
    let cases = [
        (
            Some(&images[..]),
            None,
            "train-labels-idx1-ubyte` is missing",
        ),
        (None, None, "train-images-idx3-ubyte` is missing"),
        (
            Some(&images),
            Some(idx(&[3], &[1, 2, 3])),
            "has 2 images and 3 labels",
        ),
        (
            Some(&images),
            Some(idx(&[2], &[1, 10])),
            "train-labels-idx1-ubyte` has label 10 for image 1: expected 0 to 9",
        ),
        (
            Some(&images),
            Some(images.clone()),
            "train-labels-idx1-ubyte` has axes [2, 1, 1]: expected labels (n)",
        ),
        (
            Some(&idx(&[2], &[1, 2])),
            Some(images.clone()),
            "train-images-idx3-ubyte` has axes [2]: expected images",
        ),
        (
            Some(&idx(&[0, 28, 28], &[])),
            Some(idx(&[0], &[])),
            "`mnist:train` has 0 images",
        ),
    ];
    for (images, labels, expected) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        if let Some(images) = images {
            write(folder.path(), "train-images-idx3-ubyte", images);
        }
        if let Some(labels) = labels {
            write(folder.path(), "train-labels-idx1-ubyte", &labels);
        }
        let error: DataError = mnist(folder.path(), Subset::Train).expect_err(expected);
        assert!(error.to_string().contains(expected), "{error}");
    }
}
