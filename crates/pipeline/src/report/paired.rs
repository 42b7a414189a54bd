//! Two runs on the same test images: how many only one of them got right, and which.

use kiln_data::{SubsetRole, subset_role};
use kiln_metrics::Paired;
use kiln_report::{Block, Card, Section, Table};
use kiln_util::{percent, thousands};

use super::images::{card, hidden, name, predictions};
use crate::compare::p_value_text;
use crate::context::Context;
use crate::dataset;
use crate::error::Result;
use crate::event::Event;
use crate::predictions::Prediction;
use crate::run_record::RunRecord;

/// Most images that are shown of those that only one run got right.
const SHOWN: usize = 12;

/// An image with what each run predicts.
type Both<'a> = [&'a Prediction; 2];

/// Compares two runs, called by these letters, image by image; says why not where they were not evaluated on the
/// same images.
pub fn same_images(
    records: [&RunRecord; 2],
    letters: [&str; 2],
    context: &Context<'_>,
) -> Result<Section> {
    let [a, b] = letters;
    let title = format!("{a} and {b} on the same images");
    let predictions = [predictions(records[0])?, predictions(records[1])?];
    let [Some(first), Some(second)] = &predictions else {
        let text = "At least one of them was not evaluated on test images.".into();
        let blocks = vec![Block::Text(text)];
        return Ok(Section { title, blocks });
    };
    let pairs: Vec<Both<'_>> = first
        .iter()
        .zip(second)
        .map(|(first, second)| [first, second])
        .collect();
    let is_same =
        |[first, second]: &Both<'_>| (first.index, &first.label) == (second.index, &second.label);
    if first.len() != second.len() || !pairs.iter().all(is_same) || !same_data(records) {
        let text = "They were evaluated on different images: their accuracies are no more than two figures beside \
                    each other.";
        let blocks = vec![Block::Text(text.into())];
        return Ok(Section { title, blocks });
    }
    let paired = count(&pairs);
    let mut blocks = vec![
        table(&paired, letters),
        Block::Text(verdict(&paired, letters)),
    ];
    let hidden = hidden(records[0], context)?;
    if let Some(reason) = &hidden {
        context.emit(&Event::PageWithoutImages { reason });
        blocks.push(Block::Text(format!("The images are not shown: {reason}.")));
        return Ok(Section { title, blocks });
    }
    for right in [0, 1] {
        let (found, cards) = only(right, &pairs, records[0], letters, context)?;
        let (letter, other) = (letters[right], letters[1 - right]);
        if found == 0 {
            continue;
        }
        let which = if found == cards.len() {
            format!("All {found} images")
        } else {
            format!("{} of {} images", cards.len(), thousands(found))
        };
        blocks.push(Block::Text(format!(
            "{which} that {letter} gets right and {other} does not, those first that both are confident about."
        )));
        blocks.push(Block::Cards {
            name: format!("only-{letter}-of-{a}-and-{b}").to_lowercase(),
            cards,
        });
    }
    Ok(Section { title, blocks })
}

/// Whether both runs read their test images from the same files.
fn same_data(records: [&RunRecord; 2]) -> bool {
    let [first, second] = records.map(test_checksums);
    first.is_some() && first == second
}

/// The checksums of the test images, of other images too where they cannot be told apart; nothing where the run does not
/// know them.
fn test_checksums(record: &RunRecord) -> Option<Vec<&String>> {
    let data = &record.environment.as_ref()?.data;
    let is_test = |key: &str| {
        let folder = key.rsplit(['/', '\\']).next();
        folder.and_then(subset_role) == Some(SubsetRole::Test)
    };
    let mut checksums: Vec<&String> = data
        .iter()
        .filter(|(key, _)| is_test(key))
        .map(|(_, checksum)| checksum)
        .collect();
    if checksums.is_empty() {
        checksums = data.values().collect();
    }
    Some(checksums)
}

