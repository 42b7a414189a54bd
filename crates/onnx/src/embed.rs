//! Values that a model keeps in files beside its own: checked, and taken into the model or left there.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::hint::Hint;
use crate::proto::{DataLocation, DataType, ModelProto, StringStringEntryProto, TensorProto};
use crate::tensor::TensorError;

/// The most bytes that a model's tensors may have in other files, all together.
const MAX_BYTES: u64 = 64 << 30;

/// The most bytes of a tensor that is taken into the model where the others are left in their
/// files: shapes, axes and scales, which say something about the graph.
const SMALL: u64 = 1 << 10;

/// Values in another file that are not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are in the messages")]
pub enum EmbedError {
    /// A path that is not one of a file below the model's folder, whatever the system.
    #[error(
        "tensor `{tensor}` keeps its values in `{location}`, expected a file in the model's folder, or the path of one below it with `/` and without `.` and `..`"
    )]
    Location { tensor: String, location: String },
    /// A link that leads elsewhere.
    #[error(
        "tensor `{tensor}` keeps its values in `{location}`, a link that leads out of the model's folder"
    )]
    Link { tensor: String, location: String },
    /// A folder, a device or a pipe.
    #[error("tensor `{tensor}` keeps its values in `{location}`, expected a regular file")]
    NotAFile { tensor: String, location: String },
    /// Bytes that belong to two tensors in part.
    #[error("tensors `{tensor}` and `{other}` share some of their bytes in `{location}`")]
    Overlap {
        tensor: String,
        other: String,
        location: String,
    },
    /// The system cannot read it.
    #[error("tensor `{tensor}` keeps its values in `{location}`, which cannot be read: {reason}")]
    Read {
        tensor: String,
        location: String,
        reason: String,
    },
    /// Values here as well: readers differ in which of the two they take.
    #[error("tensor `{tensor}` has values, and keeps others in `{location}`")]
    Both { tensor: String, location: String },
    /// A key that is there twice: readers differ in which of the two they take.
    #[error("tensor `{tensor}` gives `{key}` of its values in other files twice")]
    Twice { tensor: String, key: String },
    /// A place that is no number.
    #[error("tensor `{tensor}` has {key} `{value}` in `{location}`, expected a number of bytes")]
    Number {
        tensor: String,
        location: String,
        key: &'static str,
        value: String,
    },
    /// More bytes than the file has.
    #[error(
        "tensor `{tensor}` has {length} bytes from byte {offset} on in `{location}`, found a file of {found} bytes"
    )]
    Bounds {
        tensor: String,
        location: String,
        offset: u64,
        length: u64,
        found: u64,
    },
    /// Another number of bytes than the shape asks for.
    #[error(
        "tensor `{tensor}` of shape {dims:?} needs {expected} bytes, found {found} in `{location}`"
    )]
    Length {
        tensor: String,
        location: String,
        dims: Vec<i64>,
        expected: u64,
        found: u64,
    },
    /// More bytes than are read for one model.
    #[error(
        "tensor `{tensor}` would be byte {total} of the model's weights, expected at most {MAX_BYTES}"
    )]
    TooLong { tensor: String, total: u64 },
    /// A tensor whose shape or element type has no size.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

impl EmbedError {
    /// What can be done about it.
    pub(crate) const fn hint(&self) -> Hint {
        match self {
            Self::Location { .. } | Self::Link { .. } | Self::Read { .. } => Hint::OneFolder,
            Self::TooLong { .. } | Self::NotAFile { .. } => Hint::SaveAsOneFile,
            Self::Overlap { .. }
            | Self::Both { .. }
            | Self::Twice { .. }
            | Self::Number { .. }
            | Self::Bounds { .. }
            | Self::Length { .. }
            | Self::Tensor(_) => Hint::FetchAgain,
        }
    }
}

/// A file beside a model that holds values of its tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightFile {
    /// The file as the model calls it: a relative path with `/`.
    pub location: String,
    /// The file, below the model's folder, links resolved.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
}

