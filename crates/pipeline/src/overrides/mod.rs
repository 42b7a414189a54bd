//! What is specified about a model outside of its file: in a request, and in a sidecar beside it.

mod labels;
mod notes;
mod sidecar;

use std::path::{Path, PathBuf};

use kiln_inference::{ModelOverrides, Origin};
use kiln_onnx::Metadata;

pub use crate::error::models::OverridesError;
pub use labels::read_labels;
pub use notes::{Note, notes};

/// What a request specifies about a model.
///
/// ```
/// use kiln_pipeline::overrides::OverridesRequest;
///
/// let settings = ["preprocess=torch".to_owned(), "size=224".to_owned()];
/// let request = OverridesRequest::parse("the request", &settings)?;
/// assert_eq!(request.specified.size, Some([224, 224]));
/// # Ok::<(), kiln_pipeline::overrides::OverridesError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct OverridesRequest {
    /// What is specified; it goes before the sidecar.
    pub specified: ModelOverrides,
    /// The sidecar; if not given, the file with the model's name and the ending `.toml`, where there
    /// is one.
    pub sidecar: Option<PathBuf>,
}

impl OverridesRequest {
    /// Creates a request.
    pub const fn new(specified: ModelOverrides, sidecar: Option<PathBuf>) -> Self {
        Self { specified, sidecar }
    }

    /// Reads settings `key=value` with the keys of a sidecar. `origin` is what messages call them;
    /// paths are relative to the working directory.
    pub fn parse(origin: &str, settings: &[String]) -> Result<Self, OverridesError> {
        let read = |file: &str| read_labels(Path::new(file)).map_err(|error| error.to_string());
        let specified = ModelOverrides::parse("", origin, settings, read)?;
        Ok(Self::new(specified, None))
    }

    /// Returns the files that a model is read from, with what is specified about it.
    pub fn files(&self, model: &Path) -> Vec<PathBuf> {
        [model.to_path_buf(), model.with_extension("toml")]
            .into_iter()
            .chain(self.sidecar.clone())
            .collect()
    }
}

/// What is specified about a model, with the sidecar read.
#[derive(Debug, Clone)]
pub struct Resolved {
    specified: ModelOverrides,
    /// The sidecar, and what to call it.
    sidecar: Option<(PathBuf, ModelOverrides)>,
    /// Where a sidecar is looked for.
    beside: PathBuf,
}

/// A key, and whether overrides have it.
pub(crate) type Key = (&'static str, fn(&ModelOverrides) -> bool);

/// Who specifies something about a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Specifier<'a> {
    /// The request, by this key.
    Request(&'static str),
    /// A sidecar.
    Sidecar(&'a Path),
    /// The metadata of the file.
    Metadata,
    /// The graph.
    Graph,
    /// Nobody.
    Default,
}

impl Resolved {
    /// Reads the sidecar of a model.
    pub fn new(model: &Path, request: &OverridesRequest) -> Result<Self, OverridesError> {
        let beside = model.with_extension("toml");
        Ok(Self {
            specified: request.specified.clone(),
            sidecar: sidecar::find(request.sidecar.as_deref(), &beside)?,
            beside,
        })
    }

    /// Joins all of it.
    pub fn all(&self) -> ModelOverrides {
        let sidecar = self
            .sidecar
            .as_ref()
            .map(|(_, declaration)| declaration.clone());
        self.specified.clone().or(sidecar.unwrap_or_default())
    }

    /// Where a sidecar is looked for.
    pub fn beside(&self) -> &Path {
        &self.beside
    }

    /// Returns who specifies something of this origin that has these keys.
    pub(crate) fn specifiers(&self, origin: Origin, keys: &[Key]) -> Vec<Specifier<'_>> {
        match origin {
            Origin::Metadata => return vec![Specifier::Metadata],
            Origin::Graph => return vec![Specifier::Graph],
            Origin::Default => return vec![Specifier::Default],
            Origin::Declared => {}
        }
        let requested = keys
            .iter()
            .filter(|(_, has)| has(&self.specified))
            .map(|&(key, _)| Specifier::Request(key));
        // A name for the preprocessing stands for all that it comprises.
        let hidden =
            self.specified.preprocess.is_some() && keys.iter().any(|(key, _)| *key == "preprocess");
        let sidecar = self
            .sidecar
            .iter()
            .filter(|(_, found)| !hidden && keys.iter().any(|(_, has)| has(found)))
            .map(|(path, _)| Specifier::Sidecar(path));
        requested.chain(sidecar).collect()
    }
}

/// Returns what a model's file says about it; nothing where it cannot be read, which loading it
/// explains better.
pub fn metadata(model: &Path) -> Option<Metadata> {
    kiln_onnx::load(model).ok()?.metadata().ok()
}

#[cfg(test)]
mod tests;
