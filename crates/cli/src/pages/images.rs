//! What the model was trained on.

use kiln_eval::{Block, Figure, Section};

use crate::commands::Context;
use crate::record::RunRecord;
use crate::terminal::thousands;
use crate::{dataset, picture};

/// Samples of the training images, as they are and as augmentation changes them.
pub fn images(record: &RunRecord, context: &Context<'_>) -> anyhow::Result<Section> {
    let recipe = &record.recipe;
    let sets = dataset::sets(recipe, context)?;
    let text = format!(
        "{}: {} images to train on, and {} to validate each epoch.",
        recipe.data.dataset,
        thousands(sets.train.len()),
        thousands(sets.validation.len()),
    );
    let figure = |name: &str, picture, caption: &str| Figure { name: name.into(), picture, caption: caption.into() };
    let mut figures = vec![figure("samples", picture::samples(&sets.train)?, "Images of every class")];
    if recipe.augmentation.is_some() {
        let picture = picture::augmented(&sets.train, recipe)?;
        figures.push(figure("augmented", picture, "Images as they are, and as the first epochs see them"));
    }
    Ok(Section { title: "Training images".into(), blocks: vec![Block::Text(text), Block::Figures(figures)] })
}
