//! Labeled images: a dataset, and those with names.

use std::fmt;
use std::path::{Path, PathBuf};

use kiln_preprocess::{PreprocessError, Preprocessor, RawImage, Transform};
use kiln_records::Cifar;

use crate::images::{Image, ImageFiles, Preparation};
use crate::{DataError, LabelSets, read_idx};

/// Images with a label each: a class, or a set of classes where an image can have several.
///
/// Images in memory are kept as the bytes they come in, a quarter of what tensors would take; those
/// of files are decoded as they are needed.
pub struct Dataset {
    name: String,
    images: Images,
    /// Numbers of sets.
    labels: Vec<u32>,
    sets: LabelSets,
    classes: Vec<String>,
}

enum Images {
    /// In memory, all of one size, NHWC.
    Memory {
        pixels: Vec<u8>,
        /// Height, width, channels.
        shape: [u32; 3],
        /// `shape`'s product.
        stride: usize,
    },
    Files(ImageFiles),
}

impl Dataset {
    /// Creates a dataset of images `[n, height, width, channels]` with `n` labels, each an index into
    /// `classes`.
    ///
    /// `shape` is height, width and channels: 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha.
    pub fn new(
        name: impl Into<String>,
        images: Vec<u8>,
        shape: [u32; 3],
        labels: Vec<u32>,
        classes: Vec<String>,
    ) -> Result<Self, DataError> {
        let name = name.into();
        let [height, width, channels] = shape;
        let bytes = images.len();
        let stride = shape
            .iter()
            .try_fold(1usize, |product, &side| product.checked_mul(side as usize));
        let stride = match stride {
            Some(stride) if stride > 0 && channels <= 4 && bytes.is_multiple_of(stride) => stride,
            _ => {
                return Err(DataError::Shape {
                    name,
                    height,
                    width,
                    channels,
                    found: bytes as u64,
                });
            }
        };
        let count = bytes / stride;
        if count == 0 || u32::try_from(count).is_err() || classes.is_empty() {
            return Err(DataError::Extent {
                name,
                images: count as u64,
                classes: classes.len(),
            });
        }
        let place = || format!("dataset `{name}`");
        if labels.len() != count {
            return Err(DataError::Counts {
                place: place(),
                images: count as u64,
                labels: labels.len() as u64,
            });
        }
        check_labels(&labels, classes.len(), place)?;
        Ok(Self {
            name,
            images: Images::Memory {
                pixels: images,
                shape,
                stride,
            },
            labels,
            sets: LabelSets::exclusive(classes.len()),
            classes,
        })
    }

    /// Reads a dataset from two IDX files: images, `[n, height, width]` or `[n, height, width,
    /// channels]`, and labels, `[n]`.
    pub fn from_idx(
        name: impl Into<String>,
        images: &Path,
        labels: &Path,
        classes: Vec<String>,
    ) -> Result<Self, DataError> {
        let pixels = read_idx(images)?;
        let shape = Self::idx_shape(images, &pixels.dims)?;
        let values = read_idx(labels)?;
        Self::check_idx_labels((images, labels), &pixels.dims, &values.dims)?;
        let values: Vec<u32> = values.data.into_iter().map(u32::from).collect();
        check_labels(&values, classes.len(), || format!("`{}`", labels.display()))?;
        Self::new(name, pixels.data, shape, values, classes)
    }

    /// Returns height, width and channels of the images in an IDX file, by its axes.
    pub(crate) fn idx_shape(images: &Path, dims: &[u32]) -> Result<[u32; 3], DataError> {
        match *dims {
            [_, height, width] => Ok([height, width, 1]),
            [_, height, width, channels] => Ok([height, width, channels]),
            _ => Err(axes(
                images,
                "images (n, height, width) or (n, height, width, channels)",
                dims.to_vec(),
            )),
        }
    }

    /// Checks that a file of labels is one, and has as many as there are images.
    pub(crate) fn check_idx_labels(
        (images, labels): (&Path, &Path),
        dims: &[u32],
        label_dims: &[u32],
    ) -> Result<(), DataError> {
        let [label_count] = *label_dims else {
            return Err(axes(labels, "labels (n)", label_dims.to_vec()));
        };
        let count = dims.first().copied().unwrap_or(0);
        if count != label_count {
            let place = format!("`{}` with `{}`", images.display(), labels.display());
            return Err(DataError::Counts {
                place,
                images: count.into(),
                labels: label_count.into(),
            });
        }
        Ok(())
    }

