//! One image of those that a model is run on, and all of them.

use std::borrow::Cow;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use kiln_data::{Dataset, View};
use kiln_inference::Preprocessor;
use kiln_inference::image::DynamicImage;
use kiln_preprocess::{EncodedImage, ImageBytes, Orientation, PreprocessError};
use kiln_records::Content;

use super::findings::{AllFindings, Findings};
use super::shard::Shard;
use super::source::Source;
use crate::error::images::InputsError;
use crate::error::{Error, Result};

/// What stands between the names of an image's classes in predictions.
pub const SEPARATOR: char = '|';

/// Most bytes of an image that comes from a reader: 256 MiB.
const MAX_READ: u64 = 256 << 20;

/// One image.
#[derive(Debug, Clone)]
pub struct Input {
    /// Its place among all images of the source, from 0, whichever of them are asked for.
    pub index: u64,
    /// Its class, as the model counts.
    pub label: Option<u32>,
    /// Its classes, where an image can have several; there is no `label` then.
    pub labels: Option<Vec<u32>>,
    pub(super) image: Image,
}

#[derive(Debug, Clone)]
pub(super) enum Image {
    /// A file, by the path that it is shown under.
    File {
        root: Arc<Path>,
        path: PathBuf,
        /// The list that it is in, and the line, from 1.
        listed: Option<(Arc<str>, u64)>,
    },
    /// What a reader such as standard input gives.
    Reader(Arc<Mutex<Stream>>),
    /// An image of a dataset that is loaded.
    Loaded { dataset: Arc<Dataset>, index: u32 },
    /// An image in a file of many.
    Record { name: String, content: Content },
    /// An image of the program's.
    Memory(MemoryImage),
}

impl Input {
    /// Returns the name of its class; of several those of all, with `|` between them.
    pub(crate) fn label_name<'a>(&self, classes: &'a [String]) -> Option<Cow<'a, str>> {
        let name = |label: u32| classes.get(label as usize).map(String::as_str);
        match &self.labels {
            None => name(self.label?).map(Cow::Borrowed),
            Some(labels) => {
                let names: Vec<&str> = labels.iter().copied().filter_map(name).collect();
                Some(names.join(&SEPARATOR.to_string()).into())
            }
        }
    }
}

/// The bytes of a reader, read when they are first needed.
pub(super) enum Stream {
    Unread(Box<dyn Read + Send>),
    Read(Vec<u8>),
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

impl Image {
    pub(super) fn at(path: PathBuf) -> Self {
        Self::File {
            root: Path::new("").into(),
            path,
            listed: None,
        }
    }

    /// A file in a folder.
    pub(super) fn below(root: &Arc<Path>, path: PathBuf) -> Self {
        Self::File {
            root: Arc::clone(root),
            path,
            listed: None,
        }
    }

    /// The same, of a file in a line of a list.
    pub(super) fn listed(self, list: &Arc<str>, line: u64) -> Self {
        match self {
            Self::File { root, path, .. } => Self::File {
                root,
                path,
                listed: Some((Arc::clone(list), line)),
            },
            Self::Reader(_) | Self::Loaded { .. } | Self::Record { .. } | Self::Memory(_) => self,
        }
    }

    pub(super) fn reader(reader: impl Read + Send + 'static) -> Self {
        Self::Reader(Arc::new(Mutex::new(Stream::Unread(Box::new(reader)))))
    }
}

impl Input {
    /// Returns what the image is called: its path, or none where it has only a number.
    pub fn path(&self) -> Option<Cow<'_, str>> {
        match &self.image {
            Image::File { path, .. } => Some(path.to_string_lossy()),
            Image::Reader(_) => Some("-".into()),
            Image::Loaded { dataset, index } => {
                dataset.path(*index as usize).map(Path::to_string_lossy)
            }
            Image::Record { name, .. } => Some(name.as_str().into()),
            Image::Memory(_) => None,
        }
    }

