//! Running means of loss and accuracy over an epoch.

use kiln_metrics::argmax;

use super::BatchReport;

/// Sums over the images seen so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Running {
    images: usize,
    loss: f64,
    correct: usize,
}

impl Running {
    /// Adds a batch of logits `[n, classes]` with its mean loss. The lowest class wins a tie.
    pub fn push(&mut self, loss: f64, logits: &[f32], labels: &[u32]) {
        let classes = logits.len() / labels.len();
        self.images += labels.len();
        self.loss += loss * labels.len() as f64;
        self.correct += logits
            .chunks_exact(classes)
            .zip(labels)
            .filter(|(row, label)| argmax(row) == Some(**label as usize))
            .count();
    }

    /// For the observer.
    pub fn report(&self, epoch: usize, total: usize) -> BatchReport {
        BatchReport {
            epoch,
            done: self.images,
            total,
            loss: self.loss(),
            accuracy: self.accuracy(),
        }
    }

    /// Mean loss in nats.
    pub fn loss(&self) -> f64 {
        self.loss / self.images as f64
    }

    /// Share classified correctly.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.images as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_count_by_their_images() {
        let mut running = Running::default();
        running.push(1.0, &[0.0, 1.0, 5.0, 2.0, 1.0, 1.0], &[1, 0, 1]);
        running.push(3.0, &[0.0, 1.0], &[1]);
        assert_eq!(running.report(2, 9).done, 4);
        assert!((running.loss() - 1.5).abs() < 1e-12);
        assert!((running.accuracy() - 0.75).abs() < 1e-12);
    }
}
