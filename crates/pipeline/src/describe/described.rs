//! A model's file with what is specified about it.

use std::path::Path;

use kiln_inference::{LoadError, LoadErrorKind, ModelSpec};
use kiln_onnx::{ModelFile, ModelProto};

use crate::engines::explain;
use crate::error::Result;
use crate::overrides::{OverridesRequest, Resolved};

use super::items::{self, Item};

/// A model's file, decoded, with what is specified about it.
pub struct Described {
    /// The file, which can be decoded.
    file: ModelFile,
    /// Inputs, outputs, labels and preprocessing; an error where the model cannot classify images.
    pub spec: Result<ModelSpec>,
    resolved: Resolved,
}

/// A file in another form, with what to know about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// The file.
    pub bytes: Vec<u8>,
    /// What to know about it.
    pub notes: Vec<ConversionNote>,
}

/// What to know about a file in another form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConversionNote {
    /// The golden vectors are not in the copy: they were made with other preprocessing or labels.
    GoldenVectorsDropped,
    /// Nobody specifies what the output is: it is written as logits.
    AssumedLogits,
    /// Hugging Face's processors antialias when an image shrinks, this model does not: such images
    /// differ slightly.
    Antialiased,
    /// The model takes channels last, Hugging Face's processors return them first: their output is
    /// to be transposed.
    ChannelsFirst,
}

impl Described {
    /// Decodes a model's file, and reads a sidecar if there is one.
    pub fn read(file: ModelFile, request: &OverridesRequest) -> Result<Self> {
        let path = file.path().unwrap_or(Path::new(""));
        let resolved = Resolved::new(path, request)?;
        let fail = |kind: LoadErrorKind| LoadError {
            origin: file.to_string(),
            kind,
        };
        let proto = file.proto().map_err(|error| fail(error.into()))?;
        let spec = ModelSpec::new(proto, &resolved.all())
            .map_err(|kind| explain(fail(kind), &resolved, || file.metadata()));
        Ok(Self {
            file,
            spec,
            resolved,
        })
    }

    /// Returns the file with what is specified about it, or why the model cannot classify images.
    pub fn into_parts(self) -> Result<(ModelFile, ModelSpec)> {
        Ok((self.file, self.spec?))
    }

    /// Returns the file's content.
    pub fn bytes(&self) -> &[u8] {
        self.file.bytes()
    }

    /// Returns the decoded file.
    pub fn proto(&self) -> &ModelProto {
        self.file.proto().expect("it was decoded when it was read")
    }

    /// Lists what becomes of an image, and who specifies it; nothing where the model cannot
    /// classify images.
    pub fn items(&self) -> Vec<Item<'_>> {
        self.spec
            .as_ref()
            .map(|spec| items::items(spec, &self.resolved))
            .unwrap_or_default()
    }
}
