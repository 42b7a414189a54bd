//! Images: pixels in memory, and files that are decoded as they are needed. What is kept of a file is
//! what takes less memory: its pixels as decoded, or at the size that a model takes.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kiln_model::Preprocessing;
use kiln_preprocess::{
    EncodedImage, ImageBytes, Orientation, Pixels, PreprocessError, Preprocessor, RawImage,
    Transform,
};
use kiln_records::{Collection, Content, Record, Span};
use kiln_util::Hex;
use sha2::{Digest, Sha256};

/// The pixels of an image: those that the dataset has in memory, or decoded for this use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image<'a> {
    /// In memory.
    Borrowed(RawImage<'a>),
    /// Kept in memory by a dataset of files, as decoded.
    Kept(Arc<Pixels>),
    /// Decoded for this use.
    Owned(Pixels),
}

impl Image<'_> {
    /// Returns the pixels.
    pub fn as_raw(&self) -> RawImage<'_> {
        match self {
            Self::Borrowed(image) => *image,
            Self::Kept(pixels) => pixels.as_raw(),
            Self::Owned(pixels) => pixels.as_raw(),
        }
    }

    /// Returns the picture turned upright by the file's Exif tag; pixels that are in memory without
    /// a file are upright.
    #[must_use]
    pub fn upright(self) -> Self {
        match self {
            Self::Kept(pixels) if pixels.orientation() != Orientation::Upright => {
                Self::Owned(Arc::unwrap_or_clone(pixels).upright())
            }
            Self::Owned(pixels) => Self::Owned(pixels.upright()),
            Self::Borrowed(_) | Self::Kept(_) => self,
        }
    }
}

/// Memory for the images that datasets of files keep. Images beyond it are decoded again every time.
///
/// Clones share it, so several datasets together keep no more than one would.
#[derive(Debug, Clone)]
pub struct ImageMemory(Arc<AtomicU64>);

impl Default for ImageMemory {
    /// 1 GiB.
    fn default() -> Self {
        Self::new(1 << 30)
    }
}

impl ImageMemory {
    /// Creates memory of so many bytes.
    pub fn new(bytes: u64) -> Self {
        Self(Arc::new(AtomicU64::new(bytes)))
    }

    /// Takes so many bytes if there are as many left.
    fn take(&self, bytes: u64) -> Option<Reservation> {
        let left = |left: u64| left.checked_sub(bytes);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, left)
            .ok()?;
        Some(Reservation {
            memory: self.clone(),
            bytes,
        })
    }
}

/// A part of the memory, given back when dropped.
#[derive(Debug)]
struct Reservation {
    memory: ImageMemory,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.memory.0.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

/// What is kept of an image.
#[derive(Debug)]
struct Kept {
    form: Form,
    /// Gives the memory back when it is dropped.
    #[cfg_attr(not(test), expect(dead_code, reason = "only its end matters"))]
    reservation: Reservation,
}

/// An image, in whichever form takes less memory.
#[derive(Debug, Clone)]
enum Form {
    /// As decoded.
    Decoded(Arc<Pixels>),
    /// At the size and with the channels that a record asks for, not yet normalized.
    Resized {
        record: Arc<Preprocessing>,
        values: Arc<Resized>,
    },
}

impl Form {
    /// Takes an image that was decoded, and what it will be prepared by, if that is known.
    fn new(pixels: Pixels, preprocessor: Option<&Preprocessor>) -> Result<Self, PreprocessError> {
        let decoded = pixels.as_raw().pixels.len();
        // Where the record divides, the pixels are for it alone; others are not smaller even as bytes.
        let preprocessor = preprocessor.filter(|wanted| wanted.divides() || wanted.len() < decoded);
        if let Some(preprocessor) = preprocessor {
            let mut values = vec![0.0; preprocessor.len()];
            preprocessor.resized(upright(&pixels, preprocessor).as_raw(), &mut values)?;
            let values = Resized::new(values);
            if preprocessor.divides() || values.bytes() < decoded {
                return Ok(Self::Resized {
                    record: Arc::new(preprocessor.record().clone()),
                    values: Arc::new(values),
                });
            }
        }
        Ok(Self::Decoded(Arc::new(pixels)))
    }