    /// Creates a dataset of files that were read, at least one, each with a label that is the number of a set of
    /// indices into `classes`.
    pub(crate) fn from_files(
        name: String,
        files: ImageFiles,
        labels: Vec<u32>,
        sets: LabelSets,
        classes: Vec<String>,
    ) -> Result<Self, DataError> {
        if labels.is_empty() || u32::try_from(labels.len()).is_err() {
            return Err(DataError::Extent {
                name,
                images: labels.len() as u64,
                classes: classes.len(),
            });
        }
        Ok(Self {
            name,
            images: Images::Files(files),
            labels,
            sets,
            classes,
        })
    }

    /// Returns the name, as in "mnist:train", or the path of the files.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the number of images, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a dataset is never empty")]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Returns an image, counted from 0; of a file that is not in memory, reads and decodes it.
    ///
    /// # Panics
    ///
    /// If there is no such image.
    pub fn image(&self, index: usize) -> Result<Image<'_>, PreprocessError> {
        match &self.images {
            Images::Memory {
                pixels,
                shape: [height, width, channels],
                stride,
            } => {
                let pixels = &pixels[index * stride..][..*stride];
                Ok(Image::Borrowed(RawImage {
                    pixels,
                    height: *height,
                    width: *width,
                    channels: *channels,
                }))
            }
            Images::Files(files) => files.image(index),
        }
    }

    /// Writes the tensor of an image, counted from 0, to `out`, which has as many values as the
    /// preprocessor says; transformed if it is to be. Of a file that is not in memory, reads and
    /// decodes it.
    ///
    /// A dataset that keeps pixels keeps those of an image larger than the tensor at the tensor's size:
    /// the values are the same to the last bit.
    ///
    /// # Panics
    ///
    /// If there is no such image.
    pub fn prepare(
        &self,
        index: usize,
        preprocessor: &Preprocessor,
        transform: Option<&Transform>,
        out: &mut [f32],
    ) -> Result<(), PreprocessError> {
        let preparation = Preparation {
            preprocessor,
            transform,
        };
        match &self.images {
            Images::Memory { .. } => preparation.of_pixels(self.image(index)?.as_raw(), out),
            Images::Files(files) => files.prepare(index, preparation, out),
        }
    }

    /// Returns bytes that tell an image from others: its pixels, or the SHA-256 of its file.
    pub fn identity(&self, index: usize) -> &[u8] {
        match &self.images {
            Images::Memory { pixels, stride, .. } => &pixels[index * stride..][..*stride],
            Images::Files(files) => files.sha256(index),
        }
    }

    /// Returns the path of an image's file, relative to the dataset; none for images in memory.
    pub fn path(&self, index: usize) -> Option<&Path> {
        match &self.images {
            Images::Memory { .. } => None,
            Images::Files(files) => Some(files.path(index)),
        }
    }

    /// Computes, of a dataset of files, the SHA-256 of what `sha256sum` prints for them in their
    /// order; none for images in memory.
    pub fn checksum(&self) -> Option<String> {
        match &self.images {
            Images::Memory { .. } => None,
            Images::Files(files) => Some(files.checksum()),
        }
    }

    /// Counts the images that show more than grays, as far as that is known: files are looked at where
    /// they were decoded when they were read.
    pub fn colored(&self) -> usize {
        match &self.images {
            Images::Memory { .. } => 0,
            Images::Files(files) => files.colored(),
        }
    }

    /// Returns whether images are always in memory, and not files that may have to be decoded.
    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self.images, Images::Memory { .. })
    }

    /// Returns the label of each image: the number of its [set](Self::label_sets), which is an index into
    /// [`classes`](Self::classes) where an image has one class.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Returns the sets of classes that images have.
    pub fn label_sets(&self) -> &LabelSets {
        &self.sets
    }

    /// Returns the classes of an image, counted from 0: indices into [`classes`](Self::classes), in ascending order.
    ///
    /// # Panics
    ///
    /// If there is no such image.
    pub fn classes_of(&self, index: usize) -> &[u32] {
        self.sets.of(self.labels[index])
    }

    /// Returns the name of each class.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }
}

impl fmt::Debug for Dataset {
    /// Leaves out the pixels and labels.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dataset")
            .field("name", &self.name)
            .field("len", &self.len())
            .field("classes", &self.classes)
            .finish_non_exhaustive()
    }
}

fn axes(path: &Path, expected: &'static str, found: Vec<u32>) -> DataError {
    DataError::Axes {
        path: path.into(),
        expected,
        found,
    }
}

fn check_labels(
    labels: &[u32],
    classes: usize,
    place: impl FnOnce() -> String,
) -> Result<(), DataError> {
    match labels.iter().position(|&label| label as usize >= classes) {
        Some(index) => Err(DataError::Label {
            place: place(),
            index,
            found: labels[index],
            classes,
        }),
        None => Ok(()),
    }
}

/// A subset of a dataset that comes in two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subset {
    /// For training and validation; 60,000 images in MNIST.
    Train,
    /// For the final measurement; 10,000 images in MNIST.
    Test,
}

