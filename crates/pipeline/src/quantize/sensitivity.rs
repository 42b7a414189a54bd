//! What each layer costs in 8 bits.

use kiln_onnx::ModelFile;
use kiln_report::{LayerCost, Picture, plot_sensitivity};
use serde::{Deserialize, Serialize};

use super::{Calibrated, load};
use crate::context::Context;
use crate::error::Result;
use crate::error::models::QuantizeModelError;
use crate::event::Task;

/// What one layer in 8 bits does to the scores, all others in float.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Sensitivity {
    /// The node's label.
    pub layer: String,
    /// The mean squared change of a score by the variance of the scores: 0.01 is a noise of a tenth of them.
    pub noise: f64,
}

impl Sensitivity {
    /// Draws what layers cost, those apart that `kept` names: they stay in float.
    ///
    /// # Errors
    ///
    /// Why nothing can be drawn.
    pub fn plot(costs: &[Self], kept: &[String]) -> Result<Picture> {
        let costs: Vec<LayerCost<'_>> = costs
            .iter()
            .map(|cost| LayerCost {
                layer: &cost.layer,
                noise: cost.noise,
                kept: kept.contains(&cost.layer),
            })
            .collect();
        Ok(plot_sensitivity(&costs)?)
    }
}

impl Calibrated {
    /// Runs the model once for each layer, that layer alone in 8 bits, on up to `images` of the first 64 calibration
    /// images; the most costly layers come first. Returns nothing if the work was cancelled.
    ///
    /// # Errors
    ///
    /// Why a model cannot be written or run.
    pub fn sensitivities(
        &self,
        images: usize,
        context: &Context<'_>,
    ) -> Result<Option<Vec<Sensitivity>>> {
        let nodes = self.nodes();
        let all = &self.judged;
        let images = images.min(all.images);
        let pixels = &all.pixels[..images * (all.pixels.len() / all.images)];
        let scores = &all.scores[..images * (all.scores.len() / all.images)];
        let task = context.task(Task::Sensitivity, Some(nodes.len() as u64));
        let variance = variance(scores);
        let mut found = Vec::with_capacity(nodes.len());
        for layer in nodes {
            if context.cancel.is_cancelled() {
                return Ok(None);
            }
            let proto = self
                .prepared
                .quantize(&self.calibration, &|label| label != layer)
                .map_err(QuantizeModelError::Quantize)?;
            let file = ModelFile::from_bytes(kiln_onnx::encode(&proto));
            let model = load(&file, &self.engine, context)?;
            let outputs = model.run_named(pixels, images)?;
            let squares = outputs[0].data.iter().zip(scores);
            let squares = squares.map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
            let mean = squares.sum::<f64>() / scores.len().max(1) as f64;
            found.push(Sensitivity {
                layer: layer.clone(),
                noise: mean / variance,
            });
            task.advance(1);
        }
        found.sort_by(|a, b| b.noise.total_cmp(&a.noise));
        Ok(Some(found))
    }
}

fn variance(values: &[f32]) -> f64 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().copied().map(f64::from).sum::<f64>() / count;
    let squares = values
        .iter()
        .map(|&value| (f64::from(value) - mean).powi(2));
    (squares.sum::<f64>() / count).max(f64::MIN_POSITIVE)
}
