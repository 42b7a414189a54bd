//! Scores by class, as scikit-learn's `classification_report`.

use super::style::MAX_LABEL;
use super::{FEW_CLASSES, Table};
use kiln_metrics::{Average, ClassMetrics, Evaluation};
use kiln_util::shown;

/// Precision, recall, F1 and support of each class, then accuracy and the averages, with 4 digits.
///
/// Laid out as scikit-learn's `classification_report(..., digits=4)`. Of more than 20 classes,
/// those that no image is of and none was taken for are left out; the averages are over all.
pub fn classification_report(evaluation: &Evaluation) -> String {
    let predicted = evaluation.confusion.predicted();
    let all = evaluation.classes.len() <= FEW_CLASSES;
    table(evaluation, |at, class| {
        all || class.support > 0 || predicted[at] > 0
    })
    .to_text()
}

/// The same of every class, however many there are.
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

fn row(name: String, scores: [Option<f64>; 3], support: Option<u64>) -> Vec<String> {
    let scores = scores.map(|score| score.map_or_else(String::new, |s| format!("{s:.4}")));
    let support = support.map_or_else(String::new, |s| s.to_string());
    [name].into_iter().chain(scores).chain([support]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_metrics::Evaluator;

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
}