    fn keep(self, memory: &ImageMemory) -> Option<Kept> {
        let bytes = match &self {
            Self::Decoded(pixels) => pixels.as_raw().pixels.len(),
            Self::Resized { values, .. } => values.bytes(),
        };
        memory.take(bytes as u64).map(|reservation| Kept {
            form: self,
            reservation,
        })
    }
}

/// Values of 0 to 255.
#[derive(Debug)]
enum Resized {
    /// All are whole numbers.
    Bytes(Vec<u8>),
    Floats(Vec<f32>),
}

impl Resized {
    fn new(values: Vec<f32>) -> Self {
        let whole = |&value: &f32| f32::from(value as u8).to_bits() == value.to_bits();
        if values.iter().all(whole) {
            Self::Bytes(values.into_iter().map(|value| value as u8).collect())
        } else {
            Self::Floats(values)
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Bytes(values) => values.len(),
            Self::Floats(values) => size_of_val(values.as_slice()),
        }
    }

    fn values(&self) -> Cow<'_, [f32]> {
        match self {
            Self::Bytes(values) => values.iter().copied().map(f32::from).collect(),
            Self::Floats(values) => Cow::Borrowed(values),
        }
    }
}

/// Returns pixels as a preprocessor takes them: turned upright where its record says so. What is kept is
/// as it was decoded, since another record may say otherwise.
fn upright<'a>(pixels: &'a Pixels, preprocessor: &Preprocessor) -> Cow<'a, Pixels> {
    if preprocessor.turns(pixels.orientation()) {
        Cow::Owned(preprocessor.upright(pixels.clone()))
    } else {
        Cow::Borrowed(pixels)
    }
}

/// What of an image's pixels a training step sees, and how.
#[derive(Clone, Copy)]
pub(crate) struct Preparation<'a> {
    pub preprocessor: &'a Preprocessor,
    pub transform: Option<&'a Transform>,
}

impl Preparation<'_> {
    /// Whether it needs pixels that are not resized yet.
    fn crops(self) -> bool {
        self.transform
            .is_some_and(|transform| transform.crop.is_some())
    }

    /// Writes the tensor of pixels as they were decoded.
    fn of_decoded(self, pixels: &Pixels, out: &mut [f32]) -> Result<(), PreprocessError> {
        if self.crops() && self.preprocessor.turns(pixels.orientation()) {
            // A part of it is resized, so that the whole is not divided.
            return self.of_pixels(pixels.clone().upright().as_raw(), out);
        }
        self.of_pixels(upright(pixels, self.preprocessor).as_raw(), out)
    }

    /// Writes the tensor of pixels that are upright.
    pub fn of_pixels(self, image: RawImage<'_>, out: &mut [f32]) -> Result<(), PreprocessError> {
        match self.transform {
            Some(transform) => self.preprocessor.transformed(image, transform, out),
            None => self.preprocessor.raw(image, out),
        }
    }

    /// Writes the tensor of an image; false if what is left of it was made for another record.
    fn of_form(self, form: &Form, out: &mut [f32]) -> Result<bool, PreprocessError> {
        match form {
            // Decoded for this record, a JPEG would have other pixels.
            Form::Decoded(pixels) if !self.crops() && self.preprocessor.decodes_less(pixels) => {
                return Ok(false);
            }
            Form::Decoded(pixels) => self.of_decoded(pixels, out)?,
            Form::Resized { record, values }
                if **record == *self.preprocessor.record() && !self.crops() =>
            {
                self.preprocessor
                    .finish(&values.values(), self.transform, out)?;
            }
            Form::Resized { .. } => return Ok(false),
        }
        Ok(true)
    }
}

/// What a file's pixels are read for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keeping {
    /// None where nothing is kept.
    pub memory: Option<ImageMemory>,
    /// What the images will be prepared by, if that is known.
    pub preprocessor: Option<Arc<Preprocessor>>,
}

