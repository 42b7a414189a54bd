//! Images as they are, or what the frozen layers make of them.

use std::sync::Arc;
use std::time::Instant;

use kiln_data::{Features, Samples, View};
use kiln_inference::Preprocessor;
use kiln_model::Model;
use kiln_run::Weights;
use kiln_trainer::{Device, FeatureTask, compute_features, feature_key};

use super::super::Context;
use crate::dataset::Sets;
use crate::interrupt;
use crate::sign_of_life::SignOfLife;
use crate::terminal::bytes;
use kiln_util::{duration, thousands};

/// The samples of both sets as the layer `first_layer` takes them.
pub struct Prepared {
    pub first_layer: usize,
    /// As in [`Sets::sources`].
    sources: Vec<Samples>,
}

impl Prepared {
    /// Images, for the first layer.
    pub fn images(sets: &Sets, preprocessor: &Arc<Preprocessor>) -> Self {
        let images = |view: &View| Samples::images(view.clone(), Arc::clone(preprocessor));
        Self {
            first_layer: 0,
            sources: sets.sources.iter().map(images).collect(),
        }
    }

    /// The same samples behind more layers of the model, up to `first_layer`, which all are frozen;
    /// nothing if the user stopped it.
    pub fn advance(
        &self,
        first_layer: usize,
        model: &Model,
        weights: &Weights,
        device: &Device,
        context: &Context<'_>,
    ) -> anyhow::Result<Option<Self>> {
        let mut sources = Vec::with_capacity(self.sources.len());
        for samples in &self.sources {
            if first_layer == self.first_layer {
                sources.push(samples.clone());
                continue;
            }
            let span = self.first_layer..first_layer;
            let Some(features) = features(span, samples, model, weights, device, context)? else {
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
    pub fn split(&self, sets: &Sets) -> (Samples, Samples) {
        // One source for both, or one for each.
        let (first, last) = (&self.sources[0], &self.sources[self.sources.len() - 1]);
        (
            first.select(sets.train.clone()),
            last.select(sets.validation.clone()),
        )
    }
}

fn features(
    span: std::ops::Range<usize>,
    samples: &Samples,
    model: &Model,
    weights: &Weights,
    device: &Device,
    context: &Context<'_>,
) -> anyhow::Result<Option<Features>> {
    let terminal = context.terminal;
    let view = samples.view();
    let key = feature_key(model, span.end, weights, view);
    let path = context
        .assets
        .cache
        .root()
        .join("features")
        .join(format!("{key}.f32"));
    let layers = &model.layers()[span];
    let last = layers.last().map_or("", |layer| layer.name.as_str());
    let values = layers.last().map_or(0, |layer| layer.output.len());
    let what = format!("features of {} images behind {last}", thousands(view.len()));
    let size = bytes((view.len() * values * 4) as u64);
    let start = Instant::now();
    let (mut bar, mut sign_of_life) = (None, SignOfLife::new());
    let features = compute_features(
        &FeatureTask {
            layers,
            weights,
            samples,
            key,
            path: &path,
            device,
            cancel: interrupt::token(),
        },
        &mut |done, total| {
            let bar = bar.get_or_insert_with(|| {
                terminal.status(
                    "Computing",
                    &format!("{what} once ({size}), into {}", path.display()),
                );
                let bar = terminal.progress("    Features", Some(total as u64));
                // What was there already does not count for the speed.
                bar.set_position(done as u64);
                bar.reset_eta();
                bar
            });
            bar.set_position(done as u64);
            sign_of_life.follow(bar, terminal);
        },
    )?;
    match (&bar, &features) {
        (Some(bar), computed) => {
            bar.finish_and_clear();
            if computed.is_some() {
                terminal.status(
                    "Computed",
                    &format!("{what} in {}", duration(start.elapsed().as_secs_f64())),
                );
            }
        }
        (None, _) => terminal.status("Reusing", &format!("{what}: {}", path.display())),
    }
    Ok(features)
}