    /// Returns what messages call it: its path in backquotes, or its number.
    pub(crate) fn name(&self) -> String {
        match self.path() {
            Some(path) => format!("`{path}`"),
            None => format!("image {}", self.index),
        }
    }

    /// Returns whether its path is not UTF-8, so that [`path`](Self::path) has replacement
    /// characters in it.
    pub fn is_lossy(&self) -> bool {
        matches!(self.path(), Some(Cow::Owned(_)))
    }

    /// Reads and decodes the image and writes the model's input. Returns whether the picture stays
    /// turned: its file says that it is, and the record not to turn it upright.
    pub fn prepare(
        &self,
        preprocessor: &Preprocessor,
        out: &mut [f32],
    ) -> Result<bool, PreprocessError> {
        let mut decode = |bytes: &[u8], name: &str| {
            EncodedImage::new(bytes, name).decode_then(Some(preprocessor), |pixels| {
                let turned = pixels.orientation() != Orientation::Upright;
                preprocessor.pixels(pixels, out)?;
                Ok(turned && !preprocessor.record().orientation)
            })
        };
        match &self.image {
            Image::File { root, path, listed } => {
                let prepared = ImageBytes::read(&root.join(path))
                    .and_then(|ImageBytes { name, bytes }| decode(&bytes, &name));
                prepared.map_err(|reason| match listed {
                    Some((list, line)) => reason.listed(list, *line),
                    None => reason,
                })
            }
            Image::Reader(content) => {
                let name = "standard input";
                let mut content = content.lock().unwrap_or_else(PoisonError::into_inner);
                if let Stream::Unread(reader) = &mut *content {
                    let mut bytes = Vec::new();
                    reader
                        .take(MAX_READ)
                        .read_to_end(&mut bytes)
                        .map_err(|reason| PreprocessError::Read {
                            image: name.to_owned(),
                            reason,
                        })?;
                    *content = Stream::Read(bytes);
                }
                match &*content {
                    Stream::Read(bytes) => decode(bytes, name),
                    Stream::Unread(_) => Ok(false),
                }
            }
            Image::Loaded { dataset, index } => dataset
                .prepare(*index as usize, preprocessor, None, out)
                .map(|()| false),
            Image::Record { name, content } => {
                let name = format!("`{name}`");
                let bytes = content.read().map_err(|reason| PreprocessError::Read {
                    image: name.clone(),
                    reason,
                })?;
                decode(&bytes, &name)
            }
            Image::Memory(MemoryImage::Encoded(bytes)) => {
                let name = format!("image {}", self.index);
                decode(bytes, &name)
            }
            Image::Memory(MemoryImage::Decoded(image)) => {
                preprocessor.image(image, out).map(|()| false)
            }
        }
    }
}

/// An image before it has its place.
pub(super) type Found = Result<(Image, Option<u32>)>;

/// An image of several classes before it has its place.
pub(super) type FoundSeveral = Result<(Image, Vec<u32>)>;

/// Images, one after another.
pub struct Inputs {
    /// What they come from.
    pub source: Source,
    /// How many there are, if that is known before they are found.
    pub count: Option<u64>,
    /// Whether they have paths.
    pub has_paths: bool,
    /// Whether they have labels.
    pub has_labels: bool,
    /// Whether an image can have several labels.
    pub has_several: bool,
    /// Number of images before these that have their predictions already.
    pub(crate) resumed: u64,
    /// What turns out about them while they are gone through.
    pub(crate) findings: AllFindings,
    pub(super) images: Box<dyn Iterator<Item = Result<Input>> + Send>,
    /// Finds the images of a shard, and how many there are, without going through the others; where there is none,
    /// a shard has every n-th.
    pub(super) share: Option<FindShare>,
}

/// Finds the images of a shard.
pub(super) type FindShare =
    Box<dyn FnOnce(Shard) -> (Option<u64>, Box<dyn Iterator<Item = Result<Input>> + Send>) + Send>;

