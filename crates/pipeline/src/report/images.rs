//! Images on a run's page: samples of those it was trained on, the most confident errors on the test
//! images, and where the model looks in these.

use std::path::Path;

use kiln_data::Dataset;
use kiln_report::{Block, Card, Figure, MAX_LABEL, Section};
use kiln_run::RunFile;
use kiln_util::{percent, shown, thousands};

use super::pictures::{Seen, augmented, samples, thumbnail};
use crate::context::Context;
use crate::dataset::{self, Missing};
use crate::engines::{self, EngineRequest};
use crate::error::training::ReportRunError;
use crate::error::{Error, Result};
use crate::explain::{ExplainRequest, Explainer, Patches};
use crate::inputs::Inputs;
use crate::predictions::{self, Prediction};
use crate::run_record::RunRecord;

/// Most that are shown.
const SHOWN: usize = 24;
/// Most that are explained.
const EXPLAINED: usize = 12;
/// Most multiplications with an addition that explaining them may take: a second or two on two cores. A number of
/// operations rather than a time, so that a page is the same whenever it is made.
const MULTIPLY_ADDS: u64 = 30_000_000_000;

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

/// All mistakes on the test images, the most confident first.
pub struct Mistakes(Vec<Prediction>);

/// Of a run that has predictions; nothing of others.
pub fn mistakes(record: &RunRecord) -> Result<Option<Mistakes>> {
    let Some(mut wrong) = predictions(record)? else {
        return Ok(None);
    };
    wrong.retain(|p| p.label != p.predicted);
    wrong.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    Ok(Some(Mistakes(wrong)))
}

/// The predictions of a run for its test images, in their order; nothing where it has none.
pub fn predictions(record: &RunRecord) -> Result<Option<Vec<Prediction>>> {
    let path = record.run.file(RunFile::Predictions);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = record.run.read(RunFile::Predictions)?;
    let predictions = predictions::read(&path.display().to_string(), &bytes)?;
    Ok(Some(predictions))
}

impl Mistakes {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Those whose class is `label` and whose predicted class is `predicted`, the most confident first.
    pub fn of(&self, label: &str, predicted: &str) -> impl Iterator<Item = &Prediction> {
        self.0
            .iter()
            .filter(move |mistake| mistake.label == label && mistake.predicted == predicted)
    }

    /// How many of them [`cards`](Self::cards) shows.
    pub fn shown(&self) -> usize {
        self.count().min(SHOWN)
    }

    /// The most confident ones with their images.
    pub fn cards(&self, record: &RunRecord, context: &Context<'_>) -> Result<Vec<Card>> {
        let images = dataset::test_images(&record.recipe, context)?;
        let images = images.dataset();
        let shown = self.0.iter().take(SHOWN);
        shown
            .map(|mistake| card(mistake, images, &caption(mistake, images, record)?))
            .collect()
    }

    /// The most confident ones, each beside a map of where the exported model looks; none where there is no such
    /// model, it cannot be run here, or explaining even one would take long.
    pub fn explained(&self, record: &RunRecord, context: &Context<'_>) -> Result<Option<Figure>> {
        let preprocessing = record.recipe.preprocessing();
        let [_, height, width] = preprocessing.shape();
        let patches = Patches::new([height, width], None, None)?;
        let one_run = record.recipe.model().multiply_adds();
        let each = one_run.saturating_mul(patches.count() as u64);
        let affordable = (MULTIPLY_ADDS / each.max(1)) as usize;
        let chosen = self.0.iter().take(EXPLAINED.min(affordable));
        let chosen: Vec<&Prediction> = chosen.collect();
        if chosen.is_empty() {
            return Ok(None);
        }
        let loaded = engines::open(&record.run.file(RunFile::Model))
            .and_then(|file| engines::load(&file, &EngineRequest::default(), context));
        let Ok(model) = loaded else {
            return Ok(None);
        };
        let images = dataset::test_images(&record.recipe, context)?;
        let images = images.dataset();
        let captions = chosen
            .iter()
            .map(|mistake| caption(mistake, images, record))
            .collect::<Result<Vec<String>>>()?;
        let indices = chosen.iter().map(|mistake| mistake.index as u32).collect();
        let mut seen = Seen::new(model.preprocessing())?;
        let inputs = Inputs::of_dataset(images, indices);
        let explainer = Explainer::new(&model, &ExplainRequest::default())?;
        let ended = explainer.explain(inputs, context, |input, explanation| {
            let is_of = |mistake: &&Prediction| mistake.index as u64 == input.index;
            let caption = &captions[chosen.iter().position(is_of).unwrap_or_default()];
            seen.push_explained(input, caption, explanation, explainer.places())?;
            Ok::<_, Error>(())
        });
        // A model that gives no number for a covered image is no reason to have no page.
        if ended.is_err() {
            return Ok(None);
        }
        let picture = seen.draw()?;
        Ok(picture.map(|picture| Figure {
            name: "explained".into(),
            picture,
            caption: format!(
                "Where the model looks: how much the probability of the predicted class drops, in percentage points, \
                 when a patch of {0} x {0} pixels is covered with the image's mean color",
                patches.patch
            ),
        }))
    }
}

/// The image of a prediction with a caption.
pub fn card(prediction: &Prediction, images: &Dataset, caption: &str) -> Result<Card> {
    let Prediction {
        index,
        label,
        predicted,
        ..
    } = prediction;
    let path = images.path(*index).map_or_else(
        || format!("image {index}"),
        |path| path.display().to_string(),
    );
    let description = format!("{path}: {label}, predicted as {predicted}");
    Ok(Card {
        tile: thumbnail(images, *index, caption)?,
        description,
    })
}

/// An image's name, its class, and the predicted one with its probability.
fn caption(mistake: &Prediction, images: &Dataset, record: &RunRecord) -> Result<String> {
    let Prediction {
        label,
        predicted,
        probability,
        ..
    } = mistake;
    Ok(format!(
        "{}\ntrue {label}\n{predicted}: {}",
        name(mistake, images, record)?,
        percent(*probability)
    ))
}

/// The name of a prediction's image, which must be one of the test images.
pub fn name(prediction: &Prediction, images: &Dataset, record: &RunRecord) -> Result<String> {
    let index = prediction.index;
    if index >= images.len() {
        let last = images.len() - 1;
        let path = record.run.file(RunFile::Predictions);
        let problem = format!("found image {index}, expected 0 to {last}");
        return Err(ReportRunError::Predictions { path, problem }.into());
    }
    // Images of IDX files have numbers instead.
    Ok(images.path(index).and_then(Path::file_name).map_or_else(
        || format!("image {index}"),
        |name| shown(&name.to_string_lossy(), MAX_LABEL),
    ))
}
