//! What the model was trained on.

use kiln_report::{Block, Figure, Section};

use kiln_util::thousands;

use super::pictures::{augmented, samples};
use crate::context::Context;
use crate::dataset::{self, Missing};
use crate::error::Result;
use crate::run_record::RunRecord;

/// Why the images that the run's figures are of cannot be shown, if they cannot: numbers of images
/// would mean others.
pub fn hidden(record: &RunRecord, context: &Context<'_>) -> Result<Option<String>> {
    let source = &record.recipe.data.dataset;
    // A named dataset is fetched if need be.
    if let Some(Missing::Path { path }) = dataset::missing(source, context) {
        return Ok(Some(format!("the dataset `{path}` is not there")));
    }
    let Some(environment) = &record.environment else {
        return Ok(None);
    };
    let changed = environment.data != dataset::checksums(source, context)?;
    Ok(changed.then(|| format!("the images of `{source}` have changed since it was trained")))
}

/// Samples of the training images, as they are and as augmentation changes them.
pub fn images(record: &RunRecord, context: &Context<'_>) -> Result<Section> {
    let recipe = &record.recipe;
    let splits = dataset::splits(recipe, context)?;
    let text = format!(
        "{}: {} images to train on, and {} to validate each epoch.",
        recipe.data.dataset,
        thousands(splits.train.len()),
        thousands(splits.validation.len()),
    );
    let figure = |name: &str, picture, caption: &str| Figure {
        name: name.into(),
        picture,
        caption: caption.into(),
    };
    let mut figures = vec![figure(
        "samples",
        samples(&splits.train)?,
        "Images of every class",
    )];
    if recipe.augmentation.is_some() {
        let picture = augmented(&splits.train, recipe)?;
        figures.push(figure(
            "augmented",
            picture,
            "Images as they are, and as the first epochs see them",
        ));
    }
    Ok(Section {
        title: "Training images".into(),
        blocks: vec![Block::Text(text), Block::Figures(figures)],
    })
}