impl Inputs {
    /// Numbers images of a source, which have paths and no labels.
    pub(super) fn new(
        source: Source,
        count: Option<u64>,
        images: impl Iterator<Item = Found> + Send + 'static,
    ) -> Self {
        let number = |(index, found): (u64, Found)| {
            found.map(|(image, label)| Input {
                index,
                label,
                labels: None,
                image,
            })
        };
        Self {
            source,
            count,
            has_paths: true,
            has_labels: false,
            has_several: false,
            resumed: 0,
            findings: AllFindings::default(),
            images: Box::new((0..).zip(images).map(number)),
            share: None,
        }
    }

    /// Numbers images of a source, which have paths and any number of labels each.
    pub(super) fn with_several(
        source: Source,
        images: impl Iterator<Item = FoundSeveral> + Send + 'static,
    ) -> Self {
        let number = |(index, found): (u64, FoundSeveral)| {
            found.map(|(image, labels)| Input {
                index,
                label: None,
                labels: Some(labels),
                image,
            })
        };
        Self {
            has_labels: true,
            has_several: true,
            images: Box::new((0..).zip(images).map(number)),
            ..Self::new(source, None, std::iter::empty())
        }
    }

    /// Has something turn out about the images of one source while they are gone through.
    #[must_use]
    pub(super) fn finding(mut self, findings: Findings) -> Self {
        self.findings = AllFindings::of(&self.source, findings);
        self
    }

    /// Takes the images of a view; each has the place that it has in the dataset.
    pub fn of_view(view: &View) -> Self {
        Self::of_dataset(view.dataset(), view.indices().to_vec())
    }

    /// Takes images of a dataset by their places in it, in this order.
    pub(crate) fn of_dataset(dataset: &Arc<Dataset>, indices: Vec<u32>) -> Self {
        let dataset = Arc::clone(dataset);
        let source = Source::named(dataset.name());
        let count = Some(indices.len() as u64);
        let has_paths = dataset.path(0).is_some();
        let has_several = dataset.label_sets().has_several();
        let images = indices.into_iter().map(move |index| {
            let classes = dataset.classes_of(index as usize);
            let (label, labels) = if has_several {
                (None, Some(classes.to_vec()))
            } else {
                (classes.first().copied(), None)
            };
            Ok(Input {
                index: index.into(),
                label,
                labels,
                image: Image::Loaded {
                    dataset: Arc::clone(&dataset),
                    index,
                },
            })
        });
        Self {
            source,
            count,
            has_paths,
            has_labels: true,
            has_several,
            resumed: 0,
            findings: AllFindings::default(),
            images: Box::new(images),
            share: None,
        }
    }

    /// Checks that an image has at most one label.
    ///
    /// # Errors
    ///
    /// [`InputsError::OneLabel`] if it can have several.
    pub fn check_one_label(&self) -> Result<()> {
        if self.has_several {
            let source_name = self.source.to_string();
            return Err(InputsError::OneLabel { source_name }.into());
        }
        Ok(())
    }

    /// Keeps only the images of a shard: every n-th, or of Parquet files every n-th row group.
    #[must_use]
    pub fn shard(mut self, shard: Option<Shard>) -> Self {
        let Some(shard) = shard else {
            return self;
        };
        if let Some(share) = self.share.take() {
            (self.count, self.images) = share(shard);
        } else {
            self.count = self.count.map(|count| shard.count(count));
            self.images = Box::new(
                self.images
                    .filter(move |input| input.as_ref().map_or(true, |i| shard.has(i.index))),
            );
        }
        self
    }

    /// Number of images that have their predictions already and are not among these.
    pub const fn resumed(&self) -> u64 {
        self.resumed
    }
}

impl Iterator for Inputs {
    type Item = Result<Input, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.images.next()
    }
}