impl Subset {
    /// Returns the name: "train" or "test".
    pub const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }

    /// Returns the beginning of the names of MNIST's files.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "t10k",
        }
    }
}

/// Reads MNIST from its files in `folder`: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and
/// the two that begin with `t10k`, plain or with `.gz`.
///
/// The classes are "0" to "9". The number and size of the images are as the files say, so excerpts
/// work too.
pub fn mnist(folder: &Path, subset: Subset) -> Result<Dataset, DataError> {
    let classes = (0..10).map(|digit| digit.to_string()).collect();
    like_mnist("mnist", folder, subset, classes)
}

/// The classes of Fashion-MNIST, as its authors list them.
const CLOTHES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// Reads Fashion-MNIST from its files in `folder`, which have the names of MNIST's.
pub fn fashion_mnist(folder: &Path, subset: Subset) -> Result<Dataset, DataError> {
    like_mnist(
        "fashion-mnist",
        folder,
        subset,
        CLOTHES.map(String::from).into(),
    )
}

fn like_mnist(
    name: &str,
    folder: &Path,
    subset: Subset,
    classes: Vec<String>,
) -> Result<Dataset, DataError> {
    let images = find(folder, &format!("{}-images-idx3-ubyte", subset.prefix()))?;
    let labels = find(folder, &format!("{}-labels-idx1-ubyte", subset.prefix()))?;
    Dataset::from_idx(
        format!("{name}:{}", subset.name()),
        &images,
        &labels,
        classes,
    )
}

/// Reads CIFAR-10 from `cifar-10-binary.tar.gz` in `folder`: the archive in which its authors publish it for C programs. The
/// classes are those that it names, "airplane" to "truck".
pub fn cifar_10(folder: &Path, subset: Subset) -> Result<Dataset, DataError> {
    let files = match subset {
        Subset::Train => &[
            "data_batch_1.bin",
            "data_batch_2.bin",
            "data_batch_3.bin",
            "data_batch_4.bin",
            "data_batch_5.bin",
        ][..],
        Subset::Test => &["test_batch.bin"],
    };
    let archive = folder.join("cifar-10-binary.tar.gz");
    let cifar = Cifar::read_archive(&archive, files).map_err(crate::FilesError::from)?;
    let labels = cifar.labels.into_iter().map(u32::from).collect();
    Dataset::new(
        format!("cifar-10:{}", subset.name()),
        cifar.pixels,
        Cifar::SHAPE,
        labels,
        cifar.names.unwrap_or_default(),
    )
}

/// Finds the file of this name, or the compressed one.
fn find(folder: &Path, name: &str) -> Result<PathBuf, DataError> {
    [folder.join(name), folder.join(format!("{name}.gz"))]
        .into_iter()
        .find(|path| path.exists())
        .ok_or_else(|| DataError::Missing {
            folder: folder.into(),
            name: name.into(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(n: usize) -> Vec<String> {
        (0..n).map(|i| i.to_string()).collect()
    }

    #[test]
    fn images_lie_one_after_another() {
        let dataset =
            Dataset::new("d", (0..12).collect(), [1, 2, 3], vec![1, 0], classes(2)).unwrap();
        assert_eq!((dataset.len(), dataset.labels()), (2, &[1, 0][..]));
        let expected = RawImage {
            pixels: &[6, 7, 8, 9, 10, 11],
            height: 1,
            width: 2,
            channels: 3,
        };
        assert_eq!(dataset.image(1).unwrap(), Image::Borrowed(expected));
        assert_eq!(
            (dataset.identity(1), dataset.path(1)),
            (expected.pixels, None)
        );
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let error = |bytes, shape, labels: &[u32], n| {
            Dataset::new("d", vec![0; bytes], shape, labels.to_vec(), classes(n))
                .unwrap_err()
                .to_string()
        };
        assert!(
            error(5, [1, 2, 1], &[0, 0], 1)
                .contains("5 bytes of pixels: expected a multiple of 1x2x1")
        );
        assert!(error(4, [0, 2, 1], &[0], 1).contains("0x2x1"));
        assert!(error(5, [1, 1, 5], &[0], 1).contains("1 to 4 channels"));
        assert!(error(4, [u32::MAX, u32::MAX, u32::MAX], &[0], 1).contains("4294967295x"));
        assert!(error(4, [1, 2, 1], &[0], 1).contains("2 images and 1 labels"));
        assert!(error(4, [1, 2, 1], &[0, 3], 3).contains("label 3 for image 1: expected 0 to 2"));
        assert!(error(0, [1, 2, 1], &[], 3).contains("0 images"));
        assert!(error(2, [1, 2, 1], &[0], 0).contains("0 classes"));
    }
}
