//! What a model's file says about itself and what is specified about it, [`Described`]; and other
//! forms of that: a copy with all of it in its metadata, the files of Hugging Face, timm and NVIDIA
//! Triton.

mod description;
mod forms;
mod items;
mod segments;
mod sentence;

use std::path::Path;

use kiln_inference::{LoadError, LoadErrorKind, ModelSpec};
use kiln_onnx::{ModelFile, ModelProto};

use crate::context::Context;
use crate::engines::{self, explain, lacks_preprocessing};
use crate::error::Result;
pub use crate::error::models::{DescribeError, Tool};
use crate::overrides::{OverridesRequest, Resolved};
pub use description::{Axis, Description, Image, ItemRecord, Tensor};
pub use forms::{ConversionNote, Converted, TritonFiles, huggingface, timm, triton, with_metadata};
pub use items::Item;
pub use segments::{SegmentList, SegmentRecord};

/// A model's file, decoded, with what is specified about it.
pub struct Described {
    /// The file, which can be decoded.
    file: ModelFile,
    /// Inputs, outputs, labels and preprocessing; an error where the model cannot classify images.
    pub spec: Result<ModelSpec>,
    resolved: Resolved,
}

impl Described {
    /// Reads a model's file with the weights that it keeps in other files beside it, and a sidecar if
    /// there is one. A run directory stands for its exported model.
    pub fn open(path: &Path, request: &OverridesRequest, context: &Context<'_>) -> Result<Self> {
        let work = format!("reading `{}`", path.display());
        let file = engines::open(path)?;
        let watch = context.watch(&work, file.bytes().len() as u64, 1);
        // How large weights in other files are, the decoded file tells.
        let bytes = file.total_bytes();
        let _watch = watch.and_then(|_| context.watch(&work, bytes, 1));
        if file.has_external_data() {
            return Self::read(engines::open_with_external_data(path)?, request);
        }
        Self::read(file, request)
    }

    /// Decodes a model's file, and reads a sidecar if there is one.
    pub fn read(file: ModelFile, request: &OverridesRequest) -> Result<Self> {
        let path = file.path().unwrap_or(Path::new(""));
        let mut resolved = Resolved::new(path, request)?;
        let fail = |kind: LoadErrorKind| LoadError {
            origin: file.to_string(),
            kind,
        };
        let proto = file.proto().map_err(|error| fail(error.into()))?;
        resolved.find_labels(path, proto);
        let mut spec = ModelSpec::new(proto, &resolved.all());
        if spec.as_ref().is_err_and(lacks_preprocessing)
            && resolved.find_config(path, proto)?.is_some()
        {
            spec = ModelSpec::new(proto, &resolved.all());
        }
        let spec = spec.map_err(|kind| explain(fail(kind), &resolved, || file.metadata()));
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

    /// Returns whether the file keeps weights in other files, which are in [`bytes`](Self::bytes) and
    /// [`proto`](Self::proto) all the same.
    pub fn has_external_data(&self) -> bool {
        self.file.has_external_data()
    }

    /// Returns the file's content.
    pub fn bytes(&self) -> &[u8] {
        self.file.bytes()
    }

    /// Returns what was put right in the graph, for people.
    pub fn repairs(&self) -> Vec<String> {
        let repairs = self.file.repairs().unwrap_or_default();
        repairs.iter().map(ToString::to_string).collect()
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