/// An image in memory.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum MemoryImage {
    /// The bytes of a file, of any format that can be decoded.
    Encoded(Arc<[u8]>),
    /// Pixels.
    Decoded(Arc<DynamicImage>),
}

impl From<Vec<u8>> for MemoryImage {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Encoded(bytes.into())
    }
}

impl From<&[u8]> for MemoryImage {
    fn from(bytes: &[u8]) -> Self {
        Self::Encoded(bytes.into())
    }
}

impl From<DynamicImage> for MemoryImage {
    fn from(image: DynamicImage) -> Self {
        Self::Decoded(Arc::new(image))
    }
}

impl Inputs {
    /// Takes images from an iterator: each the bytes of a file or a decoded image, with its class
    /// as the model counts, or none. `name` is what messages and records call them.
    ///
    /// They have labels if the first of them has one, which is taken at once for this; all others
    /// are taken when their turn comes.
    ///
    /// ```
    /// use kiln_pipeline::inputs::Inputs;
    ///
    /// let images = vec![(std::fs::read("cat.png").unwrap_or_default(), Some(0))];
    /// let inputs = Inputs::from_images("my images", images);
    /// assert_eq!((inputs.count, inputs.has_labels), (Some(1), true));
    /// ```
    pub fn from_images<T, I>(name: impl Into<String>, images: I) -> Self
    where
        T: Into<MemoryImage>,
        I: IntoIterator<Item = (T, Option<u32>)>,
        I::IntoIter: Send + 'static,
        T: Send + 'static,
    {
        let mut images = images.into_iter().peekable();
        let has_labels = images.peek().is_some_and(|(_, label)| label.is_some());
        let count = match images.size_hint() {
            (least, Some(most)) if least == most => Some(least as u64),
            _ => None,
        };
        let images = images.map(|(image, label)| Ok((Image::Memory(image.into()), label)));
        Self {
            has_paths: false,
            has_labels,
            ..Self::new(Source::named(name), count, images)
        }
    }
}

#[cfg(test)]
mod tests {
    use kiln_inference::image::DynamicImage;
    use kiln_model::{Channels, Preprocessing};

    use super::*;

    #[test]
    fn images_in_memory_are_prepared_decoded_or_not() {
        let image = DynamicImage::new_luma8(2, 2);
        let mut png = std::io::Cursor::new(Vec::new());
        image
            .write_to(&mut png, kiln_inference::image::ImageFormat::Png)
            .unwrap();
        let images: [(MemoryImage, _); 3] = [
            (image.into(), Some(1)),
            (png.into_inner().into(), Some(0)),
            (b"nothing".to_vec().into(), None),
        ];
        let inputs = Inputs::from_images("mine", images);
        assert_eq!(inputs.source.to_string(), "`mine`");
        assert_eq!(
            (inputs.count, inputs.has_labels, inputs.has_paths),
            (Some(3), true, false)
        );
        let preprocessor = Preprocessor::new(Preprocessing::unit(2, 2, Channels::Gray)).unwrap();
        let mut out = vec![1.0; preprocessor.len()];
        let prepared: Vec<_> = inputs
            .map(|input| input.unwrap().prepare(&preprocessor, &mut out))
            .collect();
        assert!(prepared[0].is_ok() && prepared[1].is_ok());
        let message = prepared[2].as_ref().unwrap_err().to_string();
        assert!(message.contains("image 2"), "{message}");
    }

    #[test]
    fn a_reader_is_read_once_however_often_its_image_is_prepared() {
        let input = Input {
            index: 0,
            label: None,
            labels: None,
            image: Image::reader(&b"nothing"[..]),
        };
        let preprocessor = Preprocessor::new(Preprocessing::unit(2, 2, Channels::Gray)).unwrap();
        let mut out = vec![0.0; preprocessor.len()];
        let mut prepare = || {
            input
                .prepare(&preprocessor, &mut out)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(prepare(), prepare());
        assert_eq!(input.path().as_deref(), Some("-"));
    }
}
