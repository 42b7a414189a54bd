//! Values that a file keeps in files beside it, taken into it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::proto::{DataLocation, DataType, GraphProto, ModelProto, TensorProto};
use crate::tensor::TensorError;

/// The most bytes that are read from other files for one model.
const MAX_BYTES: u64 = 8 << 30;

/// Values in another file that are not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are in the messages")]
pub enum EmbedError {
    /// A path, where only the name of a file in the same folder is allowed.
    #[error(
        "tensor `{tensor}` keeps its values in `{location}`, expected the name of a file in the model's folder"
    )]
    Location { tensor: String, location: String },
    /// A folder, a link, a device or a pipe.
    #[error("tensor `{tensor}` keeps its values in `{location}`, expected a regular file")]
    NotAFile { tensor: String, location: String },
    /// The system cannot read it.
    #[error("tensor `{tensor}` keeps its values in `{location}`, which cannot be read: {reason}")]
    Read {
        tensor: String,
        location: String,
        reason: String,
    },
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

/// Takes the values of a graph's tensors that are in other files of `folder` into the model:
/// initializers and the tensors of attributes. Those in the graphs of control flow and in functions
/// are left where they are.
///
/// A location is the name of a regular file in that folder and nothing else: the model's author
/// chose it, and may not choose what else is read.
pub fn embed(model: &mut ModelProto, folder: &Path) -> Result<(), EmbedError> {
    let Some(graph) = &mut model.graph else {
        return Ok(());
    };
    let mut files = Files {
        folder,
        open: HashMap::new(),
        total: 0,
    };
    tensors(graph).try_for_each(|tensor| files.embed(tensor))
}

fn tensors(graph: &mut GraphProto) -> impl Iterator<Item = &mut TensorProto> {
    let attributes = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
    let constants =
        attributes.flat_map(|attribute| attribute.t.iter_mut().chain(&mut attribute.tensors));
    graph.initializer.iter_mut().chain(constants)
}

/// Files of a folder, opened once.
struct Files<'a> {
    folder: &'a Path,
    open: HashMap<PathBuf, (File, u64)>,
    /// Bytes read so far.
    total: u64,
}

/// Where a tensor's values are.
struct Place<'a> {
    tensor: &'a str,
    location: &'a str,
}

impl Files<'_> {
    fn embed(&mut self, tensor: &mut TensorProto) -> Result<(), EmbedError> {
        let Some(location) = tensor.external_location() else {
            return Ok(());
        };
        let place = Place {
            tensor: &tensor.name,
            location,
        };
        let expected = bytes(tensor)?;
        let offset = place.number(tensor, "offset")?.unwrap_or(0);
        let length = place.number(tensor, "length")?.unwrap_or(expected);
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
        let (file, size) = self.file(&place)?;
        if offset.checked_add(length).is_none_or(|end| end > *size) {
            return Err(EmbedError::Bounds {
                tensor: tensor.name.clone(),
                location: location.to_owned(),
                offset,
                length,
                found: *size,
            });
        }
        let mut raw_data = vec![0; length as usize];
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| file.read_exact(&mut raw_data))
            .map_err(|error| place.unreadable(&error))?;
        tensor.raw_data = raw_data;
        tensor.external_data.clear();
        tensor.data_location = DataLocation::Default as i32;
        Ok(())
    }

    fn file(&mut self, place: &Place<'_>) -> Result<&mut (File, u64), EmbedError> {
        let path = place.path(self.folder)?;
        if !self.open.contains_key(&path) {
            // Not followed: a link may lead anywhere. A pipe would wait for ever when opened.
            let metadata =
                std::fs::symlink_metadata(&path).map_err(|error| place.unreadable(&error))?;
            if !metadata.is_file() {
                return Err(EmbedError::NotAFile {
                    tensor: place.tensor.to_owned(),
                    location: place.location.to_owned(),
                });
            }
            let file = File::open(&path).map_err(|error| place.unreadable(&error))?;
            self.open.insert(path.clone(), (file, metadata.len()));
        }
        let missing = || place.unreadable(&io::ErrorKind::NotFound.into());
        self.open.get_mut(&path).ok_or_else(missing)
    }
}

impl Place<'_> {
    /// The path of the file, if the location is a name and nothing else on any system.
    fn path(&self, folder: &Path) -> Result<PathBuf, EmbedError> {
        let name = self.location;
        let plain = !name.is_empty()
            && !matches!(name, "." | "..")
            && !name.contains(['/', '\\', ':', '\0']);
        if plain {
            Ok(folder.join(name))
        } else {
            Err(EmbedError::Location {
                tensor: self.tensor.to_owned(),
                location: name.to_owned(),
            })
        }
    }

    fn number(&self, tensor: &TensorProto, key: &'static str) -> Result<Option<u64>, EmbedError> {
        let entry = tensor.external_data.iter().find(|entry| entry.key == key);
        let Some(entry) = entry else { return Ok(None) };
        let number = entry.value.parse().map(Some);
        number.map_err(|_| EmbedError::Number {
            tensor: self.tensor.to_owned(),
            location: self.location.to_owned(),
            key,
            value: entry.value.clone(),
        })
    }

    fn unreadable(&self, error: &io::Error) -> EmbedError {
        EmbedError::Read {
            tensor: self.tensor.to_owned(),
            location: self.location.to_owned(),
            reason: error.to_string(),
        }
    }
}

/// How many bytes a tensor's values take.
fn bytes(tensor: &TensorProto) -> Result<u64, TensorError> {
    use DataType::{
        Bfloat16, Bool, Complex64, Complex128, Double, Float, Float4e2m1, Float8e4m3fn,
        Float8e4m3fnuz, Float8e5m2, Float8e5m2fnuz, Float8e8m0, Float16, Int2, Int4, Int8, Int16,
        Int32, Int64, String, Uint2, Uint4, Uint8, Uint16, Uint32, Uint64, Undefined,
    };
    let bits = match DataType::try_from(tensor.data_type) {
        Ok(Int2 | Uint2) => 2,
        Ok(Int4 | Uint4 | Float4e2m1) => 4,
        Ok(
            Bool | Int8 | Uint8 | Float8e4m3fn | Float8e4m3fnuz | Float8e5m2 | Float8e5m2fnuz
            | Float8e8m0,
        ) => 8,
        Ok(Int16 | Uint16 | Float16 | Bfloat16) => 16,
        Ok(Int32 | Uint32 | Float) => 32,
        Ok(Int64 | Uint64 | Double | Complex64) => 64,
        Ok(Complex128) => 128,
        Ok(Undefined | String) | Err(_) => {
            return Err(TensorError::Type {
                name: tensor.name.clone(),
                expected: "numbers",
                found: format!("number {}", tensor.data_type),
            });
        }
    };
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
        DecodeError, Dim, GraphBuilder, LoadError, StringStringEntryProto, encode, load,
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
                error.ends_with("expected the name of a file in the model's folder"),
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

    #[cfg(unix)]
    #[test]
    fn links_and_folders_are_refused() {
        let folder = files(&[("location", "link")]);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("w.bin"), &link).unwrap();
        let refused = Err("tensor `w` keeps its values in `link`, expected a regular file".into());
        assert_eq!(read(&folder), refused);
        fs::remove_file(&link).unwrap();
        fs::create_dir(&link).unwrap();
        assert_eq!(read(&folder), refused);
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
        let error = embed(&mut model, Path::new(".")).unwrap_err();
        assert!(matches!(error, EmbedError::TooLong { .. }), "{error}");
    }
}
