//! Tables and their text: fixed width, no colors, no terminal needed.

use comfy_table::{CellAlignment, LineStyle, TableStyle};
use kiln_metrics::{
    Average, ClassMetrics, ConfusionMatrix, Evaluation, SeveralClass, SeveralEvaluation,
};
use kiln_util::{counted, percent, shown};

use crate::ReportError;

/// Most classes whose confusion matrix fits on a terminal, and whose scores are all listed there.
const FEW_CLASSES: usize = 20;

/// Words and numbers in rows and columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Names of the columns.
    pub header: Vec<String>,
    /// As many cells in each row as there are columns; a row of empty cells sets apart what
    /// follows.
    pub rows: Vec<Vec<String>>,
    /// Columns from this one on, counted from 0, are numbers.
    pub first_number: usize,
}

impl Table {
    /// Creates a table of these cells.
    pub fn new<H: Into<String>, C: Into<String>>(
        header: impl IntoIterator<Item = H>,
        rows: impl IntoIterator<Item = impl IntoIterator<Item = C>>,
        first_number: usize,
    ) -> Self {
        let rows = rows
            .into_iter()
            .map(|row| row.into_iter().map(Into::into).collect());
        Self {
            header: header.into_iter().map(Into::into).collect(),
            rows: rows.collect(),
            first_number,
        }
    }

    /// Formats it as [`text_table`] does.
    pub fn to_text(&self) -> String {
        text_table(
            self.header.iter().map(String::as_str),
            self.rows.iter().map(|row| row.iter().map(String::as_str)),
            self.first_number,
        )
    }
}

const LOOK: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// Longest label that a table shows, in characters; [`shown`] cuts it.
pub const MAX_LABEL: usize = 32;

/// Formats a table of words and numbers: the columns from number `first_number` on, counted from 0,
/// are right-aligned, those before left-aligned. No trailing blanks, no line break at the end. What
/// would break a line or mislead a terminal is replaced, as by [`shown`].
pub fn text_table<H: Into<String>, C: Into<String>>(
    header: impl IntoIterator<Item = H>,
    rows: impl IntoIterator<Item = impl IntoIterator<Item = C>>,
    first_number: usize,
) -> String {
    let cell = |cell: C| shown(&cell.into(), usize::MAX);
    let rows = rows
        .into_iter()
        .map(|row| row.into_iter().map(cell).collect::<Vec<String>>());
    let mut table = comfy_table::Table::new();
    table
        .load_style(LOOK)
        .set_header(header.into_iter().map(Into::into).collect::<Vec<String>>())
        .add_rows(rows);
    for column in table.column_iter_mut().skip(first_number) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

/// Formats precision, recall, F1 and support of each class, then accuracy and the averages, with 4 digits.
///
/// Laid out as scikit-learn's `classification_report(..., digits=4)`. Of more than 20 classes,
/// those that have no image and were never predicted are left out.
pub fn classification_report(evaluation: &Evaluation) -> String {
    let predicted = evaluation.confusion.predicted();
    let all = evaluation.classes.len() <= FEW_CLASSES;
    table(evaluation, |at, class| {
        all || class.support > 0 || predicted[at] > 0
    })
    .to_text()
}

/// Returns the same table with every class, however many there are.
pub fn classification_table(evaluation: &Evaluation) -> Table {
    table(evaluation, |_, _| true)
}

fn table(evaluation: &Evaluation, is_shown: impl Fn(usize, &ClassMetrics) -> bool) -> Table {
    let header = ["class", "precision", "recall", "f1-score", "support"];
    let classes = evaluation
        .classes
        .iter()
        .enumerate()
        .filter(|(at, class)| is_shown(*at, class));
    let classes = classes.map(|(_, c)| {
        let label = shown(&c.label, MAX_LABEL);
        row(
            label,
            [Some(c.precision), Some(c.recall), Some(c.f1)],
            Some(c.support),
        )
    });
    let total = Some(evaluation.images);
    let accuracy = |name: &str, value| row(name.into(), [None, None, Some(value)], total);
    let average = |name: &str, a: &Average| {
        row(
            name.into(),
            [Some(a.precision), Some(a.recall), Some(a.f1)],
            total,
        )
    };
    let summary = [
        row(String::new(), [None; 3], None),
        accuracy("accuracy", evaluation.accuracy),
    ]
    .into_iter()
    .chain(
        evaluation
            .top5_accuracy
            .map(|value| accuracy("top-5 accuracy", value)),
    )
    .chain(
        evaluation
            .top_k
            .map(|top| accuracy(&format!("top-{} accuracy", top.k), top.accuracy)),
    )
    .chain([
        average("macro avg", &evaluation.macro_average),
        average("weighted avg", &evaluation.weighted_average),
    ]);
    Table::new(header, classes.chain(summary), 1)
}

/// Returns average precision, threshold, precision, recall, F1 and number of images of each class of which an image can have
/// several, and their averages, as text.
pub fn several_report(evaluation: &SeveralEvaluation) -> String {
    several_table(evaluation).to_text()
}

/// Returns the same as a table.
pub fn several_table(evaluation: &SeveralEvaluation) -> Table {
    let header = [
        "class",
        "average precision",
        "threshold",
        "precision",
        "recall",
        "f1-score",
        "support",
        "best threshold",
        "its f1",
    ];
    let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.4}"));
    let class = |class: &SeveralClass| {
        [
            shown(&class.label, MAX_LABEL),
            number(class.average_precision),
            number(Some(class.threshold.into())),
            number(Some(class.precision)),
            number(Some(class.recall)),
            number(Some(class.f1)),
            class.support.to_string(),
            number(class.best_threshold.map(f64::from)),
            number(class.best_f1),
        ]
    };
    let average = |name: &str, precision: Option<f64>, of: &Average| {
        let none = String::new;
        [
            name.to_owned(),
            number(precision),
            none(),
            number(Some(of.precision)),
            number(Some(of.recall)),
            number(Some(of.f1)),
            evaluation.images.to_string(),
            none(),
            none(),
        ]
    };
    let all = evaluation.classes.len() <= FEW_CLASSES;
    let classes = evaluation
        .classes
        .iter()
        .filter(|class| all || class.support > 0);
    let averages = [
        [const { String::new() }; 9],
        average("micro avg", None, &evaluation.micro_average),
        average(
            "macro avg",
            evaluation.mean_average_precision,
            &evaluation.macro_average,
        ),
    ];
    Table::new(header, classes.map(class).chain(averages), 1)
}

