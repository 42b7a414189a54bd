//! The values of one column in one row group, page by page: memory is that of a page and a dictionary.

use super::codec::{Codec, MAX_PAGE};
use super::encoding::{Delta, Hybrid, take, take_prefixed};
use super::thrift::Reader;
use crate::error::Problem;
use crate::source::Source;

/// Longest header of a page that is read: it may hold statistics with values of the column.
const MAX_HEADER: u64 = 16 << 20;

/// How values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Physical {
    Int32,
    Int64,
    Float,
    Bytes,
    /// Anything else, which is not read.
    Other,
}

/// Where a column's values of one row group are.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    pub start: u64,
    pub length: u64,
    pub codec: Codec,
    pub physical: Physical,
    /// How many optional groups and columns a value is in, itself included.
    pub max_definition: u32,
}

/// A value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Null,
    Integer(i64),
    Float(f32),
    Bytes(&'a [u8]),
}

/// Reads a column's values in a row group, one after another.
pub(super) struct Column {
    source: Source,
    chunk: Chunk,
    /// Where the next page begins.
    at: u64,
    end: u64,
    dictionary: Option<Dictionary>,
    page: Option<Page>,
}

/// A page of values.
struct Page {
    bytes: Vec<u8>,
    /// Values that are left, with those that are null.
    left: u64,
    /// Definition levels; none where no value is null.
    levels: Option<Hybrid>,
    values: Values,
}

/// How a page has its values, and which is next.
enum Values {
    /// One after another from this byte.
    Plain(usize),
    /// Indices into the dictionary.
    Indices(Hybrid),
    /// Differences of whole numbers.
    Delta(Delta),
    /// Lengths as differences; the bytes from this one on.
    Lengths { lengths: Delta, at: usize },
    /// Lengths of what each has in common with the one before, lengths of the rest, and the bytes from this one on.
    Prefixes {
        prefixes: Delta,
        suffixes: Delta,
        at: usize,
        last: Vec<u8>,
    },
}

struct Dictionary {
    bytes: Vec<u8>,
    /// Beginning and length of each value.
    values: Vec<(u32, u32)>,
}

/// The header of a page.
#[derive(Default)]
struct Header {
    kind: i64,
    unpacked: u64,
    packed: u64,
    values: u64,
    encoding: i64,
    level_encoding: i64,
    /// Lengths of repetition and definition levels, in the second version of pages.
    levels: Option<(u64, u64)>,
    is_packed: bool,
}

const DATA: i64 = 0;
const INDEX: i64 = 1;
const DICTIONARY: i64 = 2;
const DATA_V2: i64 = 3;

const PLAIN: i64 = 0;
const PLAIN_DICTIONARY: i64 = 2;
const RLE: i64 = 3;
const DELTA_BINARY_PACKED: i64 = 5;
const DELTA_LENGTH_BYTE_ARRAY: i64 = 6;
const DELTA_BYTE_ARRAY: i64 = 7;
const RLE_DICTIONARY: i64 = 8;

/// A number that is not negative.
fn unsigned(reader: &mut Reader<'_>, field: super::thrift::Field) -> Result<u64, Problem> {
    let number = reader.integer(field)?;
    number
        .try_into()
        .map_err(|_| Problem::Damaged("the header of a page has a negative length"))
}