impl Keeping {
    /// Decodes an image. Returns whether it has colors, and what is kept of it.
    fn decode(&self, bytes: &[u8], name: &str) -> Result<(bool, Option<Kept>), PreprocessError> {
        EncodedImage::new(bytes, name).decode_then(self.preprocessor.as_deref(), |pixels| {
            Ok((has_colors(pixels.as_raw()), self.keep(pixels)?))
        })
    }

    /// Returns what is kept of an image that was decoded, if there is room.
    fn keep(&self, pixels: Pixels) -> Result<Option<Kept>, PreprocessError> {
        let Some(memory) = &self.memory else {
            return Ok(None);
        };
        Ok(Form::new(pixels, self.preprocessor.as_deref())?.keep(memory))
    }
}

/// Image files that could all be read.
pub(crate) struct ImageFiles {
    root: PathBuf,
    files: Vec<ImageFile>,
    memory: Option<ImageMemory>,
}

/// Where the bytes of an image are.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// In the file of its path.
    File,
    /// In a part of a file.
    Span(Span),
    /// With others in compressed pages, by its number: for what is read again rarely.
    Record(Collection, u64),
}

/// One file.
pub(crate) struct ImageFile {
    /// Relative to the root; of a record what it is called.
    path: PathBuf,
    place: Place,
    sha256: [u8; 32],
    kept: Mutex<Option<Kept>>,
    /// Whether it has colors, where it was decoded.
    colored: Option<bool>,
}

impl ImageFile {
    /// Reads and decodes a file, and keeps what is asked for if there is room in memory.
    pub fn read(root: &Path, path: &Path, keeping: &Keeping) -> Result<Self, PreprocessError> {
        let ImageBytes { name, bytes } = ImageBytes::read(&root.join(path))?;
        let (colored, kept) = keeping.decode(&bytes, &name)?;
        Ok(Self {
            path: path.into(),
            place: Place::File,
            sha256: Sha256::digest(&bytes).into(),
            kept: Mutex::new(kept),
            colored: Some(colored),
        })
    }

    /// Reads a file for its checksum, without decoding it.
    pub fn unread(root: &Path, path: &Path) -> Result<Self, PreprocessError> {
        let ImageBytes { bytes, .. } = ImageBytes::read(&root.join(path))?;
        Ok(Self {
            path: path.into(),
            place: Place::File,
            sha256: Sha256::digest(bytes).into(),
            kept: Mutex::new(None),
            colored: None,
        })
    }

    /// Takes an image in a file of many, and decodes it if pixels are asked for.
    pub fn of_record(
        record: &Record,
        place: Place,
        keeping: Option<&Keeping>,
    ) -> Result<Self, PreprocessError> {
        let name = format!("`{}`", record.name);
        let bytes = read_content(&record.image, &name)?;
        let (colored, kept) = match keeping {
            Some(keeping) => {
                let (colored, kept) = keeping.decode(&bytes, &name)?;
                (Some(colored), kept)
            }
            None => (None, None),
        };
        Ok(Self {
            path: record.name.clone().into(),
            place,
            sha256: Sha256::digest(bytes).into(),
            kept: Mutex::new(kept),
            colored,
        })
    }

