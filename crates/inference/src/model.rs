//! A loaded model.

use std::path::Path;
use std::sync::Arc;

use kiln_model::{OutputKind, OverridesError, Preprocessing};
use kiln_onnx::{Budget, DecodeError, Golden, ModelFile, ModelProto, check_sizes};
use kiln_preprocess::Preprocessor;

use crate::choice::RuntimeInfo;
use crate::engine;
use crate::engine::interface::{Engine, Source};
use crate::error::{LoadError, LoadErrorKind};
use crate::options::Options;
use crate::spec::ModelSpec;

/// An image classifier, ready to run. Threads can share one.
pub struct Model {
    pub(crate) preprocessor: Preprocessor,
    pub(crate) labels: Arc<[String]>,
    spec: ModelSpec,
    pub(crate) golden: Option<Golden>,
    pub(crate) engine: Box<dyn Engine>,
    /// Present where the number of threads was given; else rayon's global pool is used.
    pub(crate) pool: Option<rayon::ThreadPool>,
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
        let model = kiln_onnx::decode(bytes)
            .map_err(LoadErrorKind::from)
            .and_then(|proto| Self::new(bytes, &proto, options));
        model.map_err(|kind| LoadError {
            origin: "the model in memory".to_owned(),
            kind,
        })
    }

    fn of_file(file: &ModelFile, options: &Options) -> Result<Self, LoadErrorKind> {
        Self::new(file.bytes(), file.proto()?, options)
    }

    fn new(bytes: &[u8], proto: &ModelProto, options: &Options) -> Result<Self, LoadErrorKind> {
        options.check()?;
        let spec = ModelSpec::new(proto, &options.declared)?;
        let preprocessor = Preprocessor::new(spec.preprocessing.clone())
            .map_err(|error| LoadErrorKind::Preprocessing(OverridesError::from(error)))?;
        let pool = options.threads.map(thread_pool).transpose()?;
        let threads = pool.as_ref().map_or_else(
            rayon::current_num_threads,
            rayon::ThreadPool::current_num_threads,
        );
        let shape = spec.layout.image_shape(preprocessor.shape());
        // Height and width are known here, also where the file leaves them open.
        let [a, b, c] = shape;
        let input = [spec.batch.unwrap_or(1), a, b, c];
        check_sizes(proto, Some(&input), &Budget::default())
            .map_err(|error| DecodeError::from(Box::new(error)))?;
        let source = Source {
            bytes,
            proto,
            input: spec.input,
            shape,
            batch: spec.batch,
        };
        let engine = engine::load(&source, options, threads)?;
        let golden = proto.metadata()?.golden;
        Ok(Self {
            preprocessor,
            labels: spec.labels.clone().into(),
            spec,
            golden,
            engine,
            pool,
        })
    }

    /// Returns inputs, outputs, labels and preprocessing, and where each is specified.
    pub const fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// Returns the names of the classes, in the order of the output.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Returns how images become the model's input.
    pub fn preprocessing(&self) -> &Preprocessing {
        self.preprocessor.record()
    }

    /// Returns what prepares images.
    pub const fn preprocessor(&self) -> &Preprocessor {
        &self.preprocessor
    }

    /// Returns whether the scores are logits or probabilities.
    pub const fn output_kind(&self) -> OutputKind {
        self.spec.output
    }

    /// Returns the engine, version, device and library actually in use.
    pub fn runtime(&self) -> &RuntimeInfo {
        self.engine.runtime()
    }

    /// Runs `work` where its parallel iterators use this model's threads.
    pub(crate) fn on_threads<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("Model");
        debug
            .field("preprocessing", self.preprocessing())
            .field("labels", &self.labels);
        debug
            .field("output_kind", &self.output_kind())
            .field("runtime", self.runtime())
            .finish_non_exhaustive()
    }
}

fn thread_pool(threads: usize) -> Result<rayon::ThreadPool, LoadErrorKind> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.map_err(|reason| LoadErrorKind::Threads {
        threads,
        reason: reason.to_string(),
    })
}
