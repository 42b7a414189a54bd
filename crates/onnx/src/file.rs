//! From bytes to a model and back.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use prost::Message;

use crate::check::{StructureError, check_structure};
use crate::embed::{EmbedError, Take, WeightFile, embed};
use crate::external::external_tensor;
use crate::gate::{Budget, GateError, Refused, check_bytes, check_limits};
use crate::hint::Hint;
use crate::metadata::Metadata;
use crate::proto::{GraphProto, ModelProto, TensorProto};
use crate::repair::{Repair, repair};

/// Longest file that protobuf can hold: 2 GiB less one byte.
pub const MAX_FILE_BYTES: u64 = i32::MAX as u64;

/// Bytes that are not a model which can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No bytes at all.
    #[error("the file is empty")]
    Empty,
    /// Bytes of a well-known other kind.
    #[error("this is {0}, not an ONNX file")]
    OtherFormat(&'static str),
    /// Bytes that are not a protobuf message of this kind.
    #[error("not an ONNX file, or a truncated one ({0})")]
    Malformed(String),
    /// A message without a graph or without an operator set.
    #[error("the file holds no {0}, so it is not an ONNX model or a truncated one")]
    Missing(&'static str),
    /// Weights in another file.
    #[error("tensor `{tensor}` keeps its values in another file, `{location}`")]
    ExternalData {
        /// The tensor's name.
        tensor: String,
        /// The file that holds the values.
        location: String,
    },
    /// Weights in another file that are not read.
    #[error(transparent)]
    Embed(Box<EmbedError>),
    /// More than is handed to an engine.
    #[error(transparent)]
    Limits(#[from] Box<GateError>),
    /// A malformed graph.
    #[error(transparent)]
    Structure(#[from] StructureError),
}

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system cannot read it.
    #[error(transparent)]
    System(#[from] std::io::Error),
    /// The path names a folder, a device or a pipe.
    #[error("this is not a regular file")]
    NotAFile,
    /// The file is longer than protobuf can hold.
    #[error("the file has {0} bytes, an ONNX file has at most {MAX_FILE_BYTES}")]
    TooLong(u64),
}

impl From<Refused> for DecodeError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Malformed => Self::Malformed("a field is cut short".to_owned()),
            Refused::Large(error) => Self::Limits(Box::new(error)),
        }
    }
}

impl DecodeError {
    /// Returns what can be done about it.
    pub fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::Empty | Self::OtherFormat(_) | Self::Malformed(_) | Self::Missing(_) => {
                Hint::FetchAgain
            }
            Self::Embed(reason) => reason.hint(),
            Self::ExternalData { .. } => Hint::SaveAsOneFile,
            Self::Limits(error) => return error.hint(),
            Self::Structure(_) => Hint::CorrectGraph,
        })
    }
}

/// A file that cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read `{}`: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause. Its text is part of this error's, so it is not the `source` too.
        reason: ReadError,
    },
    /// The contents cannot be used.
    #[error("cannot load `{}`: {reason}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// The cause. Its text is part of this error's, so it is not the `source` too.
        reason: DecodeError,
    },
}

impl LoadError {
    /// Returns what can be done about it.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Read { .. } => Some(Hint::CheckPath),
            Self::Decode { reason, .. } => reason.hint(),
        }
    }
}

/// A model file, read once: its bytes, and the model in them once somebody asks for it.
///
/// Weights that the model keeps in other files below its folder are checked, and stay there: what a
/// graph says of itself, shapes and small constants, is in [`proto`](Self::proto) all the same.
/// It displays as messages call it: its path in backquotes, or `the model in memory`.
pub struct ModelFile {
    path: Option<PathBuf>,
    bytes: Arc<Vec<u8>>,
    read: OnceLock<Result<ReadModel, DecodeError>>,
}

/// What a file's bytes are.
struct ReadModel {
    proto: ModelProto,
    weight_files: Vec<WeightFile>,
    /// Whether values were taken from other files, or are left there.
    has_external_data: bool,
    repairs: Vec<Repair>,
    /// The bytes of the model as an engine should have it, where they are not the file's.
    encoded: Option<Vec<u8>>,
}