    /// Reads the bytes again, and returns what messages call the image.
    fn bytes(&self, root: &Path) -> Result<(String, Vec<u8>), PreprocessError> {
        let name = format!("`{}`", self.path.display());
        let fail = |reason| PreprocessError::Read {
            image: format!("`{}`", self.path.display()),
            reason,
        };
        match &self.place {
            Place::File => {
                let ImageBytes { name, bytes } = ImageBytes::read(&root.join(&self.path))?;
                Ok((name, bytes))
            }
            Place::Span(span) => Ok((name, span.read().map_err(fail)?)),
            Place::Record(collection, index) => {
                let record = collection.record(*index);
                let record = record.map_err(|error| fail(std::io::Error::other(error)))?;
                let bytes = read_content(&record.image, &name)?;
                Ok((name, bytes.to_vec()))
            }
        }
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_content(image: &Content, name: &str) -> Result<Arc<[u8]>, PreprocessError> {
    image.read().map_err(|reason| PreprocessError::Read {
        image: name.to_owned(),
        reason,
    })
}

/// Returns whether an image shows more than grays: one pixel in a thousand has channels that differ by
/// more than an eighth of the range. Scans of gray originals differ by less.
pub(crate) fn has_colors(image: RawImage<'_>) -> bool {
    const DIFFERENCE: u8 = 32;
    if image.channels < 3 {
        return false;
    }
    let is_colored = |pixel: &&[u8]| {
        let colors = &pixel[..3];
        let (low, high) = (colors.iter().min(), colors.iter().max());
        high.zip(low)
            .is_some_and(|(high, low)| high - low > DIFFERENCE)
    };
    let enough = 1 + image.pixels.len() / image.channels as usize / 1000;
    let pixels = image.pixels.chunks_exact(image.channels as usize);
    pixels.filter(is_colored).take(enough).count() == enough
}

impl ImageFiles {
    /// Takes files that were read; `memory` is where they keep pixels, if they do.
    pub fn new(root: PathBuf, files: Vec<ImageFile>, memory: Option<ImageMemory>) -> Self {
        Self {
            root,
            files,
            memory,
        }
    }

    pub fn path(&self, index: usize) -> &Path {
        &self.files[index].path
    }

    pub fn sha256(&self, index: usize) -> &[u8; 32] {
        &self.files[index].sha256
    }

    /// Counts the images with colors among those that were decoded when they were read.
    pub fn colored(&self) -> usize {
        let colored = self.files.iter();
        colored.filter(|file| file.colored == Some(true)).count()
    }

    /// Returns an image as it is decoded.
    pub fn image(&self, index: usize) -> Result<Image<'_>, PreprocessError> {
        if let Some(Kept {
            form: Form::Decoded(pixels),
            ..
        }) = &*self.files[index].kept()
        {
            return Ok(Image::Kept(Arc::clone(pixels)));
        }
        self.decode_then(index, None, |pixels| Ok(Image::Owned(pixels)))
    }

    /// Writes the tensor of an image, and keeps what spares decoding and resizing it the next time.
    pub fn prepare(
        &self,
        index: usize,
        preparation: Preparation<'_>,
        out: &mut [f32],
    ) -> Result<(), PreprocessError> {
        let file = &self.files[index];
        // What is kept is used without the lock, which others may wait for.
        let kept = file.kept().as_ref().map(|kept| kept.form.clone());
        if let Some(form) = kept
            && preparation.of_form(&form, out)?
        {
            return Ok(());
        }
        let for_whole = Some(preparation.preprocessor).filter(|_| !preparation.crops());
        let form = self.decode_then(index, for_whole, |pixels| {
            if self.memory.is_none() {
                preparation.of_decoded(&pixels, out)?;
                return Ok(None);
            }
            let form = Form::new(pixels, for_whole)?;
            preparation.of_form(&form, out)?;
            Ok(Some(form))
        })?;
        if let (Some(form), Some(memory)) = (form, &self.memory) {
            // What was kept in a form that does not serve gives its room back first.
            file.kept().take();
            let kept = form.keep(memory);
            *file.kept() = kept;
        }
        Ok(())
    }

    fn decode_then<T>(
        &self,
        index: usize,
        wanted: Option<&Preprocessor>,
        then: impl FnOnce(Pixels) -> Result<T, PreprocessError>,
    ) -> Result<T, PreprocessError> {
        let (name, bytes) = self.files[index].bytes(&self.root)?;
        EncodedImage::new(&bytes, &name).decode_then(wanted, then)
    }

    /// Computes the SHA-256 of what `sha256sum` prints for the files in their order, run in the root.
    pub fn checksum(&self) -> String {
        let mut hash = Sha256::new();
        for file in &self.files {
            hash.update(format!("{}  {}\n", Hex(&file.sha256), file.path.display()));
        }
        Hex(&hash.finalize()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, GrayImage, RgbImage};
    use kiln_model::Channels;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn memory_is_taken_until_there_is_none_and_given_back() {
        let memory = ImageMemory::new(10);
        let nine = memory.take(9);
        assert!(nine.is_some() && memory.take(2).is_none());
        let one = memory.clone().take(1);
        assert!(one.is_some() && memory.take(1).is_none());
        drop(nine);
        assert!(memory.take(10).is_none() && memory.take(9).is_some());
    }

    fn write(folder: &Path, image: impl Into<DynamicImage>) -> &'static Path {
        image.into().save(folder.join("a.png")).unwrap();
        Path::new("a.png")
    }

    fn keeping(bytes: u64, preprocessor: Option<&Arc<Preprocessor>>) -> Keeping {
        Keeping {
            memory: Some(ImageMemory::new(bytes)),
            preprocessor: preprocessor.cloned(),
        }
    }

    #[test]
    fn gray_images_may_have_three_channels() {
        let colors = |pixels: &[u8], channels| {
            has_colors(RawImage {
                pixels,
                height: 1,
                width: pixels.len() as u32 / channels,
                channels,
            })
        };
        assert!(colors(&[9, 9, 9, 0, 130, 0], 3));
        assert!(colors(&[200, 10, 10, 0], 4) && !colors(&[7, 7, 7, 0], 4));
        assert!(!colors(&[100, 110, 120, 90, 90, 90], 3), "a tint of a scan");
        assert!(!colors(&[0, 255], 2) && !colors(&[0, 255, 9], 1));
        // A speck in a gray photograph is none.
        let speck = [&[0, 255, 0][..], &[80; 3 * 5000]].concat();
        assert!(!colors(&speck, 3));
    }

    #[test]
    fn images_without_room_are_decoded_every_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = write(
            folder.path(),
            GrayImage::from_raw(2, 1, vec![3, 4]).unwrap(),
        );
        for (room, kept) in [(2, true), (1, false)] {
            let keeping = keeping(room, None);
            let file = ImageFile::read(folder.path(), path, &keeping).unwrap();
            assert_eq!(file.kept().is_some(), kept);
            let files = ImageFiles::new(folder.path().into(), vec![file], keeping.memory);
            assert_eq!(files.image(0).unwrap().as_raw().pixels, [3, 4]);
        }
    }

