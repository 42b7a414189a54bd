//! What a file of predictions was made of, in a file beside it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use kiln_run::write_atomically;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Columns;

/// What predictions come from. They are gone on with only if it is the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// SHA-256 of the model's file.
    pub model_sha256: String,
    /// The images.
    pub data: String,
    /// Which share of them, such as `1/4`.
    pub shard: Option<String>,
    /// What the lines hold.
    pub columns: Columns,
}

impl Origin {
    /// That of a model's file and some images.
    pub fn new(model: &Path, data: &str, shard: Option<String>, columns: Columns) -> anyhow::Result<Self> {
        let bytes = fs::read(model).map_err(|error| anyhow!("cannot read {}: {error}", model.display()))?;
        let hex: Vec<String> = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let model_sha256 = hex.concat();
        Ok(Self { model_sha256, data: data.to_owned(), shard, columns })
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

    /// That the predictions in a file have this origin. The images are compared as they are gone through.
    pub fn check(&self, predictions: &Path) -> anyhow::Result<()> {
        let (file, path) = (predictions.display(), Self::path(predictions));
        let anew = "write to another file, or leave out --resume to begin anew";
        let text =
            fs::read(&path).map_err(|error| anyhow!("cannot resume {file}: {}: {error}: {anew}", path.display()))?;
        let found: Self = serde_json::from_slice(&text)
            .map_err(|error| anyhow!("cannot resume {file}: {}: {error}: {anew}", path.display()))?;
        if found.model_sha256 != self.model_sha256 {
            bail!(
                "cannot resume {file}: it was made with another model (SHA-256 {}, this one is {}): {anew}",
                found.model_sha256,
                self.model_sha256
            );
        }
        if found.shard != self.shard {
            let name = |shard: &Option<String>| {
                shard.clone().map_or("all images".to_owned(), |shard| format!("shard {shard}"))
            };
            bail!("cannot resume {file}: it holds {}, asked for is {}: {anew}", name(&found.shard), name(&self.shard));
        }
        if found.columns != self.columns {
            let columns = |origin: &Self| origin.columns.header().join(",");
            bail!("cannot resume {file}: it has the columns {}, expected {}: {anew}", columns(&found), columns(self));
        }
        Ok(())
    }
}
