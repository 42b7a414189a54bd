//! `history.csv`: one line per epoch, as Keras's `CSVLogger` writes it.

use kiln_model::Monitor;
use serde::{Deserialize, Serialize};

/// Figures of one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Number of the epoch, from 1.
    pub epoch: usize,
    /// Mean cross-entropy in nats over the epoch's batches, dropout active, as the weights changed.
    pub train_loss: f64,
    /// Share of training images classified correctly, from 0 to 1, measured likewise.
    pub train_accuracy: f64,
    /// Mean cross-entropy in nats over the validation images after the epoch.
    pub val_loss: f64,
    /// Share of validation images classified correctly after the epoch, from 0 to 1.
    pub val_accuracy: f64,
    /// Mean F1 of the classes over the validation images after the epoch, from 0 to 1; none in histories of older
    /// versions.
    #[serde(default)]
    pub val_macro_f1: Option<f64>,
    /// Learning rate at the end of the epoch; 0 of L-BFGS, which has none.
    pub learning_rate: f64,
    /// Penalty of the weights' squares, of L-BFGS, for which an epoch is the fit with one penalty, and
    /// training figures are measured after it.
    #[serde(default)]
    pub penalty: Option<f64>,
    /// Duration of the epoch in seconds, validation included.
    pub seconds: f64,
    /// Training images per second, the time of validation not counted; none of L-BFGS and in histories of
    /// older versions.
    #[serde(default)]
    pub images_per_second: Option<f64>,
}

impl Epoch {
    /// Returns what it is called: `epoch 3`, or `penalty 1e-2`.
    pub fn name(&self) -> String {
        match self.penalty {
            Some(penalty) => format!("penalty {penalty:e}"),
            None => format!("epoch {}", self.epoch),
        }
    }
}

/// The epochs of a run in order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct History {
    /// One per epoch, in order.
    pub epochs: Vec<Epoch>,
    /// Figure that makes an epoch better than another.
    #[serde(skip)]
    pub monitor: Monitor,
}

impl History {
    /// Creates a history without epochs.
    pub fn new(monitor: Monitor) -> Self {
        Self {
            epochs: Vec::new(),
            monitor,
        }
    }

    /// Returns the epoch with the best monitored figure; the earlier one of equals.
    pub fn best(&self) -> Option<&Epoch> {
        let figure = |epoch: &Epoch| match self.monitor {
            Monitor::ValLoss => epoch.val_loss,
            Monitor::ValAccuracy => -epoch.val_accuracy,
            Monitor::ValMacroF1 => -epoch.val_macro_f1.unwrap_or_default(),
        };
        let epochs = self.epochs.iter().filter(|epoch| !epoch.val_loss.is_nan());
        epochs.min_by(|a, b| figure(a).total_cmp(&figure(b)))
    }

    /// Encodes it as CSV with a header. Figures have as many digits as it takes to read back the
    /// same number.
    pub fn to_csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        for epoch in &self.epochs {
            writer
                .serialize(epoch)
                .expect("writing to memory does not fail");
        }
        let bytes = writer
            .into_inner()
            .expect("writing to memory does not fail");
        String::from_utf8(bytes).expect("numbers are UTF-8")
    }

    /// Reads what [`to_csv`](Self::to_csv) wrote.
    ///
    /// # Errors
    ///
    /// What is malformed, and where.
    pub fn from_csv(text: &str) -> Result<Self, csv::Error> {
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        Ok(Self {
            epochs: reader.deserialize().collect::<Result<_, _>>()?,
            monitor: Monitor::default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(epoch: usize, val_loss: f64) -> Epoch {
        Epoch {
            epoch,
            train_loss: 0.5,
            train_accuracy: 0.75,
            val_loss,
            val_accuracy: 0.9,
            val_macro_f1: Some(0.875),
            learning_rate: 1e-3,
            seconds: 2.5,
            images_per_second: Some(160.0),
            penalty: None,
        }
    }

    #[test]
    fn csv_has_the_documented_columns_and_reads_back() {
        let history = History {
            epochs: vec![epoch(1, 0.25), epoch(2, 0.125)],
            ..History::default()
        };
        let csv = history.to_csv();
        assert_eq!(
            csv.lines().next(),
            Some(
                "epoch,train_loss,train_accuracy,val_loss,val_accuracy,val_macro_f1,learning_rate,penalty,seconds,images_per_second"
            )
        );
        assert_eq!(
            csv.lines().nth(1),
            Some("1,0.5,0.75,0.25,0.9,0.875,0.001,,2.5,160.0")
        );
        assert_eq!(History::from_csv(&csv).unwrap(), history);
        // Before the speed was kept.
        let older = csv.replace(",images_per_second", "").replace(",160.0", "");
        let mut slower = history;
        for epoch in &mut slower.epochs {
            epoch.images_per_second = None;
        }
        assert_eq!(History::from_csv(&older).unwrap(), slower);
        // Before there were penalties.
        let older = older.replace(",penalty", "").replace(",,", ",");
        assert_eq!(History::from_csv(&older).unwrap(), slower);
        // Before macro F1 was measured.
        let older = older.replace(",val_macro_f1", "").replace(",0.875,", ",");
        let oldest = History::from_csv(&older).unwrap();
        assert!(
            oldest
                .epochs
                .iter()
                .all(|epoch| epoch.val_macro_f1.is_none())
        );
    }

    #[test]
    fn the_best_epoch_is_the_first_of_the_lowest_loss() {
        let mut history = History::new(Monitor::ValLoss);
        history.epochs = vec![
            epoch(1, f64::NAN),
            epoch(2, 0.2),
            epoch(3, 0.1),
            epoch(4, 0.1),
        ];
        assert_eq!(history.best().map(|e| e.epoch), Some(3));
        history.monitor = Monitor::ValAccuracy;
        history.epochs[3].val_accuracy = 0.95;
        assert_eq!(history.best().map(|e| e.epoch), Some(4));
        history.monitor = Monitor::ValMacroF1;
        history.epochs[1].val_macro_f1 = Some(0.9);
        assert_eq!(history.best().map(|e| e.epoch), Some(2));
        assert!(History::default().best().is_none());
    }
}
