//! The images for which the models predict different classes.

use kiln_pipeline::compare::{Choice, Comparison};
use kiln_report::{MAX_LABEL, text_table};
use kiln_util::{shown, thousands};
use serde::Serialize;

/// One image, for JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DifferenceRecord<'a> {
    /// Place of the image among all images of the data, from 0.
    index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    label: &'a str,
    first: ChoiceRecord<'a>,
    second: ChoiceRecord<'a>,
}

/// What a model predicts, by name.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct ChoiceRecord<'a> {
    predicted: &'a str,
    probability: f32,
    /// By how much the model prefers its own class to the other model's.
    margin: f32,
}

/// Lists all of them, those first that both models are confident about.
pub fn records<'a>(comparison: &'a Comparison, classes: &'a [String]) -> Vec<DifferenceRecord<'a>> {
    let record = |choice: Choice| ChoiceRecord {
        predicted: classes[choice.class].as_str(),
        probability: choice.probability,
        margin: choice.margin,
    };
    let differences = comparison.differences.iter().map(|difference| {
        let [first, second] = difference.choices.map(record);
        DifferenceRecord {
            index: difference.index,
            path: difference.path.as_deref(),
            label: &classes[difference.label as usize],
            first,
            second,
        }
    });
    differences.collect()
}

/// Writes the first `show` of them as a table with a heading.
pub fn table(all: &[DifferenceRecord<'_>], show: usize) -> String {
    let first = &all[..show.min(all.len())];
    if first.is_empty() {
        return String::new();
    }
    let rows = first.iter().map(|difference| {
        let cells = |choice: &ChoiceRecord<'_>| {
            let right = if choice.predicted == difference.label {
                "right"
            } else {
                ""
            };
            [
                shown(choice.predicted, MAX_LABEL),
                format!("{:.4}", choice.margin),
                right.to_owned(),
            ]
        };
        let image = difference
            .path
            .map_or_else(|| difference.index.to_string(), str::to_owned);
        let [[a, a_margin, a_right], [b, b_margin, b_right]] =
            [cells(&difference.first), cells(&difference.second)];
        [
            image,
            shown(difference.label, MAX_LABEL),
            a,
            a_right,
            b,
            b_right,
            a_margin,
            b_margin,
        ]
    });
    let header = ["image", "label", "A", "", "B", "", "margin of A", "of B"];
    let table = text_table(header, rows, 6);
    let of = if first.len() == all.len() {
        String::new()
    } else {
        format!("the first {} of ", thousands(first.len()))
    };
    format!(
        "\nDifferent classes: {of}{} images, the most confident first\n\n{table}\n",
        thousands(all.len())
    )
}
