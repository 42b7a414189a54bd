//! `checkpoints/last.safetensors`: where a training stands.

use std::collections::BTreeMap;
use std::io::{self, Read};

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::weights::{Extras, format};
use crate::{History, Weights, WeightsError};

/// Where a training stood after an epoch. One file holds all of it, so that it cannot be half an
/// old and half a new one.
///
/// Two trainings that reach the same weights need not write the same bytes: the history has the
/// duration of each epoch, and the optimizer's state has its tensors in the order of a hash table,
/// which is another in every process. Their values are the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Weights of the layers that the phase trains, and of those after them.
    pub weights: Weights,
    /// Their moving average, where the training has one.
    pub average: Option<Weights>,
    /// State of the optimizer, as the trainer encoded it.
    pub optimizer: Vec<u8>,
    /// Epochs done.
    pub progress: Progress,
}

/// How far a training is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Phase, from 0.
    pub phase: usize,
    /// Epochs of that phase that are done.
    pub epochs: usize,
    /// All epochs so far.
    pub history: History,
}

/// [`Progress`] as it is written: figures as CSV, which gives them back to the last bit. JSON's
/// reader may be off by one unit.
#[derive(Serialize, Deserialize)]
struct Written {
    phase: usize,
    epochs: usize,
    history: String,
}

/// The tensor that is the optimizer's state. No parameter has such a name: theirs have a dot.
const OPTIMIZER: &str = "optimizer";
/// The tensor that is a file of safetensors with the moving average, if there is one.
const AVERAGE: &str = "average";
/// Key of the progress in the file's metadata.
const PROGRESS: &str = "kiln.progress";
/// Bytes of the number in front of the header.
const LENGTH: usize = 8;

impl Checkpoint {
    /// Encodes it as safetensors: the weights by name, the optimizer's state and the moving average as tensors
    /// of bytes, the progress in the metadata.
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
        let average = self.average.as_ref().map(Weights::to_bytes);
        let average = average.as_ref().map(|bytes| (AVERAGE, bytes.as_slice()));
        self.weights.encode(Extras {
            bytes: [(OPTIMIZER, self.optimizer.as_slice())]
                .into_iter()
                .chain(average)
                .collect(),
            note: Some((PROGRESS, progress)),
        })
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Format`] or [`WeightsError::Type`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WeightsError> {
        let progress = Progress::from_header(bytes)?;
        let file = SafeTensors::deserialize(bytes).map_err(format)?;
        let optimizer = file.tensor(OPTIMIZER).map_err(format)?.data().to_vec();
        let average = file.names().contains(&AVERAGE).then(|| {
            let bytes = file.tensor(AVERAGE).map_err(format)?;
            Weights::from_bytes(bytes.data())
        });
        let weights = file
            .iter()
            .filter(|(name, _)| ![OPTIMIZER, AVERAGE].contains(name));
        let weights = Weights::from_views(weights)?;
        Ok(Self {
            weights,
            average: average.transpose()?,
            optimizer,
            progress,
        })
    }
}

impl Progress {
    /// Reads the progress from a checkpoint, of which the header is enough.
    pub(crate) fn from_header(bytes: &[u8]) -> Result<Self, WeightsError> {
        let progress = read_note(bytes, PROGRESS)?
            .ok_or_else(|| format("it does not say how far the training was"))?;
        let Written {
            phase,
            epochs,
            history,
        } = serde_json::from_str(&progress).map_err(format)?;
        Ok(Self {
            phase,
            epochs,
            history: History::from_csv(&history).map_err(format)?,
        })
    }
}

/// The part of a header of safetensors that is not about tensors.
#[derive(Deserialize)]
struct Header {
    #[serde(default, rename = "__metadata__")]
    metadata: BTreeMap<String, String>,
}

/// Reads an entry of the metadata of safetensors, of which the header is enough; `safetensors`
/// itself wants to see the whole file.
pub(crate) fn read_note(bytes: &[u8], key: &str) -> Result<Option<String>, WeightsError> {
    let (length, rest) = bytes
        .split_first_chunk::<LENGTH>()
        .ok_or_else(|| format("no header"))?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(format)?;
    let header = rest
        .get(..length)
        .ok_or_else(|| format("the header is cut short"))?;
    let mut header: Header = serde_json::from_slice(header).map_err(format)?;
    Ok(header.metadata.remove(key))
}

/// Reads a file of safetensors up to the end of its header: its tensors may take hundreds of MiB.
pub(crate) fn read_header(mut file: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut length = file.by_ref().take(LENGTH as u64);
    length.read_to_end(&mut bytes)?;
    if let Some((length, _)) = bytes.split_first_chunk::<LENGTH>() {
        // A length that is too large ends at the end of the file.
        file.take(u64::from_le_bytes(*length))
            .read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, Tensor};

    fn checkpoint() -> Checkpoint {
        let mut weights = Weights::default();
        weights.insert(
            "dense.bias",
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
            val_macro_f1: None,
            learning_rate: 1e-3,
            seconds: 0.25,
            penalty: None,
            images_per_second: None,
        };
        let epochs = figures.iter().enumerate().map(epoch).collect();
        let history = History {
            epochs,
            ..History::default()
        };
        Checkpoint {
            average: Some(weights.clone()),
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
            read.weights.get("dense.bias").unwrap().data[1].to_bits(),
            (-0.0_f32).to_bits()
        );
    }

    #[test]
    fn only_the_duration_of_epochs_makes_the_bytes_differ() {
        let first = checkpoint();
        let mut second = checkpoint();
        assert!(first.to_bytes() == second.to_bytes());
        second.progress.history.epochs[0].seconds = 0.5;
        assert!(first.to_bytes() != second.to_bytes());
        assert_eq!(first.weights, second.weights);
    }

    #[test]
    fn the_progress_is_in_the_header() {
        let bytes = checkpoint().to_bytes();
        let header = read_header(&bytes[..]).unwrap();
        assert!(header.len() < bytes.len());
        assert_eq!(
            Progress::from_header(&header).unwrap(),
            checkpoint().progress
        );
        for length in [0, 3, 8, 100] {
            let header = read_header(&bytes[..length]).unwrap();
            assert!(matches!(
                Progress::from_header(&header),
                Err(WeightsError::Format(_))
            ));
        }
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