/// Which values are taken into the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    /// All.
    All,
    /// Those of attributes, which not every engine looks for elsewhere, and of small initializers.
    Small,
}

/// Checks the places of a graph's values that are in other files below `folder`, and takes values
/// into the model: of initializers and of tensors in attributes. Those in the graphs of control flow
/// and in functions are left where they are. Returns the files that hold values which were not taken.
///
/// A location is the relative path of a regular file below that folder and nothing else: the
/// model's author chose it, and may not choose what else is read.
pub(crate) fn embed(
    model: &mut ModelProto,
    folder: &Path,
    take: Take,
) -> Result<Vec<WeightFile>, EmbedError> {
    let Some(graph) = &mut model.graph else {
        return Ok(Vec::new());
    };
    let mut files = Files {
        folder,
        open: BTreeMap::new(),
        total: 0,
    };
    for tensor in &mut graph.initializer {
        if let Some(place) = files.place(tensor)? {
            if take == Take::All || place.range.end - place.range.start <= SMALL {
                files.read(tensor, &place)?;
            } else {
                files.leave(tensor, &place);
            }
        }
    }
    let attributes = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
    for tensor in
        attributes.flat_map(|attribute| attribute.t.iter_mut().chain(&mut attribute.tensors))
    {
        if let Some(place) = files.place(tensor)? {
            files.read(tensor, &place)?;
        }
    }
    files.check_overlaps()?;
    let left = files.open.into_iter().filter(|(_, file)| file.is_left);
    let left = left.map(|(location, file)| WeightFile {
        location,
        path: file.path,
        bytes: file.bytes,
    });
    Ok(left.collect())
}

/// Files below a folder, opened once, by their locations.
struct Files<'a> {
    folder: &'a Path,
    open: BTreeMap<String, OpenFile>,
    /// Bytes of all tensors so far.
    total: u64,
}

/// A file that holds values.
struct OpenFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Where tensors have their bytes, and their names.
    ranges: Vec<(Range<u64>, String)>,
    /// Whether some of the values are left in it.
    is_left: bool,
}

/// Where a tensor's values are.
struct Place {
    location: String,
    range: Range<u64>,
}

