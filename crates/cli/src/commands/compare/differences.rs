//! The images that the models put into different classes.

use kiln_report::{MAX_LABEL, text_table};
use kiln_util::shown as cut;
use serde::Serialize;

use super::pass::{Choice, Differing, Pass};
use kiln_util::thousands;

/// One image, for JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference<'a> {
    /// Place of the image among all images of the data, from 0.
    index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    label: &'a str,
    first: Chosen<'a>,
    second: Chosen<'a>,
}

/// What a model said, by name.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Chosen<'a> {
    predicted: &'a str,
    probability: f32,
    /// By how much the model prefers its own class to the other model's.
    margin: f32,
}

impl Difference<'_> {
    /// How sure the less sure of the two models is.
    fn margin(&self) -> f32 {
        self.first.margin.min(self.second.margin)
    }
}

/// All of them, those first of which both models are sure.
pub fn sorted<'a>(pass: &'a Pass, classes: &'a [String]) -> Vec<Difference<'a>> {
    let chosen = |choice: Choice| Chosen {
        predicted: classes[choice.class].as_str(),
        probability: choice.probability,
        margin: choice.margin,
    };
    let difference = |differing: &'a Differing| {
        let [first, second] = differing.choices.map(chosen);
        let (path, label) = (
            differing.path.as_deref(),
            &classes[differing.label as usize],
        );
        Difference {
            index: differing.index,
            path,
            label,
            first,
            second,
        }
    };
    let mut all: Vec<_> = pass.differing.iter().map(difference).collect();
    all.sort_by(|a, b| b.margin().total_cmp(&a.margin()));
    all
}

/// The first `show` of them as a table with a heading.
pub fn table(all: &[Difference<'_>], show: usize) -> String {
    let Some(shown) = all
        .get(..show.min(all.len()))
        .filter(|shown| !shown.is_empty())
    else {
        return String::new();
    };
    let rows = shown.iter().map(|difference| {
        let said = |chosen: &Chosen<'_>| {
            let right = if chosen.predicted == difference.label {
                "right"
            } else {
                ""
            };
            [
                cut(chosen.predicted, MAX_LABEL),
                format!("{:.4}", chosen.margin),
                right.to_owned(),
            ]
        };
        let image = difference
            .path
            .map_or_else(|| difference.index.to_string(), str::to_owned);
        let [[a, a_margin, a_right], [b, b_margin, b_right]] =
            [said(&difference.first), said(&difference.second)];
        [
            image,
            cut(difference.label, MAX_LABEL),
            a,
            a_right,
            b,
            b_right,
            a_margin,
            b_margin,
        ]
    });
    let header = ["image", "label", "A", "", "B", "", "margin of A", "of B"];
    let (all, heading) = (all.len(), text_table(header, rows, 6));
    let of = if shown.len() == all {
        String::new()
    } else {
        format!("the first {} of ", thousands(shown.len()))
    };
    format!(
        "\nDifferent classes: {of}{} images, the surest first\n\n{heading}\n",
        thousands(all)
    )
}
