//! The confusion matrix: counts by true and predicted class.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{MAX_CLASSES, MetricsError};

/// Counts of images by true class (row) and predicted class (column), as scikit-learn's
/// `confusion_matrix`.
///
/// Square, with at least one class; only counts above zero take memory. Written by serde as a list of
/// rows, or for more than 1,000 classes as `{"classes": n, "counts": [[truth, predicted, count], …]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct ConfusionMatrix {
    classes: usize,
    /// By true and predicted class; none is zero.
    counts: BTreeMap<(u32, u32), u64>,
}

/// Most classes whose rows are written as they are.
const MAX_ROWS: usize = 1000;

/// A matrix as serde writes it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Rows(Vec<Vec<u64>>),
    Counts {
        classes: usize,
        counts: Vec<(u32, u32, u64)>,
    },
}

/// Images of one class that were predicted as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// The true class, counted from 0.
    pub truth: usize,
    /// The predicted class, counted from 0.
    pub predicted: usize,
    /// Number of images.
    pub count: u64,
}

impl ConfusionMatrix {
    /// Creates a matrix of zeros, for 1 to 1,048,576 classes.
    pub fn zeros(classes: usize) -> Result<Self, MetricsError> {
        if !(1..=MAX_CLASSES).contains(&classes) {
            return Err(MetricsError::Classes { found: classes });
        }
        Ok(Self {
            classes,
            counts: BTreeMap::new(),
        })
    }

    /// Returns the number of classes: of rows and of columns.
    pub const fn classes(&self) -> usize {
        self.classes
    }

    /// Returns the rows, in order of the true class; each has one count per predicted class.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Vec<u64>> {
        (0..self.classes).map(|truth| {
            let mut row = vec![0; self.classes];
            for (&(_, predicted), &count) in self.counts.range(key(truth, 0)..key(truth + 1, 0)) {
                row[predicted as usize] = count;
            }
            row
        })
    }

    /// Returns the number of images of class `truth` that were predicted as `predicted`; `None` outside the
    /// classes.
    pub fn get(&self, truth: usize, predicted: usize) -> Option<u64> {
        let count = self.counts.get(&key(truth, predicted)).copied();
        (truth.max(predicted) < self.classes).then(|| count.unwrap_or_default())
    }

    /// Returns the number of images.
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Returns the number of images predicted correctly: the trace.
    pub fn correct(&self) -> u64 {
        let hits = self.counts.iter().filter(|((a, b), _)| a == b);
        hits.map(|(_, count)| count).sum()
    }

    /// Returns the number of images of each true class: the row sums.
    pub fn support(&self) -> Vec<u64> {
        self.sums(|(truth, _)| truth)
    }

    /// Returns the number of predictions of each class: the column sums.
    pub fn predicted(&self) -> Vec<u64> {
        self.sums(|(_, predicted)| predicted)
    }

    fn sums(&self, class: impl Fn((u32, u32)) -> u32) -> Vec<u64> {
        let mut sums = vec![0; self.classes];
        for (&classes, count) in &self.counts {
            sums[class(classes) as usize] += count;
        }
        sums
    }

    /// Returns the `n` most frequent errors, most frequent first, then by class; those that never
    /// happened are left out.
    pub fn most_confused(&self, n: usize) -> Vec<Confusion> {
        let errors = self.counts.iter().filter(|((a, b), _)| a != b);
        let mut errors: Vec<Confusion> = errors
            .map(|(&(truth, predicted), &count)| Confusion {
                truth: truth as usize,
                predicted: predicted as usize,
                count,
            })
            .collect();
        errors.sort_by_key(|c| std::cmp::Reverse(c.count));
        errors.truncate(n);
        errors
    }

    /// Counts one image. Both classes must be inside the matrix.
    pub(crate) fn record(&mut self, truth: usize, predicted: usize) {
        debug_assert!(truth.max(predicted) < self.classes);
        *self.counts.entry(key(truth, predicted)).or_default() += 1;
    }

    /// Adds the counts of a matrix of as many classes.
    pub(crate) fn add(&mut self, other: &Self) {
        debug_assert_eq!(self.classes, other.classes);
        for (&classes, count) in &other.counts {
            *self.counts.entry(classes).or_default() += count;
        }
    }

    /// A matrix of counts of which no sum over a part overflows.
    fn of_counts(
        classes: usize,
        counts: impl IntoIterator<Item = ((u32, u32), u64)>,
    ) -> Result<Self, MetricsError> {
        let mut matrix = Self::zeros(classes)?;
        let mut total = 0_u64;
        for ((truth, predicted), count) in counts {
            let class = truth.max(predicted) as usize;
            if class >= classes {
                return Err(MetricsError::OutsideMatrix { class, classes });
            }
            total = total
                .checked_add(count)
                .ok_or(MetricsError::CountOverflow)?;
            if count > 0 {
                *matrix.counts.entry((truth, predicted)).or_default() += count;
            }
        }
        Ok(matrix)
    }
}

/// Classes as they are stored: there are fewer than 2^32.
const fn key(truth: usize, predicted: usize) -> (u32, u32) {
    (truth as u32, predicted as u32)
}

