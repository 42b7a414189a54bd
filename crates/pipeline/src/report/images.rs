//! Images on a run's page: samples of those it was trained on, and the most confident errors on the
//! test images.

use std::path::Path;

use kiln_report::{Block, Card, Figure, MAX_LABEL, Section};
use kiln_run::RunFile;
use kiln_util::{percent, shown, thousands};

use super::pictures::{augmented, samples, thumbnail};
use crate::context::Context;
use crate::dataset::{self, Missing};
use crate::error::Result;
use crate::error::training::ReportRunError;
use crate::predictions::{self, Prediction};
use crate::run_record::RunRecord;

/// Most that are shown.
const SHOWN: usize = 24;

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
        samples(&splits.train, None)?,
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

/// All mistakes on the test images.
pub struct Mistakes {
    count: usize,
    /// The most confident first.
    most_confident: Vec<Prediction>,
}

/// Of a run that has predictions; nothing of others.
pub fn mistakes(record: &RunRecord) -> Result<Option<Mistakes>> {
    let path = record.run.file(RunFile::Predictions);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = record.run.read(RunFile::Predictions)?;
    let predictions = predictions::read(&path.display().to_string(), &bytes)?;
    let mut wrong: Vec<Prediction> = predictions
        .into_iter()
        .filter(|p| p.label != p.predicted)
        .collect();
    wrong.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    let count = wrong.len();
    wrong.truncate(SHOWN);
    Ok(Some(Mistakes {
        count,
        most_confident: wrong,
    }))
}

impl Mistakes {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// How many of them [`cards`](Self::cards) shows.
    pub fn shown(&self) -> usize {
        self.most_confident.len()
    }

    /// The most confident ones with their images.
    pub fn cards(&self, record: &RunRecord, context: &Context<'_>) -> Result<Vec<Card>> {
        let images = dataset::test_images(&record.recipe, context)?;
        let images = images.dataset();
        let card = |mistake: &Prediction| {
            if mistake.index >= images.len() {
                let (at, last) = (mistake.index, images.len() - 1);
                let path = record.run.file(RunFile::Predictions);
                let problem = format!("found image {at}, expected 0 to {last}");
                return Err(ReportRunError::Predictions { path, problem }.into());
            }
            let Prediction {
                index,
                label,
                predicted,
                probability,
            } = mistake;
            // Images of IDX files have numbers instead.
            let file = images.path(*index);
            let name = file.and_then(Path::file_name).map_or_else(
                || format!("image {index}"),
                |name| shown(&name.to_string_lossy(), MAX_LABEL),
            );
            let caption = format!(
                "{name}\ntrue {label}\n{predicted}: {}",
                percent(*probability)
            );
            let path = file.map_or(name, |path| path.display().to_string());
            let description = format!("{path}: {label}, predicted as {predicted}");
            Ok(Card {
                tile: thumbnail(images, *index, &caption)?,
                description,
            })
        };
        self.most_confident.iter().map(card).collect()
    }
}
