//! The confusion matrix as text.

use super::FEW_CLASSES;
use super::style::{MAX_LABEL, text_table};
use crate::ReportError;
use kiln_metrics::ConfusionMatrix;
use kiln_util::shown;

/// Longest label above a column: as long as the count of a large data set, so that labels hardly
/// widen the table.
const MAX_COLUMN_LABEL: usize = 8;

/// Most kinds of mistakes that are listed in place of a matrix.
const MISTAKES: usize = 20;

/// Counts by true class (rows) and predicted class (columns); `labels` are the classes' names. For
/// more than 20 classes, which no terminal is wide enough for, a list of the most frequent
/// mistakes, at most 20; empty where there are none.
pub fn confusion_table<S: AsRef<str>>(
    confusion: &ConfusionMatrix,
    labels: &[S],
) -> Result<String, ReportError> {
    if labels.len() != confusion.classes() {
        return Err(ReportError::LabelCount {
            expected: confusion.classes(),
            found: labels.len(),
        });
    }
    Ok(if labels.len() <= FEW_CLASSES {
        matrix(confusion, labels)
    } else {
        mistakes(confusion, labels)
    })
}

fn matrix<S: AsRef<str>>(confusion: &ConfusionMatrix, labels: &[S]) -> String {
    let columns = labels
        .iter()
        .map(|label| shown(label.as_ref(), MAX_COLUMN_LABEL));
    let header = ["true \\ predicted".to_owned()].into_iter().chain(columns);
    let rows = confusion.rows().zip(labels).map(|(counts, label)| {
        let label = shown(label.as_ref(), MAX_LABEL);
        [label].into_iter().chain(counts.iter().map(u64::to_string))
    });
    text_table(header, rows, 1)
}

fn mistakes<S: AsRef<str>>(confusion: &ConfusionMatrix, labels: &[S]) -> String {
    let most = confusion.most_confused(MISTAKES);
    if most.is_empty() {
        return String::new();
    }
    let label = |class: usize| shown(labels[class].as_ref(), MAX_LABEL);
    let rows = most.iter().map(|mistake| {
        [
            label(mistake.truth),
            label(mistake.predicted),
            mistake.count.to_string(),
        ]
    });
    text_table(
        ["most frequent mistakes: true", "predicted", "images"],
        rows,
        2,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_true_classes() {
        let confusion = ConfusionMatrix::try_from(vec![vec![10, 2], vec![0, 12345]]).unwrap();
        let table = confusion_table(&confusion, &["cat", "wolverine"]).unwrap();
        let expected = "
 true \\ predicted   cat   wolveri…
───────────────────────────────────
 cat                 10          2
 wolverine            0      12345";
        assert_eq!(format!("\n{table}"), expected, "\n{table}");
        let error = confusion_table(&confusion, &["cat"]).unwrap_err();
        assert_eq!(
            error,
            ReportError::LabelCount {
                expected: 2,
                found: 1
            }
        );
    }

    #[test]
    fn many_classes_are_a_list_of_mistakes() {
        let labels: Vec<String> = (0..1000).map(|class| format!("class {class}")).collect();
        let mut counts = vec![vec![0; 1000]; 1000];
        let empty = ConfusionMatrix::try_from(counts.clone()).unwrap();
        assert_eq!(confusion_table(&empty, &labels).unwrap(), "");
        for (truth, predicted, count) in [(7, 7, 90), (3, 999, 2), (5, 3, 4)] {
            counts[truth][predicted] = count;
        }
        let confusion = ConfusionMatrix::try_from(counts).unwrap();
        let table = confusion_table(&confusion, &labels).unwrap();
        let expected = "
 most frequent mistakes: true   predicted   images
───────────────────────────────────────────────────
 class 5                        class 3          4
 class 3                        class 999        2";
        assert_eq!(format!("\n{table}"), expected, "\n{table}");
    }
}
