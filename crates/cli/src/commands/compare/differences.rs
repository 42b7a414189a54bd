//! The images for which the models predict different classes.

use kiln_pipeline::compare::{ChoiceRecord, DifferenceRecord};
use kiln_report::{MAX_LABEL, text_table};
use kiln_util::{shown, thousands};

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