fn count(pairs: &[Both<'_>]) -> Paired {
    let mut paired = Paired::default();
    let mut classes: Vec<&str> = Vec::new();
    let mut number = |class| {
        let known = classes.iter().position(|&known| known == class);
        known.unwrap_or_else(|| {
            classes.push(class);
            classes.len() - 1
        })
    };
    for [first, second] in pairs {
        let [label, first, second] =
            [&first.label, &first.predicted, &second.predicted].map(|class| number(class));
        paired.push(label, first, second);
    }
    paired
}

fn table(paired: &Paired, [a, b]: [&str; 2]) -> Block {
    let rows = [
        ("both right".to_owned(), paired.both_right),
        (format!("only {a} right"), paired.only_first),
        (format!("only {b} right"), paired.only_second),
        ("both wrong".to_owned(), paired.both_wrong),
    ];
    let images = paired.images().max(1) as f64;
    let rows = rows.map(|(name, count)| {
        let share = percent(count as f64 / images);
        [name, thousands(count as usize), share]
    });
    Block::Table {
        table: Table::new(["", "images", "share"], rows, 1),
        links: Vec::new(),
    }
}

fn verdict(paired: &Paired, [a, b]: [&str; 2]) -> String {
    format!(
        "{b}'s accuracy less {a}'s: {:+.2} points; McNemar's exact test of equal accuracy: {}. Both predict the same \
         class for {} of the images.",
        paired.accuracy_change() * 100.0,
        p_value_text(paired.p_value()),
        percent(paired.agreement()),
    )
}

/// The images that only one of the runs gets right: how many, and the first of them.
fn only(
    right: usize,
    pairs: &[Both<'_>],
    record: &RunRecord,
    letters: [&str; 2],
    context: &Context<'_>,
) -> Result<(usize, Vec<Card>)> {
    let is_right = |prediction: &Prediction| prediction.label == prediction.predicted;
    let mut found: Vec<&Both<'_>> = pairs
        .iter()
        .filter(|both| is_right(both[right]) && !is_right(both[1 - right]))
        .collect();
    let confidence = |both: &Both<'_>| both[0].probability.min(both[1].probability);
    found.sort_by(|first, second| confidence(second).total_cmp(&confidence(first)));
    let images = dataset::test_images(&record.recipe, context)?;
    let images = images.dataset();
    let cards = found.iter().take(SHOWN).map(|both| {
        let choice = |at: usize| {
            let Prediction {
                predicted,
                probability,
                ..
            } = both[at];
            format!("{}: {predicted}\n{}", letters[at], percent(*probability))
        };
        let name = name(both[0], images, record)?;
        let caption = format!("{name}\n{}\n{}", choice(0), choice(1));
        card(both[1 - right], images, &caption)
    });
    Ok((found.len(), cards.collect::<Result<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prediction(index: usize, label: &str, predicted: &str) -> Prediction {
        Prediction {
            index,
            label: label.into(),
            predicted: predicted.into(),
            probability: 0.5,
        }
    }

    #[test]
    fn images_are_counted_by_who_was_right() {
        let first = [("a", "a"), ("a", "b"), ("b", "b"), ("b", "a")];
        let second = [("a", "a"), ("a", "a"), ("b", "c"), ("b", "a")];
        let predictions = |all: [(&str, &str); 4]| -> Vec<Prediction> {
            let all = all.into_iter().enumerate();
            all.map(|(at, (label, predicted))| prediction(at, label, predicted))
                .collect()
        };
        let (first, second) = (predictions(first), predictions(second));
        let pairs: Vec<Both<'_>> = first.iter().zip(&second).map(|(a, b)| [a, b]).collect();
        let expected = Paired {
            both_right: 1,
            only_first: 1,
            only_second: 1,
            both_wrong: 1,
            same_class: 2,
        };
        assert_eq!(count(&pairs), expected);
    }
}
