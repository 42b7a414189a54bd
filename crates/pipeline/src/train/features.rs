//! Images as they are, or what the frozen layers make of them.

use std::sync::Arc;
use std::time::Instant;

use kiln_data::{Features, Samples, View};
use kiln_model::Model;
use kiln_preprocess::Preprocessor;
use kiln_run::{FeatureTime, RunFile, Weights};
use kiln_trainer::{FeatureTask, compute_features, feature_key};

use super::phases::Training;
use crate::dataset::Splits;
use crate::error::Result;
use crate::event::{Event, FeaturesInfo, Task};

/// The samples of both sets as the layer `first_layer` takes them.
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
        let mut sources = Vec::with_capacity(self.sources.len());
        for samples in &self.sources {
            if first_layer == self.first_layer {
                sources.push(samples.clone());
                continue;
            }
            let span = self.first_layer..first_layer;
            let Some(features) = features(span, samples, model, weights, training)? else {
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

/// Computes features, or finds those that were computed before. Returns `None` if cancelled.
fn features(
    span: std::ops::Range<usize>,
    samples: &Samples,
    model: &Model,
    weights: &Weights,
    training: &Training<'_>,
) -> Result<Option<Features>> {
    let context = training.context;
    let view = samples.view();
    let key = feature_key(model, span.end, weights, view);
    let folder = context.assets.cache_root().join("features");
    let path = folder.join(format!("{key}.f32"));
    let layers = &model.layers()[span];
    let last = layers.last();
    let values = last.map_or(0, |layer| layer.output.len());
    let info = FeaturesInfo {
        images: view.len(),
        layer: last.map_or("", |layer| layer.name.as_str()),
        bytes: (view.len() * values * 4) as u64,
        path: &path,
    };
    let start = Instant::now();
    let mut task = None;
    let computed = compute_features(
        &FeatureTask {
            layers,
            weights,
            samples,
            key,
            path: &path,
            device: training.device,
            cancel: &context.cancel,
        },
        &mut |done, total| {
            let task = task.get_or_insert_with(|| {
                context.emit(&Event::FeaturesComputing(info));
                let task = context.task(Task::Features, Some(total as u64));
                task.resume(done as u64)
            });
            task.set(done as u64);
        },
    )?;
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
