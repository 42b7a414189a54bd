//! What it takes to go on with a training.

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::{History, Weights, WeightsError};

/// Where a training stood after an epoch. One file holds all of it, so that it cannot be half an
/// old and half a new one.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The weights of the layers that the phase trains, and of those behind them.
    pub weights: Weights,
    /// The optimizer's state, as the trainer wrote it.
    pub optimizer: Vec<u8>,
    /// How far it has come.
    pub progress: Progress,
}

/// How far a training has come.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// The phase, counted from 0.
    pub phase: usize,
    /// Epochs of that phase that are done.
    pub epochs: usize,
    /// All epochs so far.
    pub history: History,
}

/// As it is written: figures as CSV, which gives them back to the last bit. JSON's reader may be
/// off by one unit.
#[derive(Serialize, Deserialize)]
struct Written {
    phase: usize,
    epochs: usize,
    history: String,
}

/// The tensor that is the optimizer's state. No parameter has such a name: theirs have a dot.
const OPTIMIZER: &str = "optimizer";
/// The key of the progress in the file's metadata.
const PROGRESS: &str = "kiln.progress";

impl Checkpoint {
    /// As safetensors: the weights by name, the optimizer's state as a tensor of bytes, the
    /// progress in the metadata.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Progress {
            phase,
            epochs,
            ref history,
        } = self.progress;
        let written = Written {
            phase,
            epochs,
            history: history.to_csv(),
        };
        let progress =
            serde_json::to_string(&written).expect("numbers and text can be written as JSON");
        self.weights.to_bytes_with(
            Some((OPTIMIZER, &self.optimizer)),
            Some((PROGRESS, progress)),
        )
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WeightsError> {
        let format = |error: &dyn std::fmt::Display| WeightsError::Format(error.to_string());
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| format(&error))?;
        let progress = header
            .metadata()
            .as_ref()
            .and_then(|metadata| metadata.get(PROGRESS));
        let progress =
            progress.ok_or_else(|| format(&"it does not say how far the training was"))?;
        let Written {
            phase,
            epochs,
            history,
        } = serde_json::from_str(progress).map_err(|error| format(&error))?;
        let progress = Progress {
            phase,
            epochs,
            history: History::from_csv(&history).map_err(|error| format(&error))?,
        };
        let file = SafeTensors::deserialize(bytes).map_err(|error| format(&error))?;
        let optimizer = file
            .tensor(OPTIMIZER)
            .map_err(|error| format(&error))?
            .data()
            .to_vec();
        let weights = Weights::from_views(file.iter().filter(|(name, _)| *name != OPTIMIZER))?;
        Ok(Self {
            weights,
            optimizer,
            progress,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, Tensor};

    fn checkpoint() -> Checkpoint {
        let mut weights = Weights::default();
        weights.0.insert(
            "dense.bias".into(),
            Tensor {
                shape: vec![2],
                data: vec![0.5, -0.0],
            },
        );
        let figures = [0.1, 1.0 / 3.0, 1e-300, 1.149_953_709_907_001_9];
        let epoch = |(at, &val_loss): (usize, &f64)| Epoch {
            epoch: at + 1,
            train_loss: 2.0 / 3.0,
            train_accuracy: 0.7,
            val_loss,
            val_accuracy: 0.9,
            learning_rate: 1e-3,
            seconds: 0.25,
        };
        let epochs = figures.iter().enumerate().map(epoch).collect();
        let history = History {
            epochs,
            ..History::default()
        };
        Checkpoint {
            weights,
            optimizer: vec![1, 2, 3],
            progress: Progress {
                phase: 1,
                epochs: 2,
                history,
            },
        }
    }

    #[test]
    fn it_reads_back_to_the_last_bit() {
        let bytes = checkpoint().to_bytes();
        let read = Checkpoint::from_bytes(&bytes).unwrap();
        assert_eq!(read, checkpoint());
        assert_eq!(
            read.weights.0["dense.bias"].data[1].to_bits(),
            (-0.0_f32).to_bits()
        );
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        let bytes = checkpoint().to_bytes();
        for length in [0, 8, 100, bytes.len() - 1] {
            assert!(
                matches!(
                    Checkpoint::from_bytes(&bytes[..length]),
                    Err(WeightsError::Format(_))
                ),
                "{length}"
            );
        }
        let weights = checkpoint().weights.to_bytes();
        let error = Checkpoint::from_bytes(&weights).unwrap_err().to_string();
        assert!(error.contains("how far the training was"), "{error}");
    }
}
