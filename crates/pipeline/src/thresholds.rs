//! What the probability of a class has to exceed, of a model that is trained with a binary loss.

use std::sync::Arc;

use kiln_data::{Loader, Order, Samples};
use kiln_metrics::{SeveralEvaluator, sigmoid};
use kiln_model::Threshold;
use kiln_preprocess::Preprocessor;
use kiln_run::{RunDir, RunFile};

use crate::context::Context;
use crate::dataset;
use crate::error::Result;
use crate::error::training::ExportRunError;
use crate::event::Task;
use crate::export::TrainedModel;

/// Images that are computed at once.
const BATCH: usize = 64;

/// The threshold of a class that no validation image has.
const HALF: f32 = 0.5;

/// Thresholds for the exported file; `None` if cancelled, `Some(None)` where the recipe has none.
type Chosen = Option<Option<Vec<f32>>>;

/// Returns what the recipe says, or what was chosen when the run was evaluated, or chooses it now.
///
/// # Errors
///
/// [`ExportRunError::NoThresholds`] if the validation images that it is chosen on are not there.
pub fn of_run(trained: &TrainedModel, run: &RunDir, context: &Context<'_>) -> Result<Chosen> {
    let is_best = trained.recipe.export.threshold == Some(Threshold::BestF1);
    if is_best && let Some(before) = run.read_json(RunFile::Thresholds)? {
        return Ok(Some(Some(before)));
    }
    let missing = dataset::missing(&trained.recipe.data.dataset, context);
    if let (true, Some(missing)) = (is_best, missing) {
        return Err(ExportRunError::NoThresholds { missing }.into());
    }
    chosen(trained, run, context)
}

/// Returns what the recipe says, or chooses for each class what gives the largest F1 on the validation images, with
/// probabilities that Burn computes, and keeps it in the run.
pub fn chosen(trained: &TrainedModel, run: &RunDir, context: &Context<'_>) -> Result<Chosen> {
    let thresholds = match &trained.recipe.export.threshold {
        None => return Ok(Some(None)),
        Some(Threshold::All(value)) => vec![*value],
        Some(Threshold::Each(values)) => values.clone(),
        Some(Threshold::BestF1) => {
            let Some(best) = best(trained, context)? else {
                return Ok(None);
            };
            run.write_json(RunFile::Thresholds, &best)?;
            best
        }
    };
    Ok(Some(Some(thresholds)))
}

fn best(trained: &TrainedModel, context: &Context<'_>) -> Result<Option<Vec<f32>>> {
    let view = dataset::splits(&trained.recipe, context)?.validation;
    let dataset = Arc::clone(view.dataset());
    let preprocessor = Arc::new(Preprocessor::new(trained.model.preprocessing().clone())?);
    let task = context.task(Task::Thresholds, Some(view.len() as u64));
    let loader = Loader::new(
        Samples::images(view, preprocessor),
        BATCH,
        Order::Sequential,
    )?;
    let burn = trained.burn()?;
    let scores = trained.model.classes();
    // A single score is that of the second class.
    let first = usize::from(scores == 1);
    let names = trained.labels[first..].to_vec();
    let mut evaluator = SeveralEvaluator::new(names, vec![HALF; scores])?;
    for batch in &loader {
        let batch = batch?;
        let logits = burn.logits(&batch.values)?;
        for (logits, &index) in logits.chunks_exact(scores).zip(&batch.indices) {
            let probabilities: Vec<f32> = logits.iter().copied().map(sigmoid).collect();
            let classes = dataset.classes_of(index as usize).iter();
            let truth: Vec<u32> = classes
                .filter_map(|class| class.checked_sub(first as u32))
                .collect();
            evaluator.push(&probabilities, &truth)?;
        }
        task.advance(batch.indices.len() as u64);
        if context.cancel.is_cancelled() {
            return Ok(None);
        }
    }
    let classes = evaluator.finish()?.classes.into_iter();
    Ok(Some(
        classes
            .map(|class| class.best_threshold.unwrap_or(HALF))
            .collect(),
    ))
}
