//! What a file of predictions was made of, in a file beside it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use kiln_inference::{Model, Preprocessing};
use kiln_util::{Hex, sha256, write_atomically};
use serde::{Deserialize, Serialize};

use super::Columns;
use crate::inputs::{Inputs, Shard, quoted};
use crate::output::is_stdout;

/// What messages call the file that it is kept in.
pub const ORIGIN: &str = "what is kept beside --predictions";

/// What predictions come from. They are resumed only if it is the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// SHA-256 of the model's file.
    pub model_sha256: String,
    /// How an image becomes the model's input, whoever says so.
    pub preprocessing: Preprocessing,
    /// The order of the axes of the model's input.
    pub layout: String,
    /// What the model's output is.
    pub output: String,
    /// Data sets, and absolute paths of folders and lists, that the images are taken from.
    pub data: Vec<String>,
    /// Which share of them, such as `1/4`.
    pub shard: Option<String>,
    /// What the lines hold.
    pub columns: Columns,
}

impl Origin {
    /// That of a model, of its file and loaded, and some images.
    pub fn new(
        (file, model): (&Path, &Model),
        inputs: &Inputs,
        shard: Option<Shard>,
    ) -> anyhow::Result<Self> {
        let hash = File::open(file)
            .and_then(sha256)
            .map_err(|error| anyhow!("cannot read {}: {error}", file.display()))?;
        let contract = model.contract();
        Ok(Self {
            model_sha256: Hex(&hash).to_string(),
            preprocessing: contract.preprocessing.clone(),
            layout: contract.layout.to_string(),
            output: contract.output.to_string(),
            data: inputs.source.places().to_vec(),
            shard: shard.map(|shard| shard.to_string()),
            columns: Columns::of(inputs, model),
        })
    }

    /// Where it will be kept, of predictions that go to a file.
    pub fn beside(predictions: Option<&Path>) -> Option<PathBuf> {
        predictions.filter(|path| !is_stdout(path)).map(Self::path)
    }

    /// Where it is kept for predictions in a file.
    pub fn path(predictions: &Path) -> PathBuf {
        let mut path = predictions.as_os_str().to_owned();
        path.push(".origin.json");
        path.into()
    }

    /// Writes it beside the predictions.
    pub fn write(&self, predictions: &Path) -> anyhow::Result<()> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        Ok(write_atomically(&Self::path(predictions), &json)?)
    }

    /// That the predictions in a file have this origin. The images themselves are compared as they
    /// are gone through.
    pub fn check(&self, predictions: &Path) -> anyhow::Result<()> {
        let (file, path) = (predictions.display(), Self::path(predictions));
        let over = "write to another file, or leave out --resume to start over";
        let text = fs::read(&path).map_err(|error| {
            anyhow!("cannot resume {file}: {}: {error}: {over}", path.display())
        })?;
        let found: Self = serde_json::from_slice(&text).map_err(|error| {
            anyhow!("cannot resume {file}: {}: {error}: {over}", path.display())
        })?;
        match found.difference(self)? {
            Some(difference) => bail!("cannot resume {file}: {difference}: {over}"),
            None => Ok(()),
        }
    }

    /// The first difference between the origin of a file and what is asked for now.
    fn difference(&self, now: &Self) -> anyhow::Result<Option<String>> {
        let shard = |origin: &Self| {
            origin
                .shard
                .as_ref()
                .map_or("all images".to_owned(), |shard| format!("shard {shard}"))
        };
        let json = |origin: &Self| serde_json::to_string(&origin.preprocessing);
        Ok(Some(if self.model_sha256 != now.model_sha256 {
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
                json(self)?,
                json(now)?
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
        } else if let Some(difference) = self.columns.difference(&now.columns) {
            difference
        } else {
            return Ok(None);
        }))
    }
}