impl Files<'_> {
    /// Where the tensor's values are, if they are in another file, which has them.
    fn place(&mut self, tensor: &TensorProto) -> Result<Option<Place>, EmbedError> {
        let Some(location) = tensor.external_location() else {
            return Ok(None);
        };
        let claim = Claim { tensor, location };
        claim.check_keys()?;
        if has_values(tensor) {
            return Err(EmbedError::Both {
                tensor: tensor.name.clone(),
                location: location.to_owned(),
            });
        }
        let expected = bytes(tensor)?;
        let offset = claim.number("offset")?.unwrap_or(0);
        let length = claim.number("length")?.unwrap_or(expected);
        if length != expected {
            return Err(EmbedError::Length {
                tensor: tensor.name.clone(),
                location: location.to_owned(),
                dims: tensor.dims.clone(),
                expected,
                found: length,
            });
        }
        self.total = self.total.saturating_add(length);
        if self.total > MAX_BYTES {
            return Err(EmbedError::TooLong {
                tensor: tensor.name.clone(),
                total: self.total,
            });
        }
        let file = self.file(&claim)?;
        let end = offset.checked_add(length).filter(|end| *end <= file.bytes);
        let Some(end) = end else {
            return Err(EmbedError::Bounds {
                tensor: tensor.name.clone(),
                location: location.to_owned(),
                offset,
                length,
                found: file.bytes,
            });
        };
        if length > 0 {
            file.ranges.push((offset..end, tensor.name.clone()));
        }
        Ok(Some(Place {
            location: location.to_owned(),
            range: offset..end,
        }))
    }

    fn read(&mut self, tensor: &mut TensorProto, place: &Place) -> Result<(), EmbedError> {
        let Range { start, end } = place.range;
        let mut raw_data = vec![0; (end - start) as usize];
        if let Some(OpenFile { file, .. }) = self.open.get_mut(&place.location) {
            let read = file.seek(SeekFrom::Start(start));
            let read = read.and_then(|_| file.read_exact(&mut raw_data));
            read.map_err(|error| {
                Claim {
                    tensor,
                    location: &place.location,
                }
                .unreadable(&error)
            })?;
        }
        tensor.raw_data = raw_data;
        tensor.external_data.clear();
        tensor.data_location = DataLocation::Default as i32;
        Ok(())
    }

    /// Leaves values where they are, with their place in full: not every reader takes the shape's length
    /// where none is given.
    fn leave(&mut self, tensor: &mut TensorProto, place: &Place) {
        let Range { start, end } = place.range;
        let entry = |key: &str, value: String| StringStringEntryProto {
            key: key.to_owned(),
            value,
        };
        tensor.external_data = vec![
            entry("location", place.location.clone()),
            entry("offset", start.to_string()),
            entry("length", (end - start).to_string()),
        ];
        if let Some(file) = self.open.get_mut(&place.location) {
            file.is_left = true;
        }
    }

    fn file(&mut self, claim: &Claim<'_>) -> Result<&mut OpenFile, EmbedError> {
        use std::collections::btree_map::Entry;

        match self.open.entry(claim.location.to_owned()) {
            Entry::Occupied(open) => Ok(open.into_mut()),
            Entry::Vacant(vacant) => Ok(vacant.insert(claim.open(self.folder)?)),
        }
    }

    /// Checks that tensors have bytes of their own, or the very same as another: weights that are
    /// tied.
    fn check_overlaps(&mut self) -> Result<(), EmbedError> {
        for (location, file) in &mut self.open {
            file.ranges
                .sort_by_key(|(range, _)| (range.start, range.end));
            let pairs = file.ranges.iter().zip(file.ranges.iter().skip(1));
            for ((first, tensor), (second, other)) in pairs {
                if second.start < first.end && first != second {
                    return Err(EmbedError::Overlap {
                        tensor: tensor.clone(),
                        other: other.clone(),
                        location: location.clone(),
                    });
                }
            }
        }
        Ok(())
    }
}

fn has_values(tensor: &TensorProto) -> bool {
    !(tensor.raw_data.is_empty()
        && tensor.float_data.is_empty()
        && tensor.int32_data.is_empty()
        && tensor.int64_data.is_empty()
        && tensor.double_data.is_empty()
        && tensor.uint64_data.is_empty()
        && tensor.string_data.is_empty())
}

/// What a tensor says about the place of its values.
struct Claim<'a> {
    tensor: &'a TensorProto,
    location: &'a str,
}

