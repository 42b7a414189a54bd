//! A model.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use kiln_inference::{
    Classified, Device, EngineId, Picture, Preprocessing, StreamOptions, Unclassified,
};
use kiln_pipeline::engines::{self, EngineRequest, VerificationRecord};
use kiln_pipeline::evaluate::{AnyTally, EvaluateOptions};
use kiln_pipeline::overrides::OverridesRequest;
use kiln_pipeline::runtime::RuntimeRecord;
use kiln_pipeline::{CachedAssets, Context, Error, inputs};
use kiln_util::CancelToken;
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArray4, PyArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde::Serialize;

use crate::error::{self, ImageError, KilnError};
use crate::images::{Image, Owner};
use crate::interrupt::interruptible;

/// A model on an engine. It serves any number of Python's threads.
#[pyclass(frozen, module = "kiln._kiln")]
pub struct Model {
    loaded: kiln_inference::Model,
    path: PathBuf,
    threads: Option<usize>,
}

/// What a batch came to: probabilities and scores `[images, classes]`, the predicted class of each image, and the images
/// that could not be classified, with the reason.
type Classes<'py> = (
    Bound<'py, PyArray2<f32>>,
    Bound<'py, PyArray2<f32>>,
    Bound<'py, PyArray1<i64>>,
    Vec<(usize, String)>,
);

/// How a model is loaded, with the names of the keyword arguments of `kiln.Model`.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct Options {
    engine: Option<String>,
    device: String,
    pub threads: Option<usize>,
    library: Option<PathBuf>,
    /// `KEY=VALUE`, as of `--set`.
    settings: Vec<String>,
}

impl Options {
    /// What the pipeline is asked for.
    pub fn request(self) -> PyResult<EngineRequest> {
        let wrong = |error: &dyn std::error::Error| PyValueError::new_err(error::text(error));
        let engine = match &self.engine {
            Some(name) => name.parse().map_err(|error| wrong(&error))?,
            None => EngineId::default(),
        };
        let mut request = EngineRequest::new(engine);
        request.device = self
            .device
            .parse::<Device>()
            .map_err(|error| wrong(&error))?;
        request.library = self.library;
        request.overrides = OverridesRequest::parse("settings", &self.settings)
            .map_err(|error| wrong(&Error::from(error)))?;
        Ok(request)
    }
}

/// Does work in the surroundings of a pipeline that nobody observes.
pub fn in_context<T>(
    threads: Option<usize>,
    skip_unreadable: bool,
    cancel: CancelToken,
    work: impl FnOnce(&Context<'_>) -> PyResult<T>,
) -> PyResult<T> {
    let assets = CachedAssets::from_env().map_err(error::kiln)?;
    let observer = ();
    let mut context = Context::new(&assets, &observer).skip_unreadable(skip_unreadable);
    context.threads = threads;
    context.cancel = cancel;
    work(&context)
}

#[pymethods]
impl Model {
    #[new]
    fn new(py: Python<'_>, path: PathBuf, options: Options) -> PyResult<Self> {
        let threads = options.threads;
        let mut request = options.request()?;
        // As many runs at once as there are threads of Python's that may call.
        request.concurrent_runs = std::thread::available_parallelism().ok().map(Into::into);
        let loaded = interruptible(py, |cancel| {
            in_context(threads, false, cancel, |context| {
                let path = engines::model_file(&path, context).map_err(error::load)?;
                let file = engines::open(&path).map_err(error::load)?;
                engines::load(&file, &request, context).map_err(error::load)
            })
        })?;
        Ok(Self {
            loaded,
            path,
            threads,
        })
    }

    #[getter]
    fn labels(&self) -> Vec<String> {
        self.loaded.labels().to_vec()
    }

    /// Channels, height and width of what the graph takes.
    #[getter]
    fn shape(&self) -> [usize; 3] {
        self.loaded.preprocessor().shape()
    }

    /// What the graph's scores are, such as `logits`.
    #[getter]
    fn output(&self) -> String {
        self.loaded.output_kind().to_string()
    }

    /// Whether an image can have several classes.
    #[getter]
    fn has_several(&self) -> bool {
        self.loaded.spec().has_several()
    }

    /// Engine, device and threads, preprocessing, output and labels, as JSON.
    fn receipt(&self) -> PyResult<String> {
        json(&Receipt {
            kiln: kiln_util::VERSION,
            model: &self.path,
            runtime: RuntimeRecord::from(&self.loaded),
            preprocessing: self.loaded.preprocessing(),
            output: self.loaded.output_kind().as_str(),
            labels: self.loaded.labels(),
        })
    }

    fn classify<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        batch_size: Option<usize>,
    ) -> PyResult<Classes<'py>> {
        let owners = Owner::collect(images)?;
        let images = borrow(&owners)?;
        let count = images.len();
        let classes = self.loaded.labels().len();
        let mut found = Found {
            probabilities: vec![f32::NAN; count * classes],
            scores: vec![f32::NAN; count * classes],
            predicted: vec![-1; count],
            failures: Vec::new(),
        };
        let found = if count == 1 {
            py.detach(|| {
                self.stream(&images, batch_size, None, &mut found)
                    .map(|()| found)
            })?
        } else {
            interruptible(py, |cancel| {
                self.stream(&images, batch_size, Some(cancel), &mut found)
                    .map(|()| found)
            })?
        };
        let rows = |values: Vec<f32>| values.into_pyarray(py).reshape([count, classes]);
        Ok((
            rows(found.probabilities)?,
            rows(found.scores)?,
            found.predicted.into_pyarray(py),
            found.failures,
        ))
    }

    /// The model's input for each image, `[images, channels, height, width]`.
    fn preprocess<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray4<f32>>> {
        let owners = Owner::collect(images)?;
        let images = borrow(&owners)?;
        let preprocessor = self.loaded.preprocessor();
        let [channels, height, width] = preprocessor.shape();
        let values = py.detach(|| {
            let mut values = vec![0.0; images.len() * preprocessor.len()];
            let rows = values.chunks_exact_mut(preprocessor.len());
            for (index, (image, out)) in images.iter().zip(rows).enumerate() {
                image.prepare(preprocessor, out).map_err(|reason| {
                    ImageError::new_err(format!("image {index}: {}", error::text(&reason)))
                })?;
            }
            PyResult::Ok(values)
        })?;
        values
            .into_pyarray(py)
            .reshape([images.len(), channels, height, width])
    }

    /// The replay of the golden vectors, as JSON.
    fn verify(&self, py: Python<'_>) -> PyResult<String> {
        let verification = py.detach(|| self.loaded.verify().map_err(error::kiln))?;
        let verified = [(RuntimeRecord::from(&self.loaded), verification)];
        json(&VerificationRecord::new(&self.path, &verified))
    }

    /// The figures of the model on labeled images, as JSON.
    fn evaluate(
        &self,
        py: Python<'_>,
        data: &str,
        batch_size: Option<usize>,
        top_k: Option<usize>,
        skip_unreadable: bool,
    ) -> PyResult<String> {
        interruptible(py, |cancel| {
            in_context(self.threads, skip_unreadable, cancel, |context| {
                let images =
                    inputs::labeled(data, self.loaded.labels(), context).map_err(error::kiln)?;
                let mut options = EvaluateOptions::default();
                options.batch_size = batch_size;
                options.top_k = top_k;
                let tally = AnyTally::new(&self.loaded, &options, &images).map_err(error::kiln)?;
                let evaluated = tally
                    .evaluate(images, context, |_, _| Ok::<(), Error>(()))
                    .map_err(error::kiln)?;
                let evaluated = evaluated.ok_or_else(|| KilnError::new_err("cancelled"))?;
                json(&evaluated.record(data))
            })
        })
    }
}

