//! What the model was trained on.

use kiln_model::DataSource;
use kiln_report::{Block, Figure, Section};

use crate::commands::Context;
use crate::record::RunRecord;
use crate::{dataset, picture};
use kiln_util::thousands;

/// Why the images that the run's figures are of cannot be shown, if they cannot: numbers of images
/// would mean others.
pub fn hidden(record: &RunRecord, context: &Context<'_>) -> anyhow::Result<Option<String>> {
    let source = &record.recipe.data.dataset;
    // A named data set is fetched if need be.
    if let (DataSource::Folder(_) | DataSource::Csv(_), Some(gap)) =
        (source, dataset::gap(source, context))
    {
        return Ok(Some(gap));
    }
    let Some(environment) = &record.environment else {
        return Ok(None);
    };
    let changed = environment.data != dataset::checksums(source, context)?;
    Ok(changed.then(|| format!("the images of `{source}` have changed since it was trained")))
}

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
    let figure = |name: &str, picture, caption: &str| Figure {
        name: name.into(),
        picture,
        caption: caption.into(),
    };
    let mut figures = vec![figure(
        "samples",
        picture::samples(&sets.train)?,
        "Images of every class",
    )];
    if recipe.augmentation.is_some() {
        let picture = picture::augmented(&sets.train, recipe)?;
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