impl ModelFile {
    /// Reads a file as [`read`] does.
    ///
    /// # Errors
    ///
    /// Returns that it cannot be read, is not a regular file, or is too long.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, ReadError> {
        let path = path.into();
        let bytes = read(&path)?;
        Ok(Self {
            path: Some(path),
            ..Self::from_bytes(bytes)
        })
    }

    /// Reads a file with the weights that it keeps in other files, as [`load_with_external_data`]
    /// does: its bytes are those of a file with all weights inside.
    ///
    /// # Errors
    ///
    /// As [`load_with_external_data`].
    pub fn open_with_external_data(path: impl Into<PathBuf>) -> Result<Self, LoadError> {
        let path = path.into();
        let decode_error = |reason: DecodeError| LoadError::Decode {
            path: path.clone(),
            reason,
        };
        let bytes = read(&path).map_err(|reason| LoadError::Read {
            path: path.clone(),
            reason,
        })?;
        let mut read = read_model(&bytes, Some((&path, Take::All))).map_err(decode_error)?;
        let bytes = if read.has_external_data {
            read.encoded.take().unwrap_or_else(|| encode(&read.proto))
        } else {
            bytes
        };
        Ok(Self {
            path: Some(path),
            bytes: Arc::new(bytes),
            read: OnceLock::from(Ok(read)),
        })
    }

    /// Wraps the bytes of a file.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self {
            path: None,
            bytes: Arc::new(bytes),
            read: OnceLock::new(),
        }
    }

    fn model(&self) -> Result<&ReadModel, DecodeError> {
        let beside = self.path.as_deref().map(|path| (path, Take::Small));
        let read = self.read.get_or_init(|| read_model(&self.bytes, beside));
        read.as_ref().map_err(Clone::clone)
    }

    /// Returns the path that it was read from.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Returns the bytes as they are in the file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the model, decoded, checked and [repaired](Self::repairs) at the first call.
    ///
    /// # Errors
    ///
    /// Returns why the bytes cannot be used, at every call.
    pub fn proto(&self) -> Result<&ModelProto, DecodeError> {
        Ok(&self.model()?.proto)
    }

    /// Returns the bytes of [`proto`](Self::proto) for an engine to load: the file's, unless
    /// something was repaired or taken into the model.
    ///
    /// # Errors
    ///
    /// As [`proto`](Self::proto).
    pub fn engine_bytes(&self) -> Result<&[u8], DecodeError> {
        let encoded = self.model()?.encoded.as_deref();
        Ok(encoded.unwrap_or(&self.bytes))
    }

    /// Returns what was changed in the model, in order.
    ///
    /// # Errors
    ///
    /// As [`proto`](Self::proto).
    pub fn repairs(&self) -> Result<&[Repair], DecodeError> {
        Ok(&self.model()?.repairs)
    }

    /// Returns the files that hold weights which are not in [`proto`](Self::proto), by location.
    ///
    /// # Errors
    ///
    /// As [`proto`](Self::proto).
    pub fn weight_files(&self) -> Result<&[WeightFile], DecodeError> {
        Ok(&self.model()?.weight_files)
    }

    /// Returns the size of the model: of its file and those with its weights, in bytes.
    pub fn total_bytes(&self) -> u64 {
        let files = self.weight_files().unwrap_or_default();
        files.iter().map(|file| file.bytes).sum::<u64>() + self.bytes.len() as u64
    }

    /// Returns the same file, not decoded yet, to measure how long that takes.
    #[must_use]
    pub fn undecoded(&self) -> Self {
        Self {
            path: self.path.clone(),
            bytes: Arc::clone(&self.bytes),
            read: OnceLock::new(),
        }
    }

    /// Returns whether the model keeps weights in other files, wherever they are now.
    pub fn has_external_data(&self) -> bool {
        self.model().is_ok_and(|read| read.has_external_data)
    }

    /// Returns kiln's metadata; none where the file or the metadata cannot be used.
    pub fn metadata(&self) -> Option<Metadata> {
        self.proto().ok()?.metadata().ok()
    }
}

impl fmt::Display for ModelFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "`{}`", path.display()),
            None => f.write_str("the model in memory"),
        }
    }
}

impl fmt::Debug for ModelFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelFile")
            .field("path", &self.path)
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// Reads a model from a file and checks it as [`decode`] does.
pub fn load(path: impl AsRef<Path>) -> Result<ModelProto, LoadError> {
    let path = path.as_ref();
    let bytes = read(path).map_err(|reason| LoadError::Read {
        path: path.to_owned(),
        reason,
    })?;
    decode(&bytes).map_err(|reason| LoadError::Decode {
        path: path.to_owned(),
        reason,
    })
}

/// Reads a model from a file as [`load`] does, and the weights that it keeps in other files below the
/// same folder: they are in the model then. A location is the relative path of a regular file there
/// and nothing else, so that a model's author cannot have other files read.
pub fn load_with_external_data(path: impl AsRef<Path>) -> Result<ModelProto, LoadError> {
    let file = ModelFile::open_with_external_data(path.as_ref())?;
    let read = file.read.into_inner();
    read.expect("it was decoded when it was read")
        .map(|read| read.proto)
        .map_err(|reason| LoadError::Decode {
            path: path.as_ref().to_owned(),
            reason,
        })
}