impl Claim<'_> {
    fn open(&self, folder: &Path) -> Result<OpenFile, EmbedError> {
        let unreadable = |error: io::Error| self.unreadable(&error);
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        let folder = folder.canonicalize().map_err(unreadable)?;
        let path = folder.join(self.relative()?);
        let path = path.canonicalize().map_err(unreadable)?;
        let (tensor, location) = (self.tensor.name.clone(), self.location.to_owned());
        if !path.starts_with(&folder) {
            return Err(EmbedError::Link { tensor, location });
        }
        // Asked before it is opened: a pipe would wait for ever.
        let metadata = path.symlink_metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(EmbedError::NotAFile { tensor, location });
        }
        let file = File::open(&path).map_err(unreadable)?;
        Ok(OpenFile {
            path,
            file,
            bytes: metadata.len(),
            ranges: Vec::new(),
            is_left: false,
        })
    }

    /// The path, if it is one of names with `/` between them, on any system.
    fn relative(&self) -> Result<&Path, EmbedError> {
        let is_name =
            |name: &str| !matches!(name, "" | "." | "..") && !name.contains(['\\', ':', '\0', '*']);
        if self.location.split('/').all(is_name) {
            Ok(Path::new(self.location))
        } else {
            Err(EmbedError::Location {
                tensor: self.tensor.name.clone(),
                location: self.location.to_owned(),
            })
        }
    }

    fn check_keys(&self) -> Result<(), EmbedError> {
        let entries = &self.tensor.external_data;
        let mut keys = entries.iter().enumerate();
        match keys.find(|(at, entry)| entries[..*at].iter().any(|first| first.key == entry.key)) {
            Some((_, entry)) => Err(EmbedError::Twice {
                tensor: self.tensor.name.clone(),
                key: entry.key.clone(),
            }),
            None => Ok(()),
        }
    }

    fn number(&self, key: &'static str) -> Result<Option<u64>, EmbedError> {
        let entries = &self.tensor.external_data;
        let Some(entry) = entries.iter().find(|entry| entry.key == key) else {
            return Ok(None);
        };
        let number = entry.value.parse().map(Some);
        number.map_err(|_| EmbedError::Number {
            tensor: self.tensor.name.clone(),
            location: self.location.to_owned(),
            key,
            value: entry.value.clone(),
        })
    }

    fn unreadable(&self, error: &io::Error) -> EmbedError {
        EmbedError::Read {
            tensor: self.tensor.name.clone(),
            location: self.location.to_owned(),
            reason: error.to_string(),
        }
    }
}

