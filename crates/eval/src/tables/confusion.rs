//! The confusion matrix as text.

use super::style::{MAX_LABEL, text_table};
use crate::text::shown;
use crate::{ConfusionMatrix, EvalError};

/// Longest label above a column: as long as the count of a large data set, so that labels hardly widen the table.
const MAX_COLUMN_LABEL: usize = 8;

/// Counts by true class (rows) and predicted class (columns); `labels` are the classes' names.
///
/// One line per class, one column per class: wide for many classes, for which
/// [`ConfusionMatrix::most_confused`] says more.
pub fn confusion_table<S: AsRef<str>>(confusion: &ConfusionMatrix, labels: &[S]) -> Result<String, EvalError> {
    if labels.len() != confusion.classes() {
        return Err(EvalError::LabelCount { expected: confusion.classes(), found: labels.len() });
    }
    let columns = labels.iter().map(|label| shown(label.as_ref(), MAX_COLUMN_LABEL));
    let header = ["true \\ predicted".to_owned()].into_iter().chain(columns);
    let rows = confusion.rows().zip(labels).map(|(counts, label)| {
        let label = shown(label.as_ref(), MAX_LABEL);
        [label].into_iter().chain(counts.iter().map(u64::to_string))
    });
    Ok(text_table(header, rows, 1))
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
        assert_eq!(error, EvalError::LabelCount { expected: 2, found: 1 });
    }
}
