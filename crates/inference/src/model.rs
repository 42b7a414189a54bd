//! A loaded model.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kiln_model::{OutputKind, OverridesError, Preprocessing};
use kiln_onnx::{DecodeError, Golden, ModelFile, Repair, check_sizes};
use kiln_preprocess::{PreprocessError, Preprocessor, RawImage};

use crate::adapt::adapt;
use crate::choice::RuntimeInfo;
use crate::classify::Classes;
use crate::engine;
use crate::engine::error::EngineError;
use crate::engine::interface::{Engine, Outputs, Source};
use crate::error::{LoadError, LoadErrorKind};
use crate::options::Options;
use crate::spec::{ModelSpec, Origin};
use crate::threads::Threads;

/// An image classifier, ready to run. Threads can share one.
pub struct Model {
    pub(crate) preprocessor: Preprocessor,
    pub(crate) classes: Arc<Classes>,
    spec: ModelSpec,
    repairs: Vec<Repair>,
    total_bytes: u64,
    /// Whether mirror images are classified too.
    flips: bool,
    /// Whether the graph turned out to fail at more than one image.
    pub(crate) one_at_a_time: AtomicBool,
    pub(crate) golden: Option<Golden>,
    pub(crate) engine: Arc<dyn Engine>,
    /// Present where the number of threads was given; else rayon's global pool is used.
    pub(crate) threads: Option<Threads>,
}

