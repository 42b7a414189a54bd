//! The confusion matrix as a plot.

use super::canvas::picture;
use super::heat_map::HeatMap;
use crate::{Picture, ReportError};
use kiln_metrics::ConfusionMatrix;
use kiln_util::shown;

/// Longest label on an axis, in characters.
const MAX_LABEL: usize = 16;

/// The matrix as a heat map, rows true and columns predicted classes; `labels` are the classes'
/// names.
///
/// Cells show counts or, `normalised`, shares of the true class, each row adding up to 1 (a row
/// without images is 0). Beyond 30 classes there are no numbers, and shades follow the square root
/// of the value, so that rare mistakes are seen; the scale beside the matrix has the same shades.
/// Beyond about 50 classes not every label is drawn.
pub fn plot_confusion<S: AsRef<str>>(
    confusion: &ConfusionMatrix,
    labels: &[S],
    normalised: bool,
) -> Result<Picture, ReportError> {
    if labels.len() != confusion.classes() {
        return Err(ReportError::LabelCount {
            expected: confusion.classes(),
            found: labels.len(),
        });
    }
    let labels: Vec<String> = labels
        .iter()
        .map(|label| shown(label.as_ref(), MAX_LABEL))
        .collect();
    let map = HeatMap::new(confusion, &labels, normalised);
    picture(map.size(), |root| {
        map.draw_cells(root)?;
        map.draw_labels(root)?;
        map.draw_scale(root)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(classes: usize, count: impl Fn(usize, usize) -> u64) -> ConfusionMatrix {
        let rows: Vec<Vec<u64>> = (0..classes)
            .map(|t| (0..classes).map(|p| count(t, p)).collect())
            .collect();
        ConfusionMatrix::try_from(rows).unwrap()
    }

    fn svg(confusion: &ConfusionMatrix, labels: &[&str], normalised: bool) -> String {
        plot_confusion(confusion, labels, normalised)
            .unwrap()
            .to_svg()
    }

    fn texts(document: &str) -> Vec<&str> {
        document
            .split("<text")
            .skip(1)
            .filter_map(|t| t.split(['<', '>']).nth(1))
            .collect()
    }

    #[test]
    fn cells_show_counts_or_shares() {
        let confusion = matrix(2, |t, p| [[3, 1], [0, 0]][t][p]);
        let counts = svg(&confusion, &["cat", "dog"], false);
        assert_eq!(texts(&counts)[..6], ["3", "1", "0", "0", "cat", "cat"]);
        let shares = svg(&confusion, &["cat", "dog"], true);
        assert_eq!(
            texts(&shares)[..6],
            ["0.75", "0.25", "0", "0", "cat", "cat"]
        );
    }

    #[test]
    fn labels_are_escaped_and_must_be_as_many_as_classes() {
        let confusion = matrix(1, |_, _| 0);
        assert!(svg(&confusion, &["<&>\u{0}"], false).contains("&lt;&amp;&gt;\u{fffd}"));
        let error = plot_confusion::<&str>(&confusion, &[], false).unwrap_err();
        assert_eq!(
            error,
            ReportError::LabelCount {
                expected: 1,
                found: 0
            }
        );
    }

    #[test]
    fn many_classes_and_huge_counts_can_be_drawn() {
        for classes in [1, 30, 31, 1200] {
            let labels = vec!["a rather long label of a class"; classes];
            let confusion = matrix(classes, |t, p| if t == p { u64::MAX / 2000 } else { 0 });
            let document = svg(&confusion, &labels, false);
            assert!(texts(&document).contains(&"0"), "{classes} classes");
            assert!(
                document.len() < 1_000_000,
                "{classes} classes: {} bytes",
                document.len()
            );
        }
    }
}
