//! What a file of predictions was made of, in a file beside it.

use std::fs;
use std::path::{Path, PathBuf};

use kiln_inference::{Model, ModelFile, Preprocessing};
use kiln_util::{Hex, write_atomically};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::figures::Scoring;
use super::row::Columns;
use crate::error::Result;
use crate::error::predictions::PredictionsError;
use crate::inputs::{Inputs, Shard, quoted};

/// What predictions come from. They are resumed only if it is the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// SHA-256 of the model's file.
    pub model_sha256: String,
    /// How an image becomes the model's input, whoever specifies it.
    pub preprocessing: Preprocessing,
    /// The order of the axes of the model's input.
    pub layout: String,
    /// What the model's output is.
    pub output: String,
    /// Whether mirror images were classified too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flips: bool,
    /// Datasets, and absolute paths of folders and lists, that the images are taken from.
    pub data: Vec<String>,
    /// Which share of them, such as `1/4`.
    pub shard: Option<String>,
    /// What the lines hold.
    pub columns: Columns,
    /// How figures are computed from the lines; not there in files of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scoring: Option<Scoring>,
    /// That nothing is left to do, once that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Finished>,
}

/// What a whole file of predictions holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finished {
    /// Number of rows.
    pub rows: u64,
    /// Number of images without one, because they could not be read.
    pub skipped: u64,
}

/// The SHA-256 of a model's file, with that of the weights that it keeps in other files. One that cannot
/// be read any more gives another than before, as it should.
fn sha256(file: &ModelFile) -> String {
    let mut sha256 = Sha256::new();
    sha256.update(file.bytes());
    if file.has_external_data() {
        sha256.update(file.engine_bytes().unwrap_or_default());
        for weights in file.weight_files().unwrap_or_default() {
            let read = fs::File::open(&weights.path);
            match read.and_then(kiln_util::sha256) {
                Ok(of_file) => sha256.update(of_file),
                Err(error) => sha256.update(error.to_string()),
            }
        }
    }
    Hex(&sha256.finalize()).to_string()
}

impl Origin {
    /// Returns the origin of predictions of a model, loaded from `file`, for some images.
    pub fn new(file: &ModelFile, model: &Model, inputs: &Inputs, shard: Option<Shard>) -> Self {
        let spec = model.spec();
        Self {
            model_sha256: sha256(file),
            preprocessing: spec.preprocessing.clone(),
            layout: spec.layout.to_string(),
            output: spec.output.to_string(),
            flips: model.flips(),
            data: inputs.source.places().to_vec(),
            shard: shard.map(|shard| shard.to_string()),
            columns: Columns::of(inputs, model),
            scoring: Some(Scoring::of(model)),
            finished: None,
        }
    }

    /// Returns where it is kept for predictions in a file.
    pub fn path(predictions: &Path) -> PathBuf {
        let mut path = predictions.as_os_str().to_owned();
        path.push(".origin.json");
        path.into()
    }

    /// Writes it beside the predictions.
    pub fn write(&self, predictions: &Path) -> Result<()> {
        let path = Self::path(predictions);
        let mut json =
            serde_json::to_vec_pretty(self).map_err(|error| PredictionsError::Write {
                path: path.clone(),
                resumable: false,
                source: error.into(),
            })?;
        json.push(b'\n');
        Ok(write_atomically(&path, &json)?)
    }

    /// Reads the origin that is kept beside predictions.
    pub fn read(predictions: &Path) -> Result<Self, PredictionsError> {
        let path = Self::path(predictions);
        let fail = |problem: String| PredictionsError::Origin {
            path: predictions.into(),
            origin: path.clone(),
            problem,
        };
        let text = fs::read(&path).map_err(|error| fail(error.to_string()))?;
        serde_json::from_slice(&text).map_err(|error| fail(error.to_string()))
    }

    /// Checks that the predictions in a file have this origin. The images themselves are compared
    /// as they are gone through.
    pub fn check(&self, predictions: &Path) -> Result<(), PredictionsError> {
        let found = Self::read(predictions)?;
        match found.difference(self) {
            Some(difference) => Err(PredictionsError::Differs {
                path: predictions.into(),
                difference,
            }),
            None => Ok(()),
        }
    }

    /// Returns the first difference between the origin of a file and what is asked for now.
    pub(super) fn difference(&self, now: &Self) -> Option<String> {
        let shard = |origin: &Self| {
            origin
                .shard
                .as_ref()
                .map_or("all images".to_owned(), |shard| format!("shard {shard}"))
        };
        let flips = |origin: &Self| if origin.flips { "with" } else { "without" };
        let json = |origin: &Self| serde_json::to_string(&origin.preprocessing).unwrap_or_default();
        Some(if self.model_sha256 != now.model_sha256 {
            format!(
                "it was made with another model (SHA-256 {}, this one is {})",
                self.model_sha256, now.model_sha256
            )
        } else if self.data != now.data {
            format!(
                "it holds images of {}, asked for are those of {}",
                quoted(&self.data),
                quoted(&now.data)
            )
        } else if self.shard != now.shard {
            format!("it holds {}, asked for is {}", shard(self), shard(now))
        } else if self.preprocessing != now.preprocessing {
            format!(
                "it was made with the preprocessing {}, this one is {}",
                json(self),
                json(now)
            )
        } else if self.layout != now.layout {
            format!(
                "it was made with the layout {}, this one is {}",
                self.layout, now.layout
            )
        } else if self.output != now.output {
            format!(
                "it was made with the output {}, this one is {}",
                self.output, now.output
            )
        } else if self.flips != now.flips {
            format!(
                "it was made {} --tta, asked for is {} it",
                flips(self),
                flips(now)
            )
        } else {
            self.columns.difference(&now.columns)?
        })
    }
}
