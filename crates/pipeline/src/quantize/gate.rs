//! Whether a smaller model may replace the original, and how few of its layers have to stay in float for that.

use kiln_inference::Model;

use super::{Calibrated, Quantized, Sensitivity, load};
use crate::compare::{Comparison, compare};
use crate::context::Context;
use crate::engines::EngineRequest;
use crate::error::Result;
use crate::inputs::Inputs;

/// A bound on what may be lost, and the images that it is measured on.
pub struct Gate<'a> {
    /// The original.
    pub model: &'a Model,
    /// What computes the smaller model.
    pub engine: &'a EngineRequest,
    /// Opens the held-out images, which have labels, such as by [`inputs::labeled`](crate::inputs::labeled).
    pub images: &'a dyn Fn() -> Result<Inputs>,
    /// Accuracy that may be lost, 0 to 1; any if not given.
    pub max_drop: Option<f64>,
    /// Images per batch, at most.
    pub batch_size: usize,
}

/// A smaller model that was measured beside the original.
pub struct Passed {
    /// The model.
    pub quantized: Quantized,
    /// The layers that were left in float, the most costly first.
    pub kept: Vec<String>,
    /// Both models on the held-out images.
    pub comparison: Comparison,
    /// Whether no more was lost than may be.
    pub passes: bool,
}

impl Gate<'_> {
    /// Measures a smaller model, of which these layers were left in float. Returns nothing if the work was cancelled.
    ///
    /// # Errors
    ///
    /// Why it cannot be loaded or run on the images.
    pub fn measure(
        &self,
        quantized: Quantized,
        kept: &[String],
        context: &Context<'_>,
    ) -> Result<Option<Passed>> {
        let small = load(&quantized.file, self.engine, context)?;
        let images = (self.images)()?;
        images.check_one_label()?;
        let compared = compare([self.model, &small], images, self.batch_size, context)?;
        Ok(compared.map(|comparison| Passed {
            passes: self
                .max_drop
                .is_none_or(|most| -comparison.accuracy_change() <= most),
            comparison,
            kept: kept.to_vec(),
            quantized,
        }))
    }
}

impl Calibrated {
    /// Finds the fewest layers, the most costly first, without which in 8 bits the model passes: by doubling their
    /// number until it does, and halving between. `keep` stay in float in any case. Returns the model with all layers
    /// but one in float where none passes, and nothing if the work was cancelled.
    ///
    /// # Errors
    ///
    /// Why a model cannot be written or run.
    pub fn fewest_in_float(
        &self,
        costs: &[Sensitivity],
        keep: &[String],
        gate: &Gate<'_>,
        context: &Context<'_>,
    ) -> Result<Option<Passed>> {
        let order: Vec<&String> = costs
            .iter()
            .map(|cost| &cost.layer)
            .filter(|layer| !keep.contains(layer))
            .collect();
        let most = order.len().saturating_sub(1);
        let measure = |count: usize| {
            let costly = order[..count].iter().map(|&layer| layer.clone());
            let kept: Vec<String> = keep.iter().cloned().chain(costly).collect();
            gate.measure(self.quantize(&kept, context)?, &kept, context)
        };
        // The most that are known not to suffice, and the fewest that do.
        let (mut too_few, mut count) = (None, 0);
        let mut best = loop {
            let Some(passed) = measure(count)? else {
                return Ok(None);
            };
            if passed.passes || count == most {
                break passed;
            }
            too_few = Some(count);
            count = (2 * count).max(1).min(most);
        };
        let mut low = too_few.unwrap_or(0);
        while best.passes && count > low + 1 {
            let middle = low + (count - low) / 2;
            let Some(passed) = measure(middle)? else {
                return Ok(None);
            };
            if passed.passes {
                (best, count) = (passed, middle);
            } else {
                low = middle;
            }
        }
        Ok(Some(best))
    }
}