/// How many bytes a tensor's values take.
fn bytes(tensor: &TensorProto) -> Result<u64, TensorError> {
    let data_type = DataType::try_from(tensor.data_type).ok();
    let bits = data_type
        .and_then(DataType::bits)
        .ok_or_else(|| TensorError::Type {
            name: tensor.name.clone(),
            expected: "numbers",
            found: format!("number {}", tensor.data_type),
        })?;
    let count = tensor.element_count()? as u64;
    let bits = count.checked_mul(bits).ok_or_else(|| TensorError::Shape {
        name: tensor.name.clone(),
        dims: tensor.dims.clone(),
    })?;
    Ok(bits.div_ceil(8))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        DecodeError, Dim, GraphBuilder, GraphProto, LoadError, ModelFile, encode, load,
        load_with_external_data,
    };

    /// A folder with a file of weights, 1, 2, 3, and a model beside it with a tensor of two floats
    /// that is there according to `entries`.
    fn files(entries: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let values: Vec<u8> = [1.0_f32, 2.0, 3.0]
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        fs::write(folder.path().join("w.bin"), values).unwrap();
        let mut graph = GraphBuilder::new("g");
        graph
            .input("x", Dim::batched([2]))
            .output("y", Dim::batched([2]));
        graph.initializer("w", &[2], vec![0.0_f32; 2]);
        graph.node("Add", "add", &["x", "w"], "y");
        let mut model = graph.finish().unwrap();
        let tensor = &mut model.graph.as_mut().unwrap().initializer[0];
        tensor.raw_data.clear();
        tensor.data_location = DataLocation::External as i32;
        let entries = entries.iter().map(|(key, value)| StringStringEntryProto {
            key: (*key).into(),
            value: (*value).into(),
        });
        tensor.external_data = entries.collect();
        fs::write(folder.path().join("m.onnx"), encode(&model)).unwrap();
        folder
    }

    fn read(folder: &tempfile::TempDir) -> Result<Vec<f32>, String> {
        let model = load_with_external_data(folder.path().join("m.onnx"));
        match model {
            Ok(model) => Ok(model.graph.unwrap().initializer[0].to_f32().unwrap()),
            Err(LoadError::Decode { reason, .. }) => Err(reason.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn read_at(entries: &[(&str, &str)]) -> Result<Vec<f32>, String> {
        read(&files(entries))
    }

    #[test]
    fn values_beside_the_model_are_taken_into_it() {
        let location = ("location", "w.bin");
        assert_eq!(read_at(&[location]), Ok(vec![1.0, 2.0]));
        let place = [location, ("offset", "4"), ("length", "8")];
        assert_eq!(read_at(&place), Ok(vec![2.0, 3.0]));
        // Other readers refuse the file as before.
        let folder = files(&[location]);
        assert!(matches!(
            load(folder.path().join("m.onnx")),
            Err(LoadError::Decode {
                reason: DecodeError::ExternalData { .. },
                ..
            })
        ));
    }

    #[test]
    fn a_location_is_a_name_and_nothing_else() {
        let absolute = std::env::current_exe().unwrap();
        let absolute = absolute.to_str().unwrap();
        for location in [
            "../w.bin",
            "./w.bin",
            "a/../w.bin",
            "/w.bin",
            absolute,
            "..",
            ".",
            "",
            "a\\w.bin",
            "C:w.bin",
            "w\0.bin",
        ] {
            let error = read_at(&[("location", location)]).unwrap_err();
            assert!(
                error.ends_with("with `/` and without `.` and `..`"),
                "{error}"
            );
        }
        let error = read_at(&[]).unwrap_err();
        assert!(error.contains("in ``"), "{error}");
        let error = read_at(&[("location", "no.bin")]).unwrap_err();
        assert!(error.contains("`no.bin`, which cannot be read"), "{error}");
    }

    #[test]
    fn places_outside_the_file_are_refused() {
        let refused =
            |key: &str, value: &str| read_at(&[("location", "w.bin"), (key, value)]).unwrap_err();
        assert_eq!(
            refused("offset", "8"),
            "tensor `w` has 8 bytes from byte 8 on in `w.bin`, found a file of 12 bytes"
        );
        assert!(refused("offset", "18446744073709551615").contains("found a file of 12 bytes"));
        assert!(refused("offset", "-4").contains("expected a number of bytes"));
        assert!(refused("length", "-1").contains("expected a number of bytes"));
        assert_eq!(
            refused("length", "12"),
            "tensor `w` of shape [2] needs 8 bytes, found 12 in `w.bin`"
        );
    }

    #[test]
    fn values_may_be_in_folders_below() {
        let folder = files(&[("location", "deep/er/w.bin")]);
        fs::create_dir_all(folder.path().join("deep/er")).unwrap();
        fs::rename(
            folder.path().join("w.bin"),
            folder.path().join("deep/er/w.bin"),
        )
        .unwrap();
        assert_eq!(read(&folder), Ok(vec![1.0, 2.0]));
    }

    #[cfg(unix)]
    #[test]
    fn links_lead_nowhere_else() {
        use std::os::unix::fs::symlink;

        let folder = files(&[("location", "link")]);
        let link = folder.path().join("link");
        symlink(folder.path().join("w.bin"), &link).unwrap();
        assert_eq!(read(&folder), Ok(vec![1.0, 2.0]));
        let elsewhere = files(&[("location", "w.bin")]);
        fs::remove_file(&link).unwrap();
        symlink(elsewhere.path().join("w.bin"), &link).unwrap();
        assert_eq!(
            read(&folder),
            Err(
                "tensor `w` keeps its values in `link`, a link that leads out of the model's folder"
                    .into()
            )
        );
        fs::remove_file(&link).unwrap();
        fs::create_dir(&link).unwrap();
        let refused = Err("tensor `w` keeps its values in `link`, expected a regular file".into());
        assert_eq!(read(&folder), refused);
        // A folder on the way is a link too.
        let folder = files(&[("location", "sub/w.bin")]);
        symlink(elsewhere.path(), folder.path().join("sub")).unwrap();
        assert!(read(&folder).unwrap_err().contains("leads out of"));
    }

    #[test]
    fn a_key_is_given_once() {
        // Whichever of the two another reader takes.
        let twice = [("location", "w.bin"), ("location", "../w.bin")];
        assert_eq!(
            read_at(&twice),
            Err("tensor `w` gives `location` of its values in other files twice".into())
        );
    }

    /// A model whose tensors `a` and `b`, of 512 floats each, begin at these bytes of a file of
    /// 1024 floats: every one is its number.
    fn two(offsets: [u64; 2]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let values: Vec<u8> = (0..1024_u16)
            .flat_map(|value| f32::from(value).to_le_bytes())
            .collect();
        fs::write(folder.path().join("w.bin"), values).unwrap();
        let tensor = |name: &str, offset: u64| TensorProto {
            name: name.into(),
            dims: vec![512],
            data_type: DataType::Float as i32,
            data_location: DataLocation::External as i32,
            external_data: [
                ("location", "w.bin".to_owned()),
                ("offset", offset.to_string()),
            ]
            .map(|(key, value)| StringStringEntryProto {
                key: key.into(),
                value,
            })
            .to_vec(),
            ..TensorProto::default()
        };
        let mut graph = GraphBuilder::new("g");
        graph
            .input("x", Dim::batched([512]))
            .output("y", Dim::batched([512]));
        graph.node("Relu", "r", &["x"], "y");
        let mut model = graph.finish().unwrap();
        model.graph.as_mut().unwrap().initializer =
            vec![tensor("a", offsets[0]), tensor("b", offsets[1])];
        fs::write(folder.path().join("m.onnx"), encode(&model)).unwrap();
        folder
    }

    #[test]
    fn tensors_share_all_of_their_bytes_or_none() {
        assert!(load_with_external_data(two([0, 2048]).path().join("m.onnx")).is_ok());
        assert!(load_with_external_data(two([0, 0]).path().join("m.onnx")).is_ok());
        let error = load_with_external_data(two([0, 4]).path().join("m.onnx"));
        let error = error.unwrap_err().to_string();
        assert!(
            error.ends_with("tensors `a` and `b` share some of their bytes in `w.bin`"),
            "{error}"
        );
    }

    #[test]
    fn large_values_stay_in_their_file_until_they_are_asked_for() {
        let folder = two([0, 2048]);
        let file = ModelFile::open(folder.path().join("m.onnx")).unwrap();
        let tensors = &file.proto().unwrap().graph.as_ref().unwrap().initializer;
        assert!(tensors.iter().all(|tensor| tensor.raw_data.is_empty()));
        let [weights] = file.weight_files().unwrap() else {
            panic!("{:?}", file.weight_files());
        };
        assert_eq!((weights.location.as_str(), weights.bytes), ("w.bin", 4096));
        assert_eq!(file.total_bytes(), 4096 + file.bytes().len() as u64);
        assert!(file.has_external_data());
        let whole = ModelFile::open_with_external_data(file.path().unwrap()).unwrap();
        let tensors = &whole.proto().unwrap().graph.as_ref().unwrap().initializer;
        assert_eq!(tensors[1].to_f32().unwrap()[..2], [512.0, 513.0]);
        assert_eq!(
            crate::decode(whole.bytes()).as_ref(),
            whole.proto().as_ref().copied()
        );
    }

    #[test]
    fn more_than_memory_is_refused_before_it_is_asked_for() {
        let mut tensor = TensorProto {
            name: "w".into(),
            dims: vec![1 << 40],
            data_type: DataType::Float as i32,
            data_location: DataLocation::External as i32,
            ..TensorProto::default()
        };
        tensor.external_data = vec![StringStringEntryProto {
            key: "location".into(),
            value: "w.bin".into(),
        }];
        let mut model = ModelProto {
            graph: Some(GraphProto {
                initializer: vec![tensor],
                ..GraphProto::default()
            }),
            ..ModelProto::default()
        };
        let error = embed(&mut model, Path::new("."), Take::All).unwrap_err();
        assert!(matches!(error, EmbedError::TooLong { .. }), "{error}");
    }
}