impl Header {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Problem> {
        let mut header = Self {
            kind: -1,
            is_packed: true,
            ..Self::default()
        };
        reader.fields(|reader, field| {
            match field.id {
                1 => header.kind = reader.integer(field)?,
                2 => header.unpacked = unsigned(reader, field)?,
                3 => header.packed = unsigned(reader, field)?,
                5 | 7 => {
                    Reader::structure(field)?;
                    header.read_data(reader)?;
                }
                8 => {
                    Reader::structure(field)?;
                    header.read_second(reader)?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(header)
    }

    /// Of data pages and of dictionaries.
    fn read_data(&mut self, reader: &mut Reader<'_>) -> Result<(), Problem> {
        self.level_encoding = RLE;
        reader.fields(|reader, field| {
            match field.id {
                1 => self.values = unsigned(reader, field)?,
                2 => self.encoding = reader.integer(field)?,
                // Of a dictionary, whether it is sorted.
                3 if field.kind == super::thrift::kind::I32 => {
                    self.level_encoding = reader.integer(field)?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })
    }

    /// Of data pages of the second version.
    fn read_second(&mut self, reader: &mut Reader<'_>) -> Result<(), Problem> {
        let mut levels = (0, 0);
        reader.fields(|reader, field| {
            match field.id {
                1 => self.values = unsigned(reader, field)?,
                4 => self.encoding = reader.integer(field)?,
                5 => levels.1 = unsigned(reader, field)?,
                6 => levels.0 = unsigned(reader, field)?,
                7 => self.is_packed = Reader::boolean(field)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        self.levels = Some(levels);
        Ok(())
    }
}

impl Column {
    pub fn new(source: &Source, chunk: &Chunk) -> Self {
        Self {
            source: source.clone(),
            at: chunk.start,
            end: chunk.start.saturating_add(chunk.length),
            chunk: chunk.clone(),
            dictionary: None,
            page: None,
        }
    }

    /// Returns the value of the next row.
    pub fn next(&mut self) -> Result<Value<'_>, Problem> {
        while self.page.as_ref().is_none_or(|page| page.left == 0) {
            self.page = self.next_page()?;
        }
        let page = self
            .page
            .as_mut()
            .ok_or(Problem::Damaged("a column has no page"))?;
        page.left -= 1;
        if let Some(levels) = &mut page.levels {
            let level = levels.next(&page.bytes)?;
            if level > self.chunk.max_definition.into() {
                return Err(Problem::Damaged(
                    "a page has a level beyond those of its column",
                ));
            }
            if level < self.chunk.max_definition.into() {
                return Ok(Value::Null);
            }
        }
        page.value(self.chunk.physical, self.dictionary.as_ref())
    }

    /// Reads pages up to the next one of values; of a dictionary what it holds.
    fn next_page(&mut self) -> Result<Option<Page>, Problem> {
        if self.at >= self.end {
            return Err(Problem::Damaged("a column ends before its rows do"));
        }
        let (header, length) = self.header()?;
        self.at += length;
        if header.packed > self.end - self.at {
            return Err(Problem::Damaged("a page is longer than its column"));
        }
        if header.unpacked > MAX_PAGE {
            return Err(Problem::Memory(header.unpacked));
        }
        if header.kind == INDEX {
            self.at += header.packed;
            return Ok(None);
        }
        let packed = self.source.read(self.at, header.packed)?;
        self.at += header.packed;
        match header.kind {
            DICTIONARY => {
                if self.dictionary.is_some() {
                    return Err(Problem::Damaged("a column has two dictionaries"));
                }
                let bytes = self.unpack(packed, header.unpacked)?;
                if !matches!(header.encoding, PLAIN | PLAIN_DICTIONARY) {
                    return Err(encoding(header.encoding));
                }
                self.dictionary = Some(Dictionary::new(bytes, header.values, self.chunk.physical)?);
                Ok(None)
            }
            DATA => {
                let bytes = self.unpack(packed, header.unpacked)?;
                let mut rest = bytes.as_slice();
                let levels = if self.chunk.max_definition > 0 {
                    if header.level_encoding != RLE {
                        return Err(Problem::Unsupported(
                            "the old encoding of levels in bits".into(),
                        ));
                    }
                    let levels = take_prefixed(&mut rest)?;
                    let end = bytes.len() - rest.len();
                    Some(self.levels(end - levels.len(), end)?)
                } else {
                    None
                };
                let at = bytes.len() - rest.len();
                self.page(&header, bytes, levels, at).map(Some)
            }
            DATA_V2 => {
                let (repetition, definition) = header.levels.unwrap_or_default();
                let before = repetition.saturating_add(definition);
                let levels_end = usize::try_from(before).unwrap_or(usize::MAX);
                let mut rest = packed.as_slice();
                let mut bytes = take(&mut rest, levels_end)?.to_vec();
                let unpacked = header
                    .unpacked
                    .checked_sub(before)
                    .ok_or(Problem::Damaged("a page has more levels than bytes"))?;
                if header.is_packed && self.chunk.codec != Codec::Uncompressed {
                    // Without values there is nothing to unpack.
                    if unpacked > 0 {
                        bytes.extend(self.chunk.codec.unpack(rest, unpacked as usize)?);
                    }
                } else {
                    bytes.extend_from_slice(rest);
                }
                let levels = (self.chunk.max_definition > 0)
                    .then(|| self.levels(repetition as usize, levels_end))
                    .transpose()?;
                self.page(&header, bytes, levels, levels_end).map(Some)
            }
            _ => Err(Problem::Damaged("a page is of a kind that no format has")),
        }
    }

    fn levels(&self, at: usize, end: usize) -> Result<Hybrid, Problem> {
        let width = u32::BITS - self.chunk.max_definition.leading_zeros();
        Hybrid::new(at, end, width)
    }

    fn page(
        &self,
        header: &Header,
        bytes: Vec<u8>,
        levels: Option<Hybrid>,
        at: usize,
    ) -> Result<Page, Problem> {
        let is_bytes = self.chunk.physical == Physical::Bytes;
        let is_integer = matches!(self.chunk.physical, Physical::Int32 | Physical::Int64);
        let values = match header.encoding {
            PLAIN => Values::Plain(at),
            // A page in which all values are null may have no width either.
            PLAIN_DICTIONARY | RLE_DICTIONARY => {
                let width = bytes.get(at).copied().unwrap_or(0);
                Values::Indices(Hybrid::new(at + 1, bytes.len().max(at + 1), width.into())?)
            }
            DELTA_BINARY_PACKED if is_integer => Values::Delta(Delta::new(&bytes, at)?),
            DELTA_LENGTH_BYTE_ARRAY if is_bytes => {
                let lengths = Delta::new(&bytes, at)?;
                let at = end_of(&bytes, at)?;
                Values::Lengths { lengths, at }
            }
            DELTA_BYTE_ARRAY if is_bytes => {
                let prefixes = Delta::new(&bytes, at)?;
                let middle = end_of(&bytes, at)?;
                Values::Prefixes {
                    prefixes,
                    suffixes: Delta::new(&bytes, middle)?,
                    at: end_of(&bytes, middle)?,
                    last: Vec::new(),
                }
            }
            other => return Err(encoding(other)),
        };
        Ok(Page {
            bytes,
            left: header.values,
            levels,
            values,
        })
    }

    fn unpack(&self, packed: Vec<u8>, length: u64) -> Result<Vec<u8>, Problem> {
        match self.chunk.codec {
            Codec::Uncompressed if packed.len() as u64 == length => Ok(packed),
            Codec::Uncompressed => Err(Problem::Damaged(
                "a page has not the length that it announces",
            )),
            codec => codec.unpack(&packed, length as usize),
        }
    }

    /// Reads the header of the next page, and returns its length too: that is not known before.
    fn header(&self) -> Result<(Header, u64), Problem> {
        let left = self.end - self.at;
        let mut length = left.min(256);
        loop {
            let bytes = self.source.read(self.at, length)?;
            let mut reader = Reader::new(&bytes);
            match Header::read(&mut reader) {
                Ok(header) => return Ok((header, reader.position() as u64)),
                Err(problem) if length == left || length >= MAX_HEADER => return Err(problem),
                Err(_) => length = left.min(length * 16),
            }
        }
    }
}

/// Where what follows lengths begins. They are gone through for it, as many as the page says, each of which takes
/// time and no memory.
fn end_of(bytes: &[u8], at: usize) -> Result<usize, Problem> {
    let mut lengths = Delta::new(bytes, at)?;
    if lengths.left() > MAX_PAGE {
        return Err(Problem::Memory(lengths.left()));
    }
    while lengths.left() > 0 {
        lengths.next(bytes)?;
    }
    Ok(lengths.end())
}

fn encoding(number: i64) -> Problem {
    let name = match number {
        3 => "RLE",
        4 => "BIT_PACKED",
        DELTA_BINARY_PACKED => "DELTA_BINARY_PACKED",
        DELTA_LENGTH_BYTE_ARRAY => "DELTA_LENGTH_BYTE_ARRAY",
        DELTA_BYTE_ARRAY => "DELTA_BYTE_ARRAY",
        9 => "BYTE_STREAM_SPLIT",
        _ => return Problem::Damaged("it names an encoding that no format has"),
    };
    Problem::Unsupported(format!("the encoding {name} of a column of this type"))
}

/// Reads the value at a byte, and returns where the next one is.
fn plain(bytes: &[u8], at: usize, physical: Physical) -> Result<((u32, u32), usize), Problem> {
    let mut rest = bytes.get(at..).unwrap_or_default();
    let length = match physical {
        Physical::Bytes => take_prefixed(&mut rest)?.len(),
        Physical::Int32 | Physical::Float => take(&mut rest, 4)?.len(),
        Physical::Int64 => take(&mut rest, 8)?.len(),
        Physical::Other => return Err(Problem::Unsupported("a column of this type".into())),
    };
    let end = bytes.len() - rest.len();
    Ok((((end - length) as u32, length as u32), end))
}

/// Makes a value of the bytes that it is stored in.
fn value(bytes: &[u8], physical: Physical) -> Value<'_> {
    match physical {
        Physical::Int32 => {
            let number = bytes.try_into().map_or(0, i32::from_le_bytes);
            Value::Integer(number.into())
        }
        Physical::Int64 => Value::Integer(bytes.try_into().map_or(0, i64::from_le_bytes)),
        Physical::Float => Value::Float(bytes.try_into().map_or(0.0, f32::from_le_bytes)),
        Physical::Bytes | Physical::Other => Value::Bytes(bytes),
    }
}

impl Dictionary {
    fn new(bytes: Vec<u8>, count: u64, physical: Physical) -> Result<Self, Problem> {
        let mut values = Vec::new();
        let mut at = 0;
        for _ in 0..count {
            let (place, next) = plain(&bytes, at, physical)?;
            values.push(place);
            at = next;
        }
        Ok(Self { bytes, values })
    }

    fn get(&self, index: u64) -> Option<&[u8]> {
        let &(start, length) = self.values.get(usize::try_from(index).ok()?)?;
        self.bytes.get(start as usize..)?.get(..length as usize)
    }
}

impl Page {
    fn value<'a>(
        &'a mut self,
        physical: Physical,
        dictionary: Option<&'a Dictionary>,
    ) -> Result<Value<'a>, Problem> {
        let bytes = &self.bytes;
        let length = |number: i64| -> Result<usize, Problem> {
            usize::try_from(number).map_err(|_| Problem::Damaged("a page has a negative length"))
        };
        match &mut self.values {
            Values::Plain(at) => {
                let ((start, length), next) = plain(bytes, *at, physical)?;
                *at = next;
                let found = &bytes[start as usize..][..length as usize];
                Ok(value(found, physical))
            }
            Values::Indices(indices) => {
                let index = indices.next(bytes)?;
                let dictionary = dictionary.ok_or(Problem::Damaged("a page has no dictionary"))?;
                let found = dictionary.get(index).ok_or(Problem::Damaged(
                    "a page has an index beyond its dictionary",
                ))?;
                Ok(value(found, physical))
            }
            Values::Delta(delta) => {
                let number = delta.next(bytes)?;
                // Differences of numbers of 32 bits wrap around.
                Ok(Value::Integer(match physical {
                    Physical::Int32 => (number as i32).into(),
                    _ => number,
                }))
            }
            Values::Lengths { lengths, at } => {
                let length = length(lengths.next(bytes)?)?;
                let mut rest = bytes.get(*at..).unwrap_or_default();
                let found = take(&mut rest, length)?;
                *at += length;
                Ok(Value::Bytes(found))
            }
            Values::Prefixes {
                prefixes,
                suffixes,
                at,
                last,
            } => {
                let kept = length(prefixes.next(bytes)?)?;
                let added = length(suffixes.next(bytes)?)?;
                let mut rest = bytes.get(*at..).unwrap_or_default();
                let found = take(&mut rest, added)?;
                if kept > last.len() {
                    return Err(Problem::Damaged(
                        "a page has a prefix longer than the value before",
                    ));
                }
                if kept as u64 + added as u64 > MAX_PAGE {
                    return Err(Problem::Memory(kept as u64 + added as u64));
                }
                last.truncate(kept);
                last.extend_from_slice(found);
                *at += added;
                Ok(Value::Bytes(last))
            }
        }
    }
}