/// Decodes, checks and repairs a model; values in other files are read or checked if it is known
/// `beside` which file they are.
fn read_model(bytes: &[u8], beside: Option<(&Path, Take)>) -> Result<ReadModel, DecodeError> {
    let mut proto = parse(bytes)?;
    let has_external_data = external_tensor(&proto).is_some();
    let weight_files = match beside {
        Some((path, take)) if has_external_data => {
            let folder = path.parent().unwrap_or(Path::new(""));
            embed(&mut proto, folder, take).map_err(|error| DecodeError::Embed(Box::new(error)))?
        }
        _ => Vec::new(),
    };
    complete(&mut proto, !weight_files.is_empty())?;
    let repairs = repair(&mut proto)?;
    if let Some(graph) = &proto.graph {
        check_structure(graph)?;
    }
    let is_changed = has_external_data || !repairs.is_empty();
    Ok(ReadModel {
        encoded: is_changed.then(|| encode(&proto)),
        proto,
        weight_files,
        has_external_data,
        repairs,
    })
}

/// Reads the bytes of a regular file no longer than protobuf can hold.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<u8>, ReadError> {
    let metadata = std::fs::metadata(&path)?;
    // A device or a pipe may have no end.
    if !metadata.is_file() {
        return Err(ReadError::NotAFile);
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(ReadError::TooLong(metadata.len()));
    }
    Ok(std::fs::read(path)?)
}

/// Reads a model, checks that it is complete (a well-formed graph, an operator set, all weights
/// inside), and repairs it as [`ModelFile::proto`] does.
pub fn decode(bytes: &[u8]) -> Result<ModelProto, DecodeError> {
    Ok(read_model(bytes, None)?.proto)
}

/// Reads a model of which nothing is checked.
fn parse(bytes: &[u8]) -> Result<ModelProto, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    if let Some(format) = other_format(bytes) {
        return Err(DecodeError::OtherFormat(format));
    }
    check_bytes(bytes)?;
    ModelProto::decode(bytes).map_err(|error| DecodeError::Malformed(error.to_string()))
}

/// Checks that a model is complete and keeps to its limits. Its initializers may be in other files where those have been
/// checked.
fn complete(model: &mut ModelProto, external_initializers: bool) -> Result<(), DecodeError> {
    let graph = model.graph.as_mut().ok_or(DecodeError::Missing("graph"))?;
    if model.opset_import.is_empty() {
        return Err(DecodeError::Missing("operator set"));
    }
    // The places of these have been checked.
    let beside = take_external(graph, external_initializers);
    let external = external_tensor(model);
    if let Some(graph) = &mut model.graph {
        for (at, tensor) in beside {
            graph.initializer[at] = tensor;
        }
    }
    if let Some((tensor, location)) = external {
        return Err(DecodeError::ExternalData { tensor, location });
    }
    check_limits(model, &Budget::default()).map_err(Box::new)?;
    Ok(())
}

/// Takes initializers out whose values are in other files, and returns them with their places; empty
/// ones stay there for them.
fn take_external(graph: &mut GraphProto, take: bool) -> Vec<(usize, TensorProto)> {
    let initializers = graph.initializer.iter_mut().enumerate();
    let external = initializers.filter(|(_, tensor)| take && tensor.external_location().is_some());
    let take = |(at, tensor): (usize, &mut TensorProto)| {
        let empty = TensorProto {
            name: tensor.name.clone(),
            ..TensorProto::default()
        };
        (at, std::mem::replace(tensor, empty))
    };
    external.map(take).collect()
}

/// Writes a model: the bytes of an `.onnx` file.
pub fn encode(model: &ModelProto) -> Vec<u8> {
    model.encode_to_vec()
}

