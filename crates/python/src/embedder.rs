//! Feature vectors.

use std::ops::ControlFlow;
use std::path::PathBuf;

use kiln_inference::{Picture, StreamOptions, Unclassified};
use kiln_pipeline::embed::EmbedRequest;
use kiln_pipeline::engines;
use numpy::{IntoPyArray, PyArray2, PyArrayMethods};
use pyo3::prelude::*;

use crate::error::{self, ImageError};
use crate::images::{Image, Owner};
use crate::interrupt::interruptible;
use crate::model::{Options, borrow, in_context};

/// A model up to a value of its graph.
#[pyclass(frozen, module = "kiln._kiln")]
pub struct Embedder {
    embedder: kiln_pipeline::embed::Embedder,
}

#[pymethods]
impl Embedder {
    #[new]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        output: Option<String>,
        options: Options,
    ) -> PyResult<Self> {
        let threads = options.threads;
        let mut wanted = EmbedRequest::new(options.request()?);
        wanted.output = output;
        let embedder = interruptible(py, move |cancel| {
            in_context(threads, false, cancel, |context| {
                let path = engines::model_file(&path, context).map_err(error::load)?;
                kiln_pipeline::embed::Embedder::open(&path, &wanted, context).map_err(error::load)
            })
        })?;
        Ok(Self { embedder })
    }

    /// Number of values in a vector.
    #[getter]
    fn features(&self) -> usize {
        self.embedder.value().features
    }

    /// The vectors, `[images, features]`.
    fn embed<'py>(
        &self,
        py: Python<'py>,
        images: &Bound<'py, PyAny>,
        batch_size: Option<usize>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let owners = Owner::collect(images)?;
        let images = borrow(&owners)?;
        let features = self.features();
        let model = self.embedder.model();
        let vectors = interruptible(py, |cancel| {
            let options = StreamOptions::default()
                .with_batch_size(batch_size)
                .with_cancel(cancel);
            let preprocessor = model.preprocessor();
            let prepare = |image: &Image<'_>, out: &mut [f32]| image.prepare(preprocessor, out);
            let mut vectors = Vec::with_capacity(images.len() * features);
            let mut index = 0;
            let ended = model.stream(images.iter().copied(), &options, prepare, |_, result| {
                let reason = match result {
                    Ok(computed) => {
                        vectors.extend_from_slice(computed.scores);
                        index += 1;
                        return ControlFlow::Continue(());
                    }
                    Err(Unclassified::Prepare(reason)) => error::text(&reason),
                    Err(Unclassified::NotFinite(reason)) => error::text(&reason),
                };
                ControlFlow::Break(ImageError::new_err(format!("image {index}: {reason}")))
            });
            match ended.map_err(error::kiln)? {
                ControlFlow::Continue(_) => Ok(vectors),
                ControlFlow::Break(error) => Err(error),
            }
        })?;
        vectors.into_pyarray(py).reshape([images.len(), features])
    }
}
