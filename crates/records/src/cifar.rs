//! CIFAR's binary files: each image one byte of label, of CIFAR-100 two, and 32 rows of 32 pixels in red, then in
//! green, then in blue. <https://www.cs.toronto.edu/~kriz/cifar.html> describes them.

use std::fs;
use std::path::Path;

use crate::error::{Problem, RecordsError};
use crate::source::Source;
use crate::tar;

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

    /// Reads those files of CIFAR-10 that have such names out of the archive in which it is published, one after another by their
    /// names.
    ///
    /// # Errors
    ///
    /// If the archive cannot be read, or lacks one of the files.
    pub fn read_archive(path: &Path, names: &[&str]) -> Result<Self, RecordsError> {
        Self::unpack(path, names).map_err(|problem| problem.of(path))
    }

    fn unpack(path: &Path, names: &[&str]) -> Result<Self, Problem> {
        let source = Source::open(path).map_err(|error| error.problem)?;
        let is_wanted = |name: &str| name == NAMES[0].0 || names.contains(&name);
        let files = tar::read_files(source, RECORD_10 * MAX_IMAGES, is_wanted)?;
        let file = |name: &str| {
            let found = files.iter().find(|(found, _)| found == name);
            found.map(|(_, bytes)| bytes).ok_or(Problem::Damaged(
                "it is not the archive of CIFAR-10 for C programs, or not all of it",
            ))
        };
        let mut all = Self {
            pixels: Vec::new(),
            labels: Vec::new(),
            names: Some(lines(&String::from_utf8_lossy(file(NAMES[0].0)?))),
        };
        for name in names {
            let bytes = file(name)?;
            if !(bytes.len() as u64).is_multiple_of(RECORD_10) {
                return Err(EXPECTED);
            }
            all.add(bytes, RECORD_10)?;
        }
        Ok(all)
    }

    fn parse(path: &Path) -> Result<Self, Problem> {
        let length = record(path)?;
        let mut all = Self {
            pixels: Vec::new(),
            labels: Vec::new(),
            names: names(path, length)?,
        };
        let classes = all.add(&fs::read(path)?, length)?;
        all.names = all.names.filter(|names| names.len() == classes);
        Ok(all)
    }

    /// Adds images of `length` bytes each. Returns how many classes there are.
    fn add(&mut self, bytes: &[u8], length: u64) -> Result<usize, Problem> {
        let of_labels = length as usize - 3 * PIXELS;
        self.pixels.reserve(bytes.len());
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
            self.labels.push(label);
            let (red, rest) = planes.split_at(PIXELS);
            let (green, blue) = rest.split_at(PIXELS);
            let colors = red.iter().zip(green).zip(blue);
            self.pixels
                .extend(colors.flat_map(|((&red, &green), &blue)| [red, green, blue]));
        }
        Ok(classes)
    }
}

/// What a file is not.
const EXPECTED: Problem =
    Problem::Damaged("expected images of 3,073 bytes each (CIFAR-10) or 3,074 (CIFAR-100)");

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
    let record = found.ok_or(EXPECTED)?;
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
    Ok(Some(lines(&fs::read_to_string(file)?)))
}

fn lines(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive with files of these names, one image each, whose label is the digit in the name, or 0.
    fn archive(folder: &Path, names: &[&str]) -> std::path::PathBuf {
        let path = folder.join("cifar-10-binary.tar.gz");
        let mut tar = Vec::new();
        for name in names {
            let digit = name
                .bytes()
                .find(u8::is_ascii_digit)
                .map_or(0, |d| d - b'0');
            let content = match *name {
                "batches.meta.txt" => b"a\nb\nc\n\n".to_vec(),
                _ => [&[digit][..], &[digit; 3072]].concat(),
            };
            tar.extend(tar::member(
                &format!("cifar-10-batches-bin/{name}"),
                &content,
            ));
        }
        tar.resize(tar.len() + 1024, 0);
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, &tar).unwrap();
        fs::write(&path, encoder.finish().unwrap()).unwrap();
        path
    }

    #[test]
    fn an_archive_is_read_by_the_names_of_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let names = [
            "batches.meta.txt",
            "data_batch_2.bin",
            "readme.html",
            "data_batch_1.bin",
        ];
        let path = archive(folder.path(), &names);
        let read = |names: &[&str]| Cifar::read_archive(&path, names);
        let both = read(&["data_batch_1.bin", "data_batch_2.bin"]).unwrap();
        assert_eq!((both.labels, both.pixels.len()), (vec![1, 2], 2 * 3072));
        assert_eq!(both.names.unwrap(), ["a", "b", "c"]);
        let error = read(&["test_batch.bin"]).unwrap_err().to_string();
        assert!(error.contains("not the archive of CIFAR-10"), "{error}");
    }

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