impl TryFrom<Vec<Vec<u64>>> for ConfusionMatrix {
    type Error = MetricsError;

    /// Takes the rows of a square matrix whose sum fits a u64.
    fn try_from(rows: Vec<Vec<u64>>) -> Result<Self, MetricsError> {
        let classes = rows.len();
        if let Some((row, counts)) = rows
            .iter()
            .enumerate()
            .find(|(_, counts)| counts.len() != classes)
        {
            return Err(MetricsError::NotSquare {
                row,
                expected: classes,
                found: counts.len(),
            });
        }
        let counts = rows.iter().enumerate().flat_map(|(truth, counts)| {
            let counts = counts.iter().enumerate();
            counts.map(move |(predicted, &count)| (key(truth, predicted), count))
        });
        Self::of_counts(classes, counts)
    }
}

impl TryFrom<Written> for ConfusionMatrix {
    type Error = MetricsError;

    fn try_from(written: Written) -> Result<Self, MetricsError> {
        match written {
            Written::Rows(rows) => rows.try_into(),
            Written::Counts { classes, counts } => {
                let counts = counts.into_iter().map(|(a, b, count)| ((a, b), count));
                Self::of_counts(classes, counts)
            }
        }
    }
}

impl From<ConfusionMatrix> for Written {
    fn from(matrix: ConfusionMatrix) -> Self {
        if matrix.classes <= MAX_ROWS {
            Self::Rows(matrix.rows().collect())
        } else {
            Self::Counts {
                classes: matrix.classes,
                counts: matrix
                    .counts
                    .iter()
                    .map(|(&(truth, predicted), &count)| (truth, predicted, count))
                    .collect(),
            }
        }
    }
}

impl From<ConfusionMatrix> for Vec<Vec<u64>> {
    fn from(matrix: ConfusionMatrix) -> Self {
        matrix.rows().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rows: &[&[u64]]) -> Result<ConfusionMatrix, MetricsError> {
        ConfusionMatrix::try_from(rows.iter().map(|r| r.to_vec()).collect::<Vec<_>>())
    }

    #[test]
    fn rows_are_true_and_columns_predicted() {
        let mut m = ConfusionMatrix::zeros(2).unwrap();
        m.record(0, 1);
        m.record(0, 1);
        m.record(1, 1);
        assert_eq!(m, matrix(&[&[0, 2], &[0, 1]]).unwrap());
        assert_eq!((m.total(), m.correct()), (3, 1));
        assert_eq!((m.support(), m.predicted()), (vec![2, 1], vec![0, 3]));
        assert_eq!(
            (m.get(0, 1), m.get(0, 2), m.get(2, 0)),
            (Some(2), None, None)
        );
    }

    #[test]
    fn errors_are_ordered_by_count_then_class() {
        let m = matrix(&[&[9, 1, 4], &[4, 9, 0], &[0, 7, 9]]).unwrap();
        let found: Vec<_> = m
            .most_confused(3)
            .iter()
            .map(|c| (c.truth, c.predicted, c.count))
            .collect();
        assert_eq!(found, [(2, 1, 7), (0, 2, 4), (1, 0, 4)]);
        assert_eq!(m.most_confused(99).len(), 4);
    }

    #[test]
    fn refuses_what_is_not_a_matrix() {
        assert_eq!(matrix(&[]), Err(MetricsError::Classes { found: 0 }));
        assert_eq!(
            matrix(&[&[1, 2], &[3]]),
            Err(MetricsError::NotSquare {
                row: 1,
                expected: 2,
                found: 1
            })
        );
        assert_eq!(
            matrix(&[&[u64::MAX, 0], &[0, 1]]),
            Err(MetricsError::CountOverflow)
        );
        assert_eq!(
            ConfusionMatrix::zeros(usize::MAX),
            Err(MetricsError::Classes { found: usize::MAX })
        );
    }

    #[test]
    fn is_written_as_rows() {
        let m = matrix(&[&[1, 2], &[3, 4]]).unwrap();
        let json = serde_json::to_string(&m).unwrap();
        assert_eq!(json, "[[1,2],[3,4]]");
        assert_eq!(serde_json::from_str::<ConfusionMatrix>(&json).unwrap(), m);
        assert!(
            serde_json::from_str::<ConfusionMatrix>("[[1,2]]")
                .unwrap_err()
                .to_string()
                .contains("row 0")
        );
    }

    #[test]
    fn many_classes_take_no_more_than_their_counts() {
        let mut m = ConfusionMatrix::zeros(21_843).unwrap();
        m.record(21_842, 7);
        m.record(21_842, 7);
        let json = serde_json::to_string(&m).unwrap();
        assert_eq!(json, r#"{"classes":21843,"counts":[[21842,7,2]]}"#);
        assert_eq!(serde_json::from_str::<ConfusionMatrix>(&json).unwrap(), m);
        assert_eq!(m.get(21_842, 7), Some(2));
        let outside = r#"{"classes":2,"counts":[[0,2,1]]}"#;
        assert!(serde_json::from_str::<ConfusionMatrix>(outside).is_err());
    }
}