fn row(name: String, scores: [Option<f64>; 3], support: Option<u64>) -> Vec<String> {
    let scores = scores.map(|score| score.map_or_else(String::new, |s| format!("{s:.4}")));
    let support = support.map_or_else(String::new, |s| s.to_string());
    [name].into_iter().chain(scores).chain([support]).collect()
}

/// Longest label above a column: as long as the count of a large dataset, so that labels hardly
/// widen the table.
const MAX_COLUMN_LABEL: usize = 8;

/// Pairs of classes that are listed in place of a matrix.
const ERRORS: usize = 20;
/// Pairs of classes that are listed below a matrix.
const FEW_ERRORS: usize = 5;

/// Formats counts by true class (rows) and predicted class (columns); `labels` are the classes'
/// names. Of three and more classes, the five most frequent errors are listed below. Of more than 20 classes, for
/// which no terminal is wide enough, it lists the most frequent errors instead, at most 20, and says so.
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
    if labels.len() <= FEW_CLASSES {
        let matrix = matrix(confusion, labels);
        // Two classes can be confused in two ways, which the matrix shows.
        let errors = (labels.len() > 2).then(|| frequent_errors(confusion, labels, FEW_ERRORS));
        return Ok(match errors.flatten() {
            Some(errors) => format!("{matrix}\n\nmost frequent errors:\n{errors}"),
            None => matrix,
        });
    }
    let classes = counted(labels.len() as u64, "class");
    let why = format!("a confusion matrix of {classes} is too wide to show");
    Ok(match frequent_errors(confusion, labels, ERRORS) {
        Some(errors) => format!("most frequent errors ({why}):\n{errors}"),
        None => format!("no errors ({why})"),
    })
}

fn matrix<S: AsRef<str>>(confusion: &ConfusionMatrix, labels: &[S]) -> String {
    let columns = labels
        .iter()
        .map(|label| shown(label.as_ref(), MAX_COLUMN_LABEL));
    let header = ["true \\ predicted".to_owned()].into_iter().chain(columns);
    let rows = confusion.rows().zip(labels).map(|(counts, label)| {
        let label = shown(label.as_ref(), MAX_LABEL);
        let counts = counts.into_iter().map(|count| count.to_string());
        [label].into_iter().chain(counts)
    });
    text_table(header, rows, 1)
}

