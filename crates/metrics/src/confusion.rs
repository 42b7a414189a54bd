//! The confusion matrix: counts by true and predicted class.

use serde::{Deserialize, Serialize};

use crate::error::{MAX_CLASSES, MetricsError};

/// Counts of images by true class (row) and predicted class (column), as scikit-learn's
/// `confusion_matrix`.
///
/// Square, with at least one class. Written by serde as a list of rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Vec<u64>>", into = "Vec<Vec<u64>>")]
pub struct ConfusionMatrix {
    classes: usize,
    counts: Vec<u64>,
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
    /// Creates a matrix of zeros, for 1 to 16,384 classes.
    pub fn zeros(classes: usize) -> Result<Self, MetricsError> {
        if !(1..=MAX_CLASSES).contains(&classes) {
            return Err(MetricsError::Classes { found: classes });
        }
        Ok(Self {
            classes,
            counts: vec![0; classes * classes],
        })
    }

    /// Returns the number of classes: of rows and of columns.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Returns the rows, in order of the true class; each has one count per predicted class.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[u64]> {
        self.counts.chunks_exact(self.classes)
    }

    /// Returns the number of images of class `truth` that were predicted as `predicted`; `None` outside the
    /// classes.
    pub fn get(&self, truth: usize, predicted: usize) -> Option<u64> {
        self.rows().nth(truth)?.get(predicted).copied()
    }

    /// Returns the number of images.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the number of images predicted correctly: the trace.
    pub fn correct(&self) -> u64 {
        self.counts.iter().step_by(self.classes + 1).sum()
    }

    /// Returns the number of images of each true class: the row sums.
    pub fn support(&self) -> Vec<u64> {
        self.rows().map(|row| row.iter().sum()).collect()
    }

    /// Returns the number of predictions of each class: the column sums.
    pub fn predicted(&self) -> Vec<u64> {
        let mut sums = vec![0; self.classes];
        for row in self.rows() {
            sums.iter_mut()
                .zip(row)
                .for_each(|(sum, count)| *sum += count);
        }
        sums
    }

    /// Returns the `n` most frequent errors, most frequent first, then by class; those that never
    /// happened are left out.
    pub fn most_confused(&self, n: usize) -> Vec<Confusion> {
        let mut errors: Vec<Confusion> = self
            .rows()
            .enumerate()
            .flat_map(|(truth, row)| {
                row.iter()
                    .enumerate()
                    .map(move |(predicted, &count)| Confusion {
                        truth,
                        predicted,
                        count,
                    })
            })
            .filter(|c| c.truth != c.predicted && c.count > 0)
            .collect();
        errors.sort_by_key(|c| std::cmp::Reverse(c.count));
        errors.truncate(n);
        errors
    }

    /// Counts one image. Both classes must be inside the matrix.
    pub(crate) fn record(&mut self, truth: usize, predicted: usize) {
        self.counts[truth * self.classes + predicted] += 1;
    }

    /// Adds the counts of a matrix of as many classes.
    pub(crate) fn add(&mut self, other: &Self) {
        debug_assert_eq!(self.classes, other.classes);
        self.counts
            .iter_mut()
            .zip(&other.counts)
            .for_each(|(own, count)| *own += count);
    }
}

impl TryFrom<Vec<Vec<u64>>> for ConfusionMatrix {
    type Error = MetricsError;

    /// Takes the rows of a square matrix whose sum fits a u64.
    fn try_from(rows: Vec<Vec<u64>>) -> Result<Self, MetricsError> {
        let mut matrix = Self::zeros(rows.len())?;
        matrix.counts.clear();
        for (row, counts) in rows.iter().enumerate() {
            if counts.len() != rows.len() {
                return Err(MetricsError::NotSquare {
                    row,
                    expected: rows.len(),
                    found: counts.len(),
                });
            }
            matrix.counts.extend(counts);
        }
        // From here on no sum over a part of the matrix can overflow.
        let total = matrix
            .counts
            .iter()
            .try_fold(0u64, |sum, &count| sum.checked_add(count));
        total.map(|_| matrix).ok_or(MetricsError::CountOverflow)
    }
}

impl From<ConfusionMatrix> for Vec<Vec<u64>> {
    fn from(matrix: ConfusionMatrix) -> Self {
        matrix.rows().map(<[u64]>::to_vec).collect()
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
}
