//! The most confident errors on the test images.

use std::path::Path;

use kiln_report::{Card, MAX_LABEL};
use kiln_run::RunFile;
use kiln_util::{percent, shown};

use super::pictures::thumbnail;
use crate::context::Context;
use crate::dataset;
use crate::error::Result;
use crate::error::training::ReportRunError;
use crate::predictions::{self, Prediction};
use crate::run_record::RunRecord;

/// Most that are shown.
const SHOWN: usize = 24;

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