impl Model {
    /// Opens a file and loads it with the default [`Options`].
    ///
    /// # Errors
    ///
    /// Returns why the file cannot be read or used, or the engine is not available.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        Self::open_with(path, &Options::default())
    }

    /// Opens a file and loads it.
    ///
    /// # Errors
    ///
    /// Returns why the file cannot be read or used, or the engine is not available.
    pub fn open_with(path: impl AsRef<Path>, options: &Options) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let model = ModelFile::open(path)
            .map_err(LoadErrorKind::from)
            .and_then(|file| Self::of_file(&file, options));
        model.map_err(|kind| LoadError {
            origin: format!("`{}`", path.display()),
            kind,
        })
    }

    /// Loads a file that is open already, which other models and questions can share.
    ///
    /// # Errors
    ///
    /// Returns why the file cannot be used, or the engine is not available.
    pub fn load(file: &ModelFile, options: &Options) -> Result<Self, LoadError> {
        Self::of_file(file, options).map_err(|kind| LoadError {
            origin: file.to_string(),
            kind,
        })
    }

    /// Loads the bytes of a file.
    ///
    /// # Errors
    ///
    /// Returns why the bytes cannot be used, or the engine is not available.
    pub fn from_bytes(bytes: &[u8], options: &Options) -> Result<Self, LoadError> {
        Self::load(&ModelFile::from_bytes(bytes.to_vec()), options)
    }

    fn of_file(file: &ModelFile, options: &Options) -> Result<Self, LoadErrorKind> {
        options.check()?;
        let proto = file.proto()?;
        let spec = ModelSpec::new(proto, &options.declared)?;
        let preprocessor = Preprocessor::new(spec.preprocessing.clone())
            .map_err(|error| LoadErrorKind::Preprocessing(OverridesError::from(error)))?;
        let own = options.threads.map(Threads::start).transpose()?;
        let threads = own.as_ref().map_or_else(rayon::current_num_threads, |own| {
            own.pool().current_num_threads()
        });
        let shape = spec.layout.image_shape(preprocessor.shape());
        // Height and width are known here, also where the file leaves them open.
        let [a, b, c] = shape;
        let input = [spec.batch.unwrap_or(1), a, b, c];
        check_sizes(proto, Some(&input), &options.budget)
            .map_err(|error| DecodeError::from(Box::new(error)))?;
        let adapted = adapt(file, &spec, options.engine.info().floats)?;
        let bytes = match &adapted {
            Some(adapted) => Cow::Owned(kiln_onnx::encode(adapted)),
            None => Cow::Borrowed(file.engine_bytes()?),
        };
        // What was taken into the graph is no longer beside it.
        let beside = adapted.as_ref().unwrap_or(proto).has_external_data();
        let folder = file
            .path()
            .filter(|_| beside)
            .map(|path| folder_name(path, options));
        let folder = folder.transpose()?;
        let source = Source {
            bytes: &bytes,
            proto: adapted.as_ref().unwrap_or(proto),
            weights_folder: folder.as_deref(),
            weights_bytes: file.weight_files()?.iter().map(|file| file.bytes).sum(),
            input: spec.input,
            shape,
            batch: spec.batch,
        };
        let engine = engine::load(&source, options, threads)?;
        let golden = proto.metadata()?.golden;
        let mut model = Self {
            preprocessor,
            classes: Arc::new(Classes::new(&spec)),
            spec,
            repairs: file.repairs()?.to_vec(),
            total_bytes: file.total_bytes(),
            flips: options.flips,
            one_at_a_time: AtomicBool::new(false),
            golden,
            engine,
            threads: own,
        };
        model.guess_output();
        Ok(model)
    }

    /// Returns the size of the model: of its file and those with its weights, in bytes.
    pub const fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Returns the number of golden vectors that the file has.
    pub fn golden_vectors(&self) -> usize {
        let golden = self.golden.as_ref();
        golden.map_or(0, |golden| golden.vectors.len())
    }

    /// What was put right in the graph when it was read.
    pub fn repairs(&self) -> &[Repair] {
        &self.repairs
    }

    /// Whether images turned out to be run one at a time: the graph leaves the batch open, and fails at
    /// more than one image.
    pub fn runs_one_at_a_time(&self) -> bool {
        self.one_at_a_time.load(Ordering::Relaxed)
    }

    /// Whether images are classified by the mean of their probabilities and of those of their mirror images.
    pub const fn flips(&self) -> bool {
        self.flips
    }

    /// Finds out by test images what the scores are, where nobody says it: images of noise whose
    /// scores are a distribution, every one.
    fn guess_output(&mut self) {
        /// Far beyond what rounding does, in half precision too.
        const SLACK: f32 = 1e-3;

        if self.spec.origins.output != Origin::Default || self.spec.scores.is_binary {
            return;
        }
        let is_distribution = |seed: u32| {
            let values = self.noise(seed).ok();
            values
                .and_then(|values| self.outputs(&values, 1, Outputs::First).ok())
                .and_then(|outputs| outputs.into_iter().next())
                .is_some_and(|scores| {
                    let sum: f32 = scores.data.iter().sum();
                    (sum - 1.0).abs() <= SLACK && scores.data.iter().all(|score| *score >= -SLACK)
                })
        };
        if (0..2).all(is_distribution) {
            self.spec.output = OutputKind::Probabilities;
            self.spec.origins.output = Origin::Values;
        }
    }

    /// Prepared values of an image of noise.
    fn noise(&self, seed: u32) -> Result<Vec<f32>, PreprocessError> {
        let [channels, height, width] = self.preprocessor.shape();
        let mut state = seed.wrapping_mul(0x9e37_79b9).wrapping_add(1);
        let pixels: Vec<u8> = (0..channels * height * width)
            .map(|_| {
                // Marsaglia's xorshift, "Xorshift RNGs", 2003.
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                (state >> 24) as u8
            })
            .collect();
        let image = RawImage {
            pixels: &pixels,
            height: height as u32,
            width: width as u32,
            channels: channels as u32,
        };
        let mut values = vec![0.0; self.preprocessor.len()];
        self.preprocessor.raw(image, &mut values)?;
        Ok(values)
    }

    /// Returns inputs, outputs, labels and preprocessing, and where each is specified.
    pub const fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// Returns the names of the classes, in the order of the output.
    pub fn labels(&self) -> &[String] {
        &self.classes.labels
    }

    /// Returns how images become the model's input.
    pub fn preprocessing(&self) -> &Preprocessing {
        self.preprocessor.record()
    }

    /// Returns what prepares images.
    pub const fn preprocessor(&self) -> &Preprocessor {
        &self.preprocessor
    }

    /// Returns what the scores are.
    pub const fn output_kind(&self) -> OutputKind {
        self.spec.kind_of_scores()
    }

    /// Returns the engine, version, device and library actually in use.
    pub fn runtime(&self) -> &RuntimeInfo {
        self.engine.runtime()
    }

    /// Runs `work` where its parallel iterators use this model's threads.
    pub(crate) fn on_threads<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.threads {
            Some(threads) => threads.pool().install(work),
            None => work(),
        }
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("Model");
        debug
            .field("preprocessing", self.preprocessing())
            .field("labels", &self.labels());
        debug
            .field("output_kind", &self.output_kind())
            .field("runtime", self.runtime())
            .finish_non_exhaustive()
    }
}

/// The absolute name of a model's folder, which engines take as text.
fn folder_name(model: &Path, options: &Options) -> Result<String, EngineError> {
    let fail = |reason: String| EngineError::Load {
        engine: options.engine,
        reason,
    };
    let path = std::path::absolute(model).map_err(|error| fail(error.to_string()))?;
    let folder = path.parent().unwrap_or(&path);
    let name = folder.to_str().map(str::to_owned);
    name.ok_or_else(|| {
        fail(format!(
            "the name of the folder `{}` is not UTF-8, as it must be for a model with weights in other files",
            folder.display()
        ))
    })
}
