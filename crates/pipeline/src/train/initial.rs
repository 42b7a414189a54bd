//! Weights of another run that a training begins with.

use std::fs;
use std::path::Path;

use kiln_model::Recipe;
use kiln_run::{RunDir, RunFile, Weights};

use super::TrainRunError;
use crate::context::Context;
use crate::error::Result;
use crate::event::Event;

/// Reads the weights that the recipe's `init` has for its model: those with the name and the shape of a
/// parameter. Nothing where the recipe has no `init`.
pub fn of_other_run(recipe: &Recipe, context: &Context<'_>) -> Result<Option<Weights>> {
    let Some(init) = &recipe.training.init else {
        return Ok(None);
    };
    let path = Path::new(init);
    let fail = |problem: String| TrainRunError::Initial {
        path: path.into(),
        problem,
    };
    let (file, called) = if path.is_dir() {
        let run = RunDir::open(path)?;
        (run.file(RunFile::Weights), "its `weights.safetensors`")
    } else {
        (path.to_path_buf(), "it")
    };
    let bytes =
        fs::read(&file).map_err(|error| fail(format!("{called} cannot be read: {error}")))?;
    let mut found = Weights::from_bytes(&bytes)
        .map_err(|error| fail(format!("{called} cannot be used: {error}")))?;
    let mut taken = Weights::default();
    let mut drawn = Vec::new();
    for param in recipe.model().params() {
        match found.remove(&param.name) {
            Some(tensor) if tensor.shape == param.shape => {
                taken.insert(param.name.clone(), tensor);
            }
            _ => drawn.push(param.name.as_str()),
        }
    }
    if taken.is_empty() {
        return Err(fail(
            "none of its tensors has the name and shape of one of the model's".into(),
        )
        .into());
    }
    context.emit(&Event::BegunWith {
        path,
        taken: taken.len(),
        drawn: &drawn,
    });
    Ok(Some(taken))
}