/// What computes the scores, and how images become its input.
#[derive(Serialize)]
struct Receipt<'a> {
    kiln: &'static str,
    model: &'a Path,
    runtime: RuntimeRecord,
    preprocessing: &'a Preprocessing,
    output: &'static str,
    labels: &'a [String],
}

fn json(value: &impl Serialize) -> PyResult<String> {
    serde_json::to_string(value).map_err(error::kiln)
}

/// What a batch came to so far.
struct Found {
    probabilities: Vec<f32>,
    scores: Vec<f32>,
    predicted: Vec<i64>,
    failures: Vec<(usize, String)>,
}

impl Found {
    fn put(&mut self, index: usize, classified: &Classified<'_>) {
        let classes = classified.scores.len();
        let row = index * classes..(index + 1) * classes;
        self.probabilities[row.clone()].copy_from_slice(classified.probabilities);
        self.scores[row].copy_from_slice(classified.scores);
        self.predicted[index] = classified.predicted() as i64;
    }
}

impl Model {
    fn stream(
        &self,
        images: &[Image<'_>],
        batch_size: Option<usize>,
        cancel: Option<CancelToken>,
        found: &mut Found,
    ) -> PyResult<()> {
        let mut options = StreamOptions::default().with_batch_size(batch_size);
        options.cancel = cancel;
        let preprocessor = self.loaded.preprocessor();
        let prepare =
            |&(_, image): &(usize, Image<'_>), out: &mut [f32]| image.prepare(preprocessor, out);
        let inputs = images.iter().copied().enumerate();
        let ended = self
            .loaded
            .stream(inputs, &options, prepare, |(index, _), result| {
                match result {
                    Ok(classified) => found.put(index, &classified),
                    Err(Unclassified::Prepare(reason)) => {
                        found.failures.push((index, error::text(&reason)));
                    }
                    Err(Unclassified::NotFinite(reason)) => {
                        found.failures.push((index, error::text(&reason)));
                    }
                }
                ControlFlow::<()>::Continue(())
            });
        ended.map(drop).map_err(error::kiln)
    }
}

/// The images without their owners.
pub fn borrow<'a>(owners: &'a [Owner<'_>]) -> PyResult<Vec<Image<'a>>> {
    let images = owners.iter().enumerate();
    images.map(|(index, owner)| owner.borrow(index)).collect()
}