/// Recognises what is often found in place of a model. An ONNX file starts with the key of a field
/// of `ModelProto`, in practice 0x08 (`ir_version`), never with these.
fn other_format(bytes: &[u8]) -> Option<&'static str> {
    let text = bytes.trim_ascii_start();
    if bytes.starts_with(b"version https://git-lfs") {
        Some("a Git LFS pointer")
    } else if bytes.starts_with(b"PK\x03\x04") {
        Some("a ZIP archive")
    } else if bytes.starts_with(b"\x1f\x8b") {
        Some("a gzip archive")
    } else if bytes.starts_with(b"\x89HDF") {
        Some("an HDF5 (Keras) file")
    } else if text.starts_with(b"<") {
        Some("HTML or XML")
    } else if text.starts_with(b"{\"") || text.starts_with(b"{\n") {
        Some("JSON")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Dim, GraphBuilder, StringStringEntryProto};

    fn model() -> ModelProto {
        let mut graph = GraphBuilder::new("g");
        graph
            .input("x", Dim::batched([2]))
            .output("y", Dim::batched([3]));
        graph.initializer("w", &[3, 2], (0..6_u8).map(f32::from).collect::<Vec<_>>());
        graph.initializer("n", &[1], vec![-1_i64]);
        graph
            .node("Gemm", "dense", &["x", "w"], "y")
            .int("transB", 1)
            .float("alpha", 1.0);
        let mut model = graph.finish().unwrap();
        model.metadata_props.push(StringStringEntryProto {
            key: "k".into(),
            value: "v".into(),
        });
        model
    }

    fn message(bytes: &[u8]) -> String {
        decode(bytes).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_onnx_file_is_named() {
        assert!(message(b"").starts_with("the file is empty"));
        assert!(message(b"\n<!DOCTYPE html>").starts_with("this is HTML or XML"));
        assert!(message(b"{\"error\": 404}").starts_with("this is JSON"));
        assert!(
            message(b"version https://git-lfs.github.com/spec/v1\n")
                .starts_with("this is a Git LFS pointer")
        );
        assert!(message(b"plain text").starts_with("not an ONNX file, or a truncated one"));
        assert!(message(&[8, 8]).starts_with("the file holds no graph"));
    }

    #[test]
    fn a_model_without_opset_or_with_weights_elsewhere_is_refused() {
        let mut bare = model();
        bare.opset_import.clear();
        assert_eq!(
            decode(&encode(&bare)),
            Err(DecodeError::Missing("operator set"))
        );
        let mut outside = model();
        outside.graph.as_mut().unwrap().initializer[0].data_location =
            crate::DataLocation::External as i32;
        assert!(
            matches!(decode(&encode(&outside)), Err(DecodeError::ExternalData { tensor, .. }) if tensor == "w")
        );
    }

    #[test]
    fn unknown_fields_are_skipped() {
        let mut bytes = encode(&model());
        // Field 99: a varint, then a string.
        bytes.extend([0x98, 0x06, 0x07, 0x9a, 0x06, 0x02, b'h', b'i']);
        assert_eq!(decode(&bytes).unwrap(), model());
    }

    #[test]
    fn deep_nesting_is_refused_rather_than_followed() {
        // graph > node > attribute > graph > ..., deeper than protobuf's limit of 100 messages.
        let mut bytes = Vec::new();
        for _ in 0..100 {
            for field in [6_u8, 5, 1] {
                let mut outer = vec![(field << 3) | 2];
                prost::encode_length_delimiter(bytes.len(), &mut outer).unwrap();
                outer.extend(&bytes);
                bytes = outer;
            }
        }
        let mut file = vec![(7 << 3) | 2];
        prost::encode_length_delimiter(bytes.len(), &mut file).unwrap();
        file.extend(&bytes);
        assert!(
            message(&file).contains("recursion limit reached"),
            "{}",
            message(&file)
        );
    }

    #[test]
    fn a_file_is_read_and_decoded_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.onnx");
        std::fs::write(&path, encode(&model())).unwrap();
        let file = ModelFile::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(file.proto().unwrap(), &model());
        assert!(std::ptr::eq(file.proto().unwrap(), file.proto().unwrap()));
        assert_eq!(file.to_string(), format!("`{}`", path.display()));
        let empty = ModelFile::from_bytes(Vec::new());
        assert_eq!(empty.proto(), Err(DecodeError::Empty));
        assert_eq!((empty.metadata(), empty.path()), (None, None));
    }

    #[test]
    fn errors_name_the_file() {
        let error = load("no/such/file.onnx").unwrap_err().to_string();
        assert!(
            error.starts_with("cannot read `no/such/file.onnx`: "),
            "{error}"
        );
    }

    #[test]
    fn no_cut_through_the_graph_passes_and_none_panics() {
        let bytes = encode(&model());
        let graph = encode(&ModelProto {
            opset_import: vec![],
            metadata_props: vec![],
            ..model()
        })
        .len();
        for end in 0..graph {
            assert!(
                decode(&bytes[..end]).is_err(),
                "passed when cut to {end} bytes"
            );
        }
        for end in graph..bytes.len() {
            let _ = decode(&bytes[..end]);
        }
    }

    proptest! {
        #[test]
        fn mutations_never_panic(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
            let mut bytes = encode(&model());
            for (at, value) in edits {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Ok(model) = decode(&bytes) {
                for tensor in &model.graph.as_ref().unwrap().initializer {
                    let _ = (tensor.to_f32(), tensor.to_i64());
                }
                let _ = (model.inputs(), model.outputs(), model.opset(), model.operators());
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
