//! Images as they are, or what the frozen layers make of them.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use kiln_data::{FeatureKey, FeatureWriter, Features, Samples, View};
use kiln_inference::Model as Engine;
use kiln_model::{Layer, Model};
use kiln_preprocess::Preprocessor;
use kiln_run::{FeatureTime, RunFile, Weights};
use kiln_trainer::{FeatureTask, TrainError, compute_features, feature_key};

use super::phases::Training;
use crate::backbone::{BackboneFile, stream};
use crate::dataset::Splits;
use crate::error::Result;
use crate::event::{Event, FeaturesInfo, Task};

/// The samples of both sets as the layer `first_layer` takes them.
#[derive(Clone)]
pub struct Prepared {
    pub first_layer: usize,
    /// As in [`Splits::sources`].
    sources: Vec<Samples>,
}

impl Prepared {
    /// Images, for the first layer.
    pub fn images(splits: &Splits, preprocessor: &Arc<Preprocessor>) -> Self {
        let images = |view: &View| Samples::images(view.clone(), Arc::clone(preprocessor));
        Self {
            first_layer: 0,
            sources: splits.sources.iter().map(images).collect(),
        }
    }

    /// Runs the samples through more layers of the model, up to `first_layer`, which all are frozen.
    /// Returns `None` if cancelled.
    pub fn advance(
        &self,
        first_layer: usize,
        model: &Model,
        weights: &Weights,
        training: &Training<'_>,
    ) -> Result<Option<Self>> {
        // A graph in a file is the first layer, and an engine's work.
        let frozen = training.backbone.and_then(BackboneFile::frozen);
        if let (0, Some(frozen)) = (self.first_layer, frozen)
            && first_layer > 0
        {
            let by_engine = |samples: &Samples| {
                let span = 0..1;
                let run = Run::of(span, samples, model, weights, training, Some(frozen));
                run.features()
            };
            let Some(graph) = self.each(1, by_engine)? else {
                return Ok(None);
            };
            return graph.advance(first_layer, model, weights, training);
        }
        if first_layer == self.first_layer {
            return Ok(Some(self.clone()));
        }
        let by_burn = |samples: &Samples| {
            let span = self.first_layer..first_layer;
            Run::of(span, samples, model, weights, training, None).features()
        };
        self.each(first_layer, by_burn)
    }

    /// The features of all sources.
    fn each(
        &self,
        first_layer: usize,
        features: impl Fn(&Samples) -> Result<Option<Features>>,
    ) -> Result<Option<Self>> {
        let mut sources = Vec::with_capacity(self.sources.len());
        for samples in &self.sources {
            let Some(features) = features(samples)? else {
                return Ok(None);
            };
            let view = samples.view().clone();
            let rows = view.indices().into();
            sources.push(Samples::Features {
                view,
                features: Arc::new(features),
                rows,
            });
        }
        Ok(Some(Self {
            first_layer,
            sources,
        }))
    }

    /// Training and validation samples.
    pub fn split(&self, splits: &Splits) -> (Samples, Samples) {
        // One source for both, or one for each.
        let (first, last) = (&self.sources[0], &self.sources[self.sources.len() - 1]);
        (
            first.select(splits.train.clone()),
            last.select(splits.validation.clone()),
        )
    }
}

/// Consecutive frozen layers, and the samples that go through them.
struct Run<'a> {
    layers: &'a [Layer],
    samples: &'a Samples,
    weights: &'a Weights,
    training: &'a Training<'a>,
    /// What computes them, where it is not Burn.
    engine: Option<&'a Engine>,
    key: FeatureKey,
    path: PathBuf,
}

impl<'a> Run<'a> {
    fn of(
        span: Range<usize>,
        samples: &'a Samples,
        model: &'a Model,
        weights: &'a Weights,
        training: &'a Training<'a>,
        engine: Option<&'a Engine>,
    ) -> Self {
        let version = training.backbone.and_then(BackboneFile::engine);
        let key = feature_key(model, span.end, weights, samples.view(), version.as_deref());
        let folder = training.context.assets.cache_root().join("features");
        Self {
            layers: &model.layers()[span],
            samples,
            weights,
            training,
            engine,
            key,
            path: folder.join(format!("{key}.f32")),
        }
    }

    /// Number of values of a row.
    fn width(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.output.len())
    }

    /// Computes features, or finds those that were computed before. Returns `None` if cancelled.
    fn features(&self) -> Result<Option<Features>> {
        let (context, training) = (self.training.context, self.training);
        let images = self.samples.view().len();
        let last = self.layers.last();
        let info = FeaturesInfo {
            images,
            layer: last.map_or("", |layer| layer.name.as_str()),
            bytes: (images * self.width() * 4) as u64,
            path: &self.path,
        };
        let start = Instant::now();
        let mut task = None;
        let mut progress = |done: usize, total: usize| {
            let task = task.get_or_insert_with(|| {
                context.emit(&Event::FeaturesComputing(info));
                let task = context.task(Task::Features, Some(total as u64));
                task.resume(done as u64)
            });
            task.set(done as u64);
        };
        let computed = match self.engine {
            Some(engine) => self.by_engine(engine, &mut progress)?,
            None => compute_features(
                &FeatureTask {
                    layers: self.layers,
                    weights: self.weights,
                    samples: self.samples,
                    key: self.key,
                    path: &self.path,
                    device: training.device,
                    cancel: &context.cancel,
                },
                &mut progress,
            )?,
        };
        match (task.take(), &computed) {
            (Some(_), Some(_)) => {
                let seconds = start.elapsed().as_secs_f64();
                context.emit(&Event::FeaturesComputed {
                    features: info,
                    seconds,
                });
                let before: Option<FeatureTime> = training.run.read_json(RunFile::Features)?;
                let time = FeatureTime {
                    seconds: before.unwrap_or_default().seconds + seconds,
                };
                training.run.write_json(RunFile::Features, &time)?;
            }
            (Some(_), None) => {}
            (None, _) => context.emit(&Event::FeaturesReused(info)),
        }
        Ok(computed)
    }

    /// Computes features on an inference engine, batches on all cores. What the file has already is
    /// not computed again.
    fn by_engine(
        &self,
        engine: &Engine,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Option<Features>> {
        let (rows, width) = (self.samples.view().len(), self.width());
        if let Some(features) =
            Features::open(&self.path, self.key, rows, width).map_err(TrainError::from)?
        {
            return Ok(Some(features));
        }
        let mut writer =
            FeatureWriter::open(&self.path, self.key, rows, width).map_err(TrainError::from)?;
        let mut done = writer.done();
        let rest = self.samples.view().skip(done);
        let mut waiting: Vec<f32> = Vec::new();
        progress(done, rows);
        let computed = stream(engine, &rest, self.training.context, |values| {
            waiting.extend_from_slice(values);
            done += 1;
            if waiting.len() >= ROWS_PER_WRITE * width || done == rows {
                writer.append(&waiting).map_err(TrainError::from)?;
                waiting.clear();
            }
            progress(done, rows);
            Ok(())
        })?;
        drop(writer);
        if !computed {
            return Ok(None);
        }
        let features = Features::open(&self.path, self.key, rows, width);
        Ok(features.map_err(TrainError::from)?)
    }
}

/// Rows that are written together: an interruption loses at most these.
const ROWS_PER_WRITE: usize = 256;
