//! The classes that are confused most often, with images of them.

use kiln_metrics::{Confusion, Evaluation};
use kiln_report::{Block, Section};
use kiln_util::{percent, thousands};

use super::images::{Mistakes, card, name};
use crate::context::Context;
use crate::dataset;
use crate::error::Result;
use crate::run_record::RunRecord;

/// Most pairs of classes that are listed.
const PAIRS: usize = 5;
/// Most images that are shown of each.
const IMAGES: usize = 4;

/// The pairs of a true and a predicted class with the most images, each with its most confident images if these can be
/// shown; none where there are no mistakes.
pub fn confused(
    evaluation: &Evaluation,
    mistakes: &Mistakes,
    shown: bool,
    record: &RunRecord,
    context: &Context<'_>,
) -> Result<Option<Section>> {
    let pairs = evaluation.confusion.most_confused(PAIRS);
    if pairs.is_empty() {
        return Ok(None);
    }
    let images = shown.then(|| dataset::test_images(&record.recipe, context));
    let images = images.transpose()?;
    let mut blocks = Vec::new();
    for (at, pair) in pairs.iter().enumerate() {
        blocks.push(Block::Text(described(pair, evaluation)));
        let Some(images) = &images else {
            continue;
        };
        let images = images.dataset();
        let [label, predicted] = [pair.truth, pair.predicted].map(|class| label(evaluation, class));
        let cards = mistakes.of(label, predicted).take(IMAGES).map(|mistake| {
            let name = name(mistake, images, record)?;
            let caption = format!("{name}\n{}", percent(mistake.probability));
            card(mistake, images, &caption)
        });
        blocks.push(Block::Cards {
            name: format!("confused-{}", at + 1),
            cards: cards.collect::<Result<_>>()?,
        });
    }
    Ok(Some(Section {
        title: "Most confused classes".into(),
        blocks,
    }))
}

fn label(evaluation: &Evaluation, class: usize) -> &str {
    &evaluation.classes[class].label
}

fn described(pair: &Confusion, evaluation: &Evaluation) -> String {
    let &Confusion {
        truth,
        predicted,
        count,
    } = pair;
    let support = evaluation.classes[truth].support;
    let back = evaluation.confusion.get(predicted, truth);
    format!(
        "{} predicted as {}: {} of {} images, {}; the other way round {} of {}.",
        label(evaluation, truth),
        label(evaluation, predicted),
        thousands(count as usize),
        thousands(support as usize),
        percent(count as f64 / support as f64),
        thousands(back.unwrap_or_default() as usize),
        thousands(evaluation.classes[predicted].support as usize),
    )
}
