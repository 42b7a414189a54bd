//! The files around a pickle: `PyTorch`'s zip format, its legacy one, or none.

use std::collections::HashMap;
use std::io::Cursor as IoCursor;

use kiln_util::shown;
use zip::{CompressionMethod, ZipArchive};

use crate::error::ReadError;
use crate::pickle::{Cursor, Object, Pickle, Value, load};
use crate::tensors::{Tensors, collect};

/// First bytes of a zip archive that is not empty.
const ZIP: &[u8] = b"PK\x03\x04";

/// What the first pickle of the legacy format is: `0x1950a86a20f9469cfc6c`.
const LEGACY: Value<'_> = Value::Long(b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19");

/// The version of the legacy format, its second pickle.
const PROTOCOL: Value<'_> = Value::Int(1001);

impl<'a> Tensors<'a> {
    /// Reads a file that `torch.save` wrote, in its zip format or the legacy one, or a pickle of `NumPy`
    /// arrays in dictionaries, lists and tuples.
    ///
    /// Nothing in the file is executed. Values are borrowed; all else takes at most some 30 MiB, and for the
    /// zip format a small multiple of its directory.
    pub fn read(bytes: &'a [u8]) -> Result<Self, ReadError> {
        if bytes.starts_with(ZIP) {
            return zipped(bytes);
        }
        let first = load(bytes, 0, false)?;
        if first.root == LEGACY {
            return legacy(bytes, first.end);
        }
        if first.end != bytes.len() {
            let found = format!("{} bytes after it", bytes.len() - first.end);
            return Err(format_error("a pickle that fills the file", found));
        }
        collect(first.root, &first.objects, bytes.len(), &|_| None)
    }
}

/// Reads the legacy format from its second pickle on: version, system, object, keys of the storages, then
/// each storage's length and values.
fn legacy(bytes: &[u8], at: usize) -> Result<Tensors<'_>, ReadError> {
    let version = load(bytes, at, false)?;
    if version.root != PROTOCOL {
        return Err(format_error("version 1001", "another version".into()));
    }
    let system = load(bytes, version.end, false)?;
    if !is_little_endian(&system) {
        return Err(format_error("little-endian values", "others".into()));
    }
    let object = load(bytes, system.end, true)?;
    let keys = load(bytes, object.end, false)?;
    let Some(Object::List(list)) = keys.objects.get(keys.root) else {
        let found = keys.objects.kind(keys.root).to_owned();
        return Err(format_error("a list of storages", found));
    };
    let sizes = storage_sizes(&object);
    let mut cursor = Cursor::new(bytes, keys.end);
    let mut storages = HashMap::new();
    for key in list {
        let key = key.text().ok_or_else(|| {
            format_error("text as key of a storage", keys.objects.kind(*key).into())
        })?;
        let size = *sizes.get(key).ok_or_else(|| {
            format_error("storages of tensors only", "one without a tensor".into())
        })?;
        let start = cursor.at();
        let count = usize::try_from(u64::from_le_bytes(cursor.array()?)).ok();
        let length = count.and_then(|count| count.checked_mul(size));
        let values = cursor.take(length.ok_or(ReadError::Truncated { at: start })?)?;
        if storages.insert(key, values).is_some() {
            return Err(format_error("each storage once", "one twice".into()));
        }
    }
    if cursor.at() != bytes.len() {
        let found = format!("{} bytes after them", bytes.len() - cursor.at());
        return Err(format_error("storages that fill the file", found));
    }
    collect(object.root, &object.objects, bytes.len(), &|storage| {
        storages.get(storage.key).copied()
    })
}

fn is_little_endian(system: &Pickle<'_>) -> bool {
    matches!(system.objects.get(system.root), Some(Object::Dict(items))
        if items.contains(&(Value::Text("little_endian"), Value::Bool(true))))
}

/// Bytes of a value in each storage, by key.
fn storage_sizes<'a>(object: &Pickle<'a>) -> HashMap<&'a str, usize> {
    let storages = object.objects.storages();
    storages
        .map(|storage| (storage.key, storage.element.size()))
        .collect()
}

/// Reads the zip format: `NAME/data.pkl`, and `NAME/data/KEY` for each storage, none of them compressed.
fn zipped(bytes: &[u8]) -> Result<Tensors<'_>, ReadError> {
    let broken = |error: zip::result::ZipError| {
        format_error("a zip archive", shown(&error.to_string(), 200))
    };
    let mut archive = ZipArchive::new(IoCursor::new(bytes)).map_err(broken)?;
    let mut entries = HashMap::new();
    let mut root = None;
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(broken)?;
        if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
            return Err(format_error(
                "entries that are not compressed, as `torch.save` writes them",
                "one that is".into(),
            ));
        }
        let start = entry
            .data_start()
            .and_then(|start| usize::try_from(start).ok());
        let length = usize::try_from(entry.compressed_size()).ok();
        let values = start
            .zip(length)
            .and_then(|(start, length)| bytes.get(start..start.checked_add(length)?))
            .ok_or_else(|| format_error("entries within the archive", "one beyond it".into()))?;
        let name = entry.name().map_err(broken)?.into_owned();
        if let Some(before) = name.strip_suffix("data.pkl")
            && (before.is_empty() || before.ends_with('/'))
        {
            root = Some(before.to_owned());
        }
        entries.insert(name, values);
    }
    let root = root.ok_or_else(|| format_error("an entry `data.pkl`", "none".into()))?;
    let entry = |name: &str| entries.get(&format!("{root}{name}")).copied();
    if entry("byteorder").is_some_and(|order| order != b"little") {
        return Err(format_error("little-endian values", "others".into()));
    }
    let pickle = entry("data.pkl").unwrap_or_default();
    let object = load(pickle, 0, true)?;
    collect(object.root, &object.objects, bytes.len(), &|storage| {
        entry(&format!("data/{}", storage.key))
    })
}

fn format_error(expected: &'static str, found: String) -> ReadError {
    ReadError::Format { expected, found }
}
