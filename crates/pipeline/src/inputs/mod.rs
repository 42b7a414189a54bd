//! What a model is run on: images with their place in the order, and their labels where they have
//! any. Nothing is read before its turn.

mod labels;
mod open;
mod shard;
mod source;
mod stdin;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_data::{Dataset, View};
use kiln_inference::Preprocessor;
use kiln_preprocess::{Pixels, PreprocessError};

pub use labels::Labels;
pub use open::{labelled, unlabelled};
pub use shard::Shard;
pub use source::{Source, quoted};
use stdin::Stdin;

/// Most bytes read from standard input: 256 MiB.
const MAX_STDIN: u64 = 256 << 20;

/// One image.
#[derive(Debug, Clone)]
pub struct Input {
    /// Its place among all images of the source, from 0, whichever of them are asked for.
    pub index: u64,
    /// Its class, counted as the model counts.
    pub label: Option<u32>,
    image: Image,
}

#[derive(Debug, Clone)]
enum Image {
    /// A file, by the path that it is shown under.
    File {
        root: Arc<Path>,
        path: PathBuf,
    },
    Stdin,
    /// An image of a data set that is loaded.
    Loaded {
        dataset: Arc<Dataset>,
        index: u32,
    },
}

impl Input {
    /// What the image is called: its path, or none where it has only a number.
    pub fn path(&self) -> Option<Cow<'_, str>> {
        match &self.image {
            Image::File { path, .. } => Some(path.to_string_lossy()),
            Image::Stdin => Some("-".into()),
            Image::Loaded { dataset, index } => {
                dataset.path(*index as usize).map(Path::to_string_lossy)
            }
        }
    }

    /// Whether its path is not UTF-8, so that [`path`](Self::path) has replacement characters in
    /// it.
    pub fn is_lossy(&self) -> bool {
        matches!(self.path(), Some(Cow::Owned(_)))
    }

    /// Reads and decodes the image and writes the model's input.
    pub fn prepare(
        &self,
        preprocessor: &Preprocessor,
        out: &mut [f32],
    ) -> Result<(), PreprocessError> {
        let read = |reason, name: &str| PreprocessError::Read {
            image: name.to_owned(),
            reason,
        };
        match &self.image {
            Image::File { root, path } => {
                let path = root.join(path);
                let name = format!("`{}`", path.display());
                let bytes = std::fs::read(path).map_err(|reason| read(reason, &name))?;
                preprocessor.raw(Pixels::decode(&bytes, &name)?.as_raw(), out)
            }
            Image::Stdin => {
                let (name, mut bytes) = ("standard input", Vec::new());
                Stdin::default()
                    .take(MAX_STDIN)
                    .read_to_end(&mut bytes)
                    .map_err(|reason| read(reason, name))?;
                preprocessor.raw(Pixels::decode(&bytes, name)?.as_raw(), out)
            }
            Image::Loaded { dataset, index } => {
                preprocessor.raw(dataset.image(*index as usize)?.as_raw(), out)
            }
        }
    }
}

/// An image before it has its place.
type Found = anyhow::Result<(Image, Option<u32>)>;

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
    /// How many more stand in front of these that have their predictions already.
    pub resumed: u64,
    /// How many [`take_at`](Self::take_at) passed over.
    pub passed: u64,
    images: Box<dyn Iterator<Item = anyhow::Result<Input>> + Send>,
}

impl Inputs {
    fn new(
        source: Source,
        count: Option<u64>,
        images: impl Iterator<Item = Found> + Send + 'static,
    ) -> Self {
        let number = |(index, found): (u64, Found)| {
            found.map(|(image, label)| Input {
                index,
                label,
                image,
            })
        };
        let images = Box::new((0..).zip(images).map(number));
        Self {
            source,
            count,
            has_paths: true,
            has_labels: false,
            resumed: 0,
            passed: 0,
            images,
        }
    }

    /// The images of a view; each has the place that it has in the data set.
    pub fn of_view(view: &View) -> Self {
        let dataset = Arc::clone(view.dataset());
        let (source, count) = (Source::named(dataset.name()), Some(view.len() as u64));
        let has_paths = dataset.path(0).is_some();
        let indices = view.indices().to_vec();
        let images = indices.into_iter().map(move |index| {
            let label = Some(dataset.labels()[index as usize]);
            Ok(Input {
                index: index.into(),
                label,
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
            resumed: 0,
            passed: 0,
            images: Box::new(images),
        }
    }

    /// Only the images of a shard.
    #[must_use]
    pub fn shard(mut self, shard: Option<Shard>) -> Self {
        if let Some(shard) = shard {
            self.count = self.count.map(|count| shard.count(count));
            self.images = Box::new(
                self.images
                    .filter(move |input| input.as_ref().map_or(true, |i| shard.has(i.index))),
            );
        }
        self
    }

    /// Takes the image that has this place, and passes over those before it, which are found, not
    /// read. They must be in order.
    pub fn take_at(&mut self, index: u64) -> anyhow::Result<Input> {
        for input in self.images.by_ref() {
            let input = input?;
            self.count = self.count.map(|count| count.saturating_sub(1));
            match input.index.cmp(&index) {
                Ordering::Less => self.passed += 1,
                Ordering::Equal => return Ok(input),
                Ordering::Greater => anyhow::bail!(
                    "the predictions have image {index} where {} has image {}: resume with the same images in the same order",
                    self.source,
                    input.index
                ),
            }
        }
        anyhow::bail!(
            "{} has no image {index}, which the predictions have: resume with the same images",
            self.source
        )
    }
}

impl Iterator for Inputs {
    type Item = anyhow::Result<Input>;

    fn next(&mut self) -> Option<Self::Item> {
        self.images.next()
    }
}
