//! A loaded model.

use std::path::Path;
use std::sync::Arc;

use kiln_model::{OutputKind, OverridesError, Preprocessing};
use kiln_onnx::Golden;
use kiln_preprocess::Preprocessor;

use crate::contract::Contract;
use crate::engine::{self, Engine};
use crate::error::{LoadError, LoadErrorKind};
use crate::options::Options;
use crate::receipt::Receipt;

/// An image classifier, ready to run. Threads can share one.
pub struct Model {
    pub(crate) preprocessor: Preprocessor,
    pub(crate) labels: Arc<[String]>,
    contract: Contract,
    pub(crate) golden: Option<Golden>,
    pub(crate) engine: Box<dyn Engine>,
    /// Present where the number of threads was given; else rayon's global pool is used.
    pub(crate) pool: Option<rayon::ThreadPool>,
}

impl Model {
    /// Loads a file with the default [`Options`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self, LoadError> {
        Self::load_with(path, &Options::default())
    }

    /// Loads a file.
    pub fn load_with(path: impl AsRef<Path>, options: &Options) -> Result<Self, LoadError> {
        let path = path.as_ref();
        let model = kiln_onnx::read(path)
            .map_err(LoadErrorKind::from)
            .and_then(|bytes| Self::new(&bytes, options));
        model.map_err(|kind| LoadError {
            origin: format!("`{}`", path.display()),
            kind,
        })
    }

    /// Loads the bytes of a file.
    pub fn from_bytes(bytes: &[u8], options: &Options) -> Result<Self, LoadError> {
        Self::new(bytes, options).map_err(|kind| LoadError {
            origin: "the model in memory".to_owned(),
            kind,
        })
    }

    fn new(bytes: &[u8], options: &Options) -> Result<Self, LoadErrorKind> {
        options.check()?;
        let proto = kiln_onnx::decode(bytes)?;
        let contract = Contract::new(&proto, &options.declared)?;
        let preprocessor =
            Preprocessor::new(contract.preprocessing.clone()).map_err(OverridesError::from)?;
        let pool = options.threads.map(thread_pool).transpose()?;
        let threads = pool.as_ref().map_or_else(
            rayon::current_num_threads,
            rayon::ThreadPool::current_num_threads,
        );
        let shape = contract.layout.image_shape(preprocessor.shape());
        let source = engine::Source {
            bytes,
            proto: &proto,
            input: contract.input,
            shape,
            batch: contract.batch,
        };
        let engine = engine::load(&source, options, threads)?;
        let golden = proto.metadata()?.golden;
        Ok(Self {
            preprocessor,
            labels: contract.labels.clone().into(),
            contract,
            golden,
            engine,
            pool,
        })
    }

    /// What goes into the graph and what comes out, and who says so.
    pub const fn contract(&self) -> &Contract {
        &self.contract
    }

    /// The names of the classes, in the order of the output.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// How images become the model's input.
    pub fn preprocessing(&self) -> &Preprocessing {
        self.preprocessor.record()
    }

    /// What makes the model's input of images.
    pub const fn preprocessor(&self) -> &Preprocessor {
        &self.preprocessor
    }

    /// What the output is.
    pub const fn output_kind(&self) -> OutputKind {
        self.contract.output
    }

    /// What the model runs on.
    pub fn receipt(&self) -> &Receipt {
        self.engine.receipt()
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
            .field("receipt", self.receipt())
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