    fn preprocessor(height: u32, width: u32) -> Arc<Preprocessor> {
        let record = Preprocessing::torch(height, width);
        Arc::new(Preprocessor::new(record).unwrap())
    }

    /// Bytes that the image takes, none where nothing is kept.
    fn kept_bytes(files: &ImageFiles) -> Option<u64> {
        files.files[0]
            .kept()
            .as_ref()
            .map(|kept| kept.reservation.bytes)
    }

    #[test]
    fn the_smaller_of_decoded_and_resized_pixels_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let noise = RgbImage::from_fn(40, 30, |x, y| {
            image::Rgb([x * 7, y * 9, x * y].map(|v| v as u8))
        });
        let path = write(folder.path(), noise);
        // 4 bytes for a value that need not be whole, against one for each of 3 600 samples.
        for (size, bytes) in [
            ([10, 12], 4 * 360),
            ([30, 40], 3_600),
            ([20, 20], 3_600),
            ([99, 99], 3_600),
        ] {
            let wanted = preprocessor(size[0], size[1]);
            let keeping = keeping(u64::MAX, Some(&wanted));
            let file = ImageFile::read(folder.path(), path, &keeping).unwrap();
            let files = ImageFiles::new(folder.path().into(), vec![file], keeping.memory);
            assert_eq!(kept_bytes(&files), Some(bytes), "{size:?}");
        }
    }

    #[test]
    fn whole_values_are_kept_as_bytes() {
        for (values, bytes) in [
            (vec![0.0, 255.0, 7.0], 3),
            (vec![0.5, 255.0, 7.0], 12),
            (vec![256.0], 4),
            (vec![-0.0], 4),
            (vec![f32::NAN], 4),
        ] {
            let bits: Vec<u32> = values.iter().map(|value| value.to_bits()).collect();
            let resized = Resized::new(values);
            assert_eq!(resized.bytes(), bytes);
            let back: Vec<u32> = resized
                .values()
                .iter()
                .map(|value| value.to_bits())
                .collect();
            assert_eq!(back, bits);
        }
    }

    #[test]
    fn another_record_takes_the_place_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = write(
            folder.path(),
            RgbImage::from_fn(50, 50, |x, y| image::Rgb([x, y, x ^ y].map(|v| v as u8))),
        );
        let records = [preprocessor(8, 8), preprocessor(9, 9)];
        let keeping = keeping(10_000, Some(&records[0]));
        let file = ImageFile::read(folder.path(), path, &keeping).unwrap();
        let files = ImageFiles::new(folder.path().into(), vec![file], keeping.memory.clone());
        let prepare = |preprocessor: &Arc<Preprocessor>| {
            let mut out = vec![0.0; preprocessor.len()];
            let preparation = Preparation {
                preprocessor,
                transform: None,
            };
            files.prepare(0, preparation, &mut out).map(|()| out)
        };
        assert_eq!(kept_bytes(&files), Some(4 * 3 * 64));
        let first = prepare(&records[0]).unwrap();
        let second = prepare(&records[1]).unwrap();
        assert_eq!(kept_bytes(&files), Some(4 * 3 * 81));
        std::fs::remove_file(folder.path().join(path)).unwrap();
        assert_eq!(prepare(&records[1]).unwrap(), second);
        assert!(prepare(&records[0]).is_err(), "not kept any more");
        assert_ne!(first.len(), second.len());
        drop(files);
        let memory = keeping.memory.unwrap();
        assert!(memory.take(10_000).is_some(), "all is given back");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_kept_gives_the_same_to_the_last_bit(
            height in 1..40_u32, width in 1..40_u32, out_height in 1..20_u32, out_width in 1..20_u32, antialias: bool, seed: u8,
            rotation in prop::option::of(-20.0..20.0_f64), gray: bool, reducing_gap in 0..3_u32, jpeg: bool,
        ) {
            let folder = tempfile::tempdir().unwrap();
            let noise = RgbImage::from_fn(width, height, |x, y| image::Rgb([x * 37, y * 59, x * y].map(|v| v as u8 ^ seed)));
            let image = DynamicImage::from(noise);
            let image = if gray { image.to_luma8().into() } else { image };
            let path = write(folder.path(), image.clone());
            if jpeg {
                // Content says what a file is.
                image.save_with_format(folder.path().join(path), image::ImageFormat::Jpeg).unwrap();
            }
            let mut record = Preprocessing::torch(out_height, out_width);
            record.resize.antialias = antialias;
            record.resize.reducing_gap = reducing_gap;
            record.channels = if gray { Channels::Bgr } else { Channels::Rgb };
            let preprocessor = Arc::new(Preprocessor::new(record).unwrap());
            let transform = rotation.map(|rotation| Transform { rotation, horizontal_flip: true, ..Transform::default() });
            let preparation = Preparation { preprocessor: &preprocessor, transform: transform.as_ref() };
            let bits = |keeping: &Keeping| {
                let file = ImageFile::read(folder.path(), path, keeping).unwrap();
                let files = ImageFiles::new(folder.path().into(), vec![file], keeping.memory.clone());
                [(); 2].map(|()| {
                    let mut out = vec![f32::NAN; preprocessor.len()];
                    files.prepare(0, preparation, &mut out).unwrap();
                    out.into_iter().map(f32::to_bits).collect::<Vec<_>>()
                })
            };
            let [decoded, again] = bits(&Keeping::default());
            prop_assert_eq!(&decoded, &again);
            for keeping in [keeping(u64::MAX, Some(&preprocessor)), keeping(u64::MAX, None), keeping(7, Some(&preprocessor))] {
                for kept in bits(&keeping) {
                    prop_assert_eq!(&decoded, &kept);
                }
            }
        }
    }
}
