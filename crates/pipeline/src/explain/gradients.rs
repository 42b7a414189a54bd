//! Grad-CAM of a model that was trained here: how much each place of its last feature maps speaks for a
//! class, by the gradients of the class's logit.
//!
//! The gradients are those of [`kiln_trainer::GradCam`]; the scores are the exported model's.

use kiln_inference::{Model, ModelFile};
use kiln_model::{Backbone, LayerKind, Shape};
use kiln_run::RunDir;
use kiln_trainer::GradCam;

use super::{Cells, ExplainError, Method, Places, Prepared};
use crate::context::Context;
use crate::engines::{self, EngineRequest};
use crate::error::Result;
use crate::event::Task;
use crate::export::TrainedModel;

/// A run's model with its best weights, as gradients go through it and as it is exported.
pub struct RunGradients {
    model: Model,
    trained: TrainedModel,
    cam: GradCam,
    places: Places,
}

impl RunGradients {
    /// Loads a run's model; `request` says what computes its scores.
    ///
    /// # Errors
    ///
    /// [`ExplainError::NoPlaces`] where no layer's output has places any more that Burn could find the gradients
    /// of.
    pub fn open(run: &RunDir, request: &EngineRequest, context: &Context<'_>) -> Result<Self> {
        let recipe = run.recipe(kiln_trainer::bases())?;
        let trained = TrainedModel::open(run, recipe, context)?;
        let file = kiln_onnx::encode(&trained.export()?.proto);
        let model = engines::load(&ModelFile::from_bytes(file), request, context)?;
        let trained = match last_places(&trained) {
            Some(after) => trained.with_segments_from(after, context)?,
            None => trained,
        };
        let Some(cam) = trained.grad_cam()? else {
            let run = run.path().to_path_buf();
            return Err(ExplainError::NoPlaces { run }.into());
        };
        let [_, height, width] = model.preprocessor().shape();
        let [rows, columns] = cam.places();
        let places = Places::Cells(Cells {
            layer: cam.layer().into(),
            height,
            width,
            rows,
            columns,
        });
        Ok(Self {
            model,
            trained,
            cam,
            places,
        })
    }

    /// Returns the exported model.
    pub const fn model(&self) -> &Model {
        &self.model
    }
}

/// Where the frozen graph of a file ends in a vector: the number of its segments up to the last one whose output
/// has several places, if Burn can compute those after it.
fn last_places(trained: &TrainedModel) -> Option<usize> {
    let first = trained.model.layers().first()?;
    let LayerKind::Graph(graph) = &first.kind else {
        return None;
    };
    let has_places =
        |shape| matches!(shape, Shape::Image { height, width, .. } if height * width > 1);
    if has_places(graph.output) {
        return None;
    }
    let Backbone { base, .. } = trained.recipe.backbone.as_ref()?;
    let segments = &base.file.as_ref()?.segments[..graph.segments.len()];
    let last = segments
        .iter()
        .rposition(|segment| segment.shape().is_ok_and(has_places))?;
    let computed = segments[last + 1..]
        .iter()
        .all(|segment| segment.trained.is_ok());
    computed.then_some(last + 1)
}

/// Follows gradients back to feature maps.
pub(super) struct Gradients<'a>(&'a RunGradients);

impl<'a> Gradients<'a> {
    pub fn of(run: &'a RunGradients) -> Self {
        Self(run)
    }
}

impl Method for Gradients<'_> {
    fn places(&self) -> &Places {
        &self.0.places
    }

    fn task(&self) -> (Task<'static>, u64) {
        (Task::Gradients, 1)
    }

    fn values(
        &self,
        _: &Model,
        image: &Prepared<'_>,
        context: &Context<'_>,
        advance: &dyn Fn(u64),
    ) -> Result<Option<Vec<f32>>> {
        if context.cancel.is_cancelled() {
            return Ok(None);
        }
        let RunGradients { trained, cam, .. } = self.0;
        let pass = cam.forward(trained.burn_input(&image.values)?.into_owned())?;
        // One logit is that of the second of two classes.
        let (logit, against) = match pass.logits() {
            [_] => (0, image.class == 0),
            _ => (image.class, false),
        };
        let values = pass.map(logit, against)?;
        advance(1);
        Ok(Some(values))
    }
}
