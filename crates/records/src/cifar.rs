//! CIFAR's binary files: each image one byte of label, of CIFAR-100 two, and 32 rows of 32 pixels in red, then in
//! green, then in blue. <https://www.cs.toronto.edu/~kriz/cifar.html> describes them.

use std::fs;
use std::path::Path;

use crate::error::{Problem, RecordsError};

/// Height and width.
const SIDE: usize = 32;
const PIXELS: usize = SIDE * SIDE;

/// Bytes of an image of CIFAR-10.
const RECORD_10: u64 = 1 + 3 * PIXELS as u64;

/// Bytes of an image of CIFAR-100, which has a coarse label before the fine one.
const RECORD_100: u64 = 2 + 3 * PIXELS as u64;

/// Most images of a file that is read whole: 20 times as many as there are.
const MAX_IMAGES: u64 = 1_000_000;

/// Files that name the classes, one a line, beside those of the images.
const NAMES: [(&str, u64); 2] = [
    ("batches.meta.txt", RECORD_10),
    ("fine_label_names.txt", RECORD_100),
];

/// The images of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cifar {
    /// Pixels of all images, `[n, 32, 32, 3]`.
    pub pixels: Vec<u8>,
    /// The class of each, 0 to 9 or 0 to 99 (the fine one).
    pub labels: Vec<u8>,
    /// Names of the classes, from the file beside it; none where that is missing.
    pub names: Option<Vec<String>>,
}

impl Cifar {
    /// Height, width and channels of an image.
    pub const SHAPE: [u32; 3] = [32, 32, 3];

    /// Returns whether a file is one of CIFAR's: `.bin`, with a length that is a multiple of an image's.
    pub fn is(path: &Path) -> bool {
        let is_bin = path
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("bin"));
        is_bin && path.is_file() && record(path).is_ok()
    }

    /// Reads a file, and the names of the classes beside it.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or is none of CIFAR's.
    pub fn read(path: &Path) -> Result<Self, RecordsError> {
        Self::parse(path).map_err(|problem| problem.of(path))
    }

    fn parse(path: &Path) -> Result<Self, Problem> {
        let length = record(path)?;
        let bytes = fs::read(path)?;
        let of_labels = length as usize - 3 * PIXELS;
        let (mut pixels, mut labels) = (Vec::with_capacity(bytes.len()), Vec::new());
        let classes = if of_labels == 1 { 10 } else { 100 };
        for (at, image) in bytes.chunks_exact(length as usize).enumerate() {
            let (label, planes) = image.split_at(of_labels);
            let label = label[of_labels - 1];
            if usize::from(label) >= classes {
                return Err(Problem::LabelRange {
                    record: format!("image {at}"),
                    label: label.into(),
                    classes,
                });
            }
            labels.push(label);
            let (red, rest) = planes.split_at(PIXELS);
            let (green, blue) = rest.split_at(PIXELS);
            let colors = red.iter().zip(green).zip(blue);
            pixels.extend(colors.flat_map(|((&red, &green), &blue)| [red, green, blue]));
        }
        Ok(Self {
            pixels,
            labels,
            names: names(path, length)?.filter(|names| names.len() == classes),
        })
    }
}

/// The length of an image in a file.
fn record(path: &Path) -> Result<u64, Problem> {
    let length = fs::metadata(path)?.len();
    // The name decides where both fit, which is at millions of images.
    let of_100 = path.with_file_name(NAMES[1].0).is_file();
    let lengths = if of_100 {
        [RECORD_100, RECORD_10]
    } else {
        [RECORD_10, RECORD_100]
    };
    let found = lengths
        .into_iter()
        .find(|&record| length > 0 && length % record == 0);
    let record = found.ok_or(Problem::Damaged(
        "expected images of 3,073 bytes each (CIFAR-10) or 3,074 (CIFAR-100)",
    ))?;
    if length / record > MAX_IMAGES {
        return Err(Problem::Memory(length));
    }
    Ok(record)
}

fn names(path: &Path, length: u64) -> Result<Option<Vec<String>>, Problem> {
    let Some((name, _)) = NAMES.iter().find(|(_, record)| *record == length) else {
        return Ok(None);
    };
    let file = path.with_file_name(name);
    if !file.is_file() {
        return Ok(None);
    }
    let text = fs::read_to_string(file)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(Some(lines.map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_become_pixels() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data_batch_1.bin");
        let image = |label: &[u8], values: [u8; 3]| {
            let planes = values.into_iter().flat_map(|value| [value; PIXELS]);
            label.iter().copied().chain(planes).collect::<Vec<u8>>()
        };
        fs::write(
            &path,
            [image(&[9], [1, 2, 3]), image(&[0], [4, 5, 6])].concat(),
        )
        .unwrap();
        assert!(Cifar::is(&path));
        let cifar = Cifar::read(&path).unwrap();
        assert_eq!(
            (cifar.pixels.len(), &cifar.labels[..]),
            (2 * 3072, &[9, 0][..])
        );
        assert_eq!(
            (&cifar.pixels[..4], &cifar.pixels[3072..3075]),
            (&[1, 2, 3, 1][..], &[4, 5, 6][..])
        );
        assert_eq!(cifar.names, None);
        fs::write(
            folder.path().join("batches.meta.txt"),
            "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n",
        )
        .unwrap();
        assert_eq!(Cifar::read(&path).unwrap().names.unwrap()[9], "j");
        fs::write(&path, image(&[19, 99], [7, 8, 9])).unwrap();
        assert_eq!(Cifar::read(&path).unwrap().labels, [99]);
        fs::write(&path, image(&[10], [7, 8, 9])).unwrap();
        let message = Cifar::read(&path).unwrap_err().to_string();
        assert!(
            message.contains("image 0 has the label 10: expected 0 to 9"),
            "{message}"
        );
        fs::write(&path, [0; 3000]).unwrap();
        assert!(!Cifar::is(&path));
        let message = Cifar::read(&path).unwrap_err().to_string();
        assert!(
            message.contains("expected images of 3,073 bytes"),
            "{message}"
        );
    }
}
