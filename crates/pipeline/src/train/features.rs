//! Images as they are, or what the frozen layers make of them.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use kiln_data::{FeatureKey, FeatureRows, FeatureWriter, Features, Loader, Order, Samples, View};
use kiln_inference::{Model as Engine, NamedTensor};
use kiln_model::{Layer, Model, Recipe};
use kiln_preprocess::Preprocessor;
use kiln_run::{FeatureTime, RunFile, Weights};
use kiln_trainer::{FeatureTask, TrainError, compute_features, feature_key};

use super::phases::Training;
use crate::backbone::{BackboneFile, stream};
use crate::context::Context;
use crate::dataset::Splits;
use crate::error::Result;
use crate::event::{Event, FeaturesInfo, Task};

/// The samples of both sets as the layer `first_layer` takes them.
#[derive(Clone)]
pub struct Prepared {
    pub first_layer: usize,
    /// As in [`Splits::sources`].
    sources: Vec<Source>,
    /// The training images, changed in as many ways as the augmentation has views.
    views: Vec<Source>,
}

/// Samples, and the changes of their images where they do not stay as they are.
#[derive(Clone)]
struct Source {
    samples: Samples,
    changes: Option<String>,
}

impl Prepared {
    /// Images, for the first layer.
    pub fn images(splits: &Splits, preprocessor: &Arc<Preprocessor>, recipe: &Recipe) -> Self {
        let images = |view: &View| Samples::images(view.clone(), Arc::clone(preprocessor));
        let sources = splits.sources.iter().map(|view| Source {
            samples: images(view),
            changes: None,
        });
        let augmentation = recipe.augmentation;
        let seed = recipe.training.seed;
        let views = augmentation.and_then(|augmentation| augmentation.views);
        let views = (0..views.unwrap_or(0)).map(|view| Source {
            samples: images(&splits.train)
                .augmented(augmentation)
                .as_in_epoch(seed, view),
            changes: Some(format!("{augmentation:?} {seed} {view}")),
        });
        Self {
            first_layer: 0,
            sources: sources.collect(),
            views: views.collect(),
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
            let by_engine = |source: &Source| {
                let run = Run::of(0..1, source, model, weights, training, Some(frozen));
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
        let by_burn = |source: &Source| {
            let span = self.first_layer..first_layer;
            Run::of(span, source, model, weights, training, None).features()
        };
        self.each(first_layer, by_burn)
    }

    /// The features of all sources and views.
    fn each(
        &self,
        first_layer: usize,
        features: impl Fn(&Source) -> Result<Option<Features>>,
    ) -> Result<Option<Self>> {
        let all = |sources: &[Source]| -> Result<Option<Vec<Source>>> {
            let mut done = Vec::with_capacity(sources.len());
            for source in sources {
                let Some(features) = features(source)? else {
                    return Ok(None);
                };
                let view = source.samples.view();
                let rows = FeatureRows::new(features, view);
                done.push(Source {
                    samples: Samples::features(view.clone(), rows),
                    changes: source.changes.clone(),
                });
            }
            Ok(Some(done))
        };
        let Some(sources) = all(&self.sources)? else {
            return Ok(None);
        };
        Ok(all(&self.views)?.map(|views| Self {
            first_layer,
            sources,
            views,
        }))
    }

    /// Training and validation samples.
    pub fn split(&self, splits: &Splits) -> (Samples, Samples) {
        // One source for both, or one for each.
        let (first, last) = (&self.sources[0], &self.sources[self.sources.len() - 1]);
        let views: Vec<Samples> = self.views.iter().map(|view| view.samples.clone()).collect();
        (
            first
                .samples
                .select(splits.train.clone())
                .with_views(&views),
            last.samples.select(splits.validation.clone()),
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
        source: &'a Source,
        model: &'a Model,
        weights: &'a Weights,
        training: &'a Training<'a>,
        engine: Option<&'a Engine>,
    ) -> Self {
        let version = training.backbone.and_then(BackboneFile::engine);
        let Source { samples, changes } = source;
        let changes = changes.as_deref();
        let key = feature_key(
            model,
            span.end,
            weights,
            samples.view(),
            version.as_deref(),
            changes,
        );
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
                if let Some(run) = training.run {
                    let before: Option<FeatureTime> = run.read_json(RunFile::Features)?;
                    let time = FeatureTime {
                        seconds: before.unwrap_or_default().seconds + seconds,
                    };
                    run.write_json(RunFile::Features, &time)?;
                }
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
        let rest = self.samples.skip(done);
        let mut waiting: Vec<f32> = Vec::new();
        progress(done, rows);
        let mut each = |values: &[f32]| {
            waiting.extend_from_slice(values);
            done += 1;
            if waiting.len() >= ROWS_PER_WRITE * width || done == rows {
                writer.append(&waiting).map_err(TrainError::from)?;
                waiting.clear();
            }
            progress(done, rows);
            Ok(())
        };
        let context = self.training.context;
        let computed = if rest.is_changed() {
            changed(engine, rest, context, &mut each)?
        } else {
            stream(engine, rest.view(), context, &mut each)?
        };
        drop(writer);
        if !computed {
            return Ok(None);
        }
        let features = Features::open(&self.path, self.key, rows, width);
        Ok(features.map_err(TrainError::from)?)
    }
}

/// Computes the outputs of an engine for changed images in their order; `each` gets those of one image.
/// Returns whether it got to the end.
fn changed(
    engine: &Engine,
    samples: Samples,
    context: &Context<'_>,
    each: &mut dyn FnMut(&[f32]) -> Result<()>,
) -> Result<bool> {
    if samples.view().is_empty() {
        return Ok(true);
    }
    let batches = Loader::new(samples, CHANGED_PER_RUN, Order::Sequential);
    for batch in &batches.map_err(TrainError::from)? {
        let batch = batch.map_err(TrainError::from)?;
        let images = batch.labels.len();
        let NamedTensor { data, .. } = engine.run_named(&batch.values, images)?.swap_remove(0);
        data.chunks_exact(data.len() / images)
            .try_for_each(&mut *each)?;
        if context.cancel.is_cancelled() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Changed images that an engine computes at once, on all cores.
const CHANGED_PER_RUN: usize = 32;

/// Rows that are written together: an interruption loses at most these.
const ROWS_PER_WRITE: usize = 256;