/// The most frequent errors, at most so many, as a table; none where there are no errors.
fn frequent_errors<S: AsRef<str>>(
    confusion: &ConfusionMatrix,
    labels: &[S],
    most: usize,
) -> Option<String> {
    let errors = confusion.most_confused(most);
    if errors.is_empty() {
        return None;
    }
    let support = confusion.support();
    let label = |class: usize| shown(labels[class].as_ref(), MAX_LABEL);
    let rows = errors.iter().map(|error| {
        [
            label(error.truth),
            label(error.predicted),
            error.count.to_string(),
            percent(error.count as f64 / support[error.truth] as f64),
        ]
    });
    let header = ["true", "predicted", "images", "of the class"];
    Some(text_table(header, rows, 2))
}

#[cfg(test)]
mod tests {
    use kiln_metrics::Evaluator;

    use super::*;

    #[test]
    fn looks_like_scikit_learns() {
        let mut evaluator = Evaluator::new(vec!["cat".into(), "a \x1b[31m dog".into()]).unwrap();
        evaluator
            .push(&[2.0, 1.0, 2.0, 1.0, 1.0, 2.0], &[0, 1, 1])
            .unwrap();
        let report = classification_report(&evaluator.finish().unwrap());
        let expected = "
 class          precision   recall   f1-score   support
────────────────────────────────────────────────────────
 cat               0.5000   1.0000     0.6667         1
 a \u{fffd}[31m dog       1.0000   0.5000     0.6667         2

 accuracy                              0.6667         3
 macro avg         0.7500   0.7500     0.6667         3
 weighted avg      0.8333   0.6667     0.6667         3";
        assert_eq!(format!("\n{report}"), expected, "\n{report}");
    }

    #[test]
    fn of_many_classes_those_that_do_not_occur_are_left_out() {
        let mut evaluator =
            Evaluator::new((0..30).map(|class| format!("c{class}")).collect()).unwrap();
        let mut scores = vec![0.0; 60];
        (scores[4], scores[30 + 7]) = (1.0, 1.0);
        evaluator.push(&scores, &[4, 9]).unwrap();
        let evaluation = evaluator.finish().unwrap();
        let report = classification_report(&evaluation);
        let names: Vec<&str> = report
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        assert_eq!(names[2..5], ["c4", "c7", "c9"]);
        assert_eq!(
            classification_table(&evaluation)
                .to_text()
                .lines()
                .filter(|line| line.starts_with(" c"))
                .count(),
            31
        );
    }

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
    fn the_most_frequent_errors_are_below_the_matrix() {
        let rows = vec![vec![10, 2, 0], vec![0, 5, 0], vec![1, 5, 2]];
        let confusion = ConfusionMatrix::try_from(rows).unwrap();
        let table = confusion_table(&confusion, &["a", "b", "c"]).unwrap();
        let expected = "

most frequent errors:
 true   predicted   images   of the class
──────────────────────────────────────────
 c      b                5        62.50 %
 a      b                2        16.67 %
 c      a                1        12.50 %";
        assert!(table.ends_with(expected), "{table}");
        let right = ConfusionMatrix::try_from(vec![vec![1, 0, 0], vec![0; 3], vec![0; 3]]).unwrap();
        let table = confusion_table(&right, &["a", "b", "c"]).unwrap();
        assert!(!table.contains("errors"), "{table}");
    }

    #[test]
    fn many_classes_are_a_list_of_errors() {
        let labels: Vec<String> = (0..1000).map(|class| format!("class {class}")).collect();
        let mut counts = vec![vec![0; 1000]; 1000];
        let empty = ConfusionMatrix::try_from(counts.clone()).unwrap();
        assert_eq!(
            confusion_table(&empty, &labels).unwrap(),
            "no errors (a confusion matrix of 1,000 classes is too wide to show)"
        );
        for (truth, predicted, count) in [(7, 7, 90), (3, 999, 2), (5, 3, 4)] {
            counts[truth][predicted] = count;
        }
        let confusion = ConfusionMatrix::try_from(counts).unwrap();
        let table = confusion_table(&confusion, &labels).unwrap();
        let expected = "
most frequent errors (a confusion matrix of 1,000 classes is too wide to show):
 true      predicted   images   of the class
─────────────────────────────────────────────
 class 5   class 3          4       100.00 %
 class 3   class 999        2       100.00 %";
        assert_eq!(format!("\n{table}"), expected, "\n{table}");
    }
}
