//! The index at the end of a Parquet file: columns, row groups and what its writer noted.

use super::codec::Codec;
use super::column::{Chunk, Physical};
use super::thrift::{Reader, kind};
use crate::error::Problem;
use crate::source::Source;

/// Largest index that is read: 256 MiB, for millions of row groups.
const MAX_FOOTER: u64 = 256 << 20;

/// What is read of the end of a file that is far away.
const TAIL: u64 = 64 << 10;

/// Bytes that a file begins and ends with.
pub(super) const MAGIC: &[u8; 4] = b"PAR1";

/// Columns within columns at most.
const MAX_DEPTH: usize = 64;

/// What the index says.
#[derive(Debug)]
pub(super) struct Footer {
    pub columns: Vec<Leaf>,
    pub groups: Vec<Group>,
    /// Keys and values of the writer, such as `huggingface`.
    pub notes: Vec<(String, String)>,
}

/// A column that has values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaf {
    /// Names from the outermost column in.
    pub path: Vec<String>,
    pub physical: Physical,
    /// Whether its bytes are text.
    pub is_text: bool,
    pub max_definition: u32,
    /// Whether a row can have several values.
    pub is_repeated: bool,
}

/// Rows that are stored together.
#[derive(Debug)]
pub(super) struct Group {
    pub rows: u64,
    /// Of each column.
    chunks: Vec<Place>,
}

/// Where a column's values are.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    data: i64,
    dictionary: i64,
    length: i64,
    codec: i64,
    is_elsewhere: bool,
}

/// A column of the schema, as it is written: with the number of those that follow as its children.
#[derive(Default)]
struct Element {
    name: String,
    physical: Option<i64>,
    repetition: i64,
    children: i64,
    is_text: bool,
}

impl Footer {
    pub fn read(source: &Source) -> Result<Self, Problem> {
        let length = source.length();
        if length < 12 {
            return Err(Problem::Damaged("it is too short for a Parquet file"));
        }
        // Of a file that is far away the index is read with its length, if it is not too long.
        let tail = if source.is_remote() { TAIL } else { 8 };
        let tail = source.read(length - tail.min(length), tail.min(length))?;
        let (size, magic) = tail[tail.len() - 8..].split_at(4);
        match magic {
            magic if magic == MAGIC => (),
            b"PARE" => return Err(Problem::Unsupported("encryption".into())),
            _ => {
                return Err(Problem::Damaged(
                    "it does not end as Parquet files do, so it was cut off or not finished",
                ));
            }
        }
        let size = u64::from(u32::from_le_bytes([size[0], size[1], size[2], size[3]]));
        if size > MAX_FOOTER {
            return Err(Problem::Memory(size));
        }
        let start = (length - 8)
            .checked_sub(size)
            .ok_or(Problem::Damaged("its index is longer than the file"))?;
        if let Some(at) = (tail.len() as u64 - 8).checked_sub(size) {
            return Self::parse(&tail[at as usize..][..size as usize]);
        }
        let bytes = source.read(start, size)?;
        Self::parse(&bytes)
    }

    fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let mut elements = Vec::new();
        let mut groups = Vec::new();
        let mut notes = Vec::new();
        Reader::new(bytes).fields(|reader, field| {
            match field.id {
                2 => reader.list(field, kind::STRUCT, |reader, _| {
                    elements.push(Element::read(reader)?);
                    Ok(())
                })?,
                4 => reader.list(field, kind::STRUCT, |reader, _| {
                    groups.push(Group::read(reader)?);
                    Ok(())
                })?,
                5 => reader.list(field, kind::STRUCT, |reader, _| {
                    notes.push(note(reader)?);
                    Ok(())
                })?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let columns = leaves(&elements)?;
        if groups
            .iter()
            .any(|group| group.chunks.len() != columns.len())
        {
            return Err(Problem::Damaged(
                "a row group has not the columns of the schema",
            ));
        }
        let rows = groups
            .iter()
            .try_fold(0_u64, |sum, group| sum.checked_add(group.rows));
        if rows.is_none_or(|rows| i64::try_from(rows).is_err()) {
            return Err(Problem::Damaged(
                "it announces more rows than any format has",
            ));
        }
        Ok(Self {
            columns,
            groups,
            notes,
        })
    }

    /// Returns where a column's values in a row group are.
    pub fn chunk(&self, group: usize, column: usize, file: u64) -> Result<Chunk, Problem> {
        let damaged = Problem::Damaged("its index places a column outside the file");
        let (Some(group), Some(leaf)) = (self.groups.get(group), self.columns.get(column)) else {
            return Err(damaged);
        };
        let place = group.chunks[column];
        if place.is_elsewhere {
            return Err(Problem::Unsupported("a column in another file".into()));
        }
        // A dictionary comes first; writers that have none leave the place out or at 0.
        let start = if place.dictionary > 0 {
            place.dictionary.min(place.data)
        } else {
            place.data
        };
        let (Ok(start), Ok(length)) = (u64::try_from(start), u64::try_from(place.length)) else {
            return Err(damaged);
        };
        if start.checked_add(length).is_none_or(|end| end > file) {
            return Err(damaged);
        }
        Ok(Chunk {
            start,
            length,
            codec: Codec::of(place.codec)?,
            physical: leaf.physical,
            max_definition: leaf.max_definition,
        })
    }
}

fn note(reader: &mut Reader<'_>) -> Result<(String, String), Problem> {
    let (mut key, mut value) = (String::new(), String::new());
    reader.fields(|reader, field| {
        match field.id {
            1 => key = reader.text(field)?,
            // Arrow's schema may be large, and is not wanted.
            2 if key != "ARROW:schema" => value = reader.text(field)?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok((key, value))
}

impl Element {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Problem> {
        let mut element = Self::default();
        reader.fields(|reader, field| {
            match field.id {
                1 => element.physical = Some(reader.integer(field)?),
                3 => element.repetition = reader.integer(field)?,
                4 => element.name = reader.text(field)?,
                5 => element.children = reader.integer(field)?,
                // UTF8, ENUM and JSON.
                6 => element.is_text |= matches!(reader.integer(field)?, 0 | 4 | 19),
                10 => {
                    Reader::structure(field)?;
                    reader.fields(|_, field| {
                        element.is_text |= matches!(field.id, 1 | 4 | 12);
                        Ok(false)
                    })?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(element)
    }
}

/// The columns that have values, of a schema that is written depth first.
fn leaves(elements: &[Element]) -> Result<Vec<Leaf>, Problem> {
    /// A group whose children are being gone through.
    struct Open {
        left: u64,
        definition: u32,
        is_repeated: bool,
    }
    let malformed = || Problem::Damaged("its columns are malformed");
    let children = |element: &Element| u64::try_from(element.children).map_err(|_| malformed());
    let (root, rest) = elements.split_first().ok_or_else(malformed)?;
    let mut open = vec![Open {
        left: children(root)?,
        definition: 0,
        is_repeated: false,
    }];
    let mut path = Vec::new();
    let mut leaves = Vec::new();
    for element in rest {
        while open.last().is_some_and(|group| group.left == 0) {
            open.pop();
            path.pop();
        }
        let parent = open.last_mut().ok_or_else(malformed)?;
        parent.left -= 1;
        let definition = parent.definition + u32::from(element.repetition != 0);
        let is_repeated = parent.is_repeated || element.repetition == 2;
        path.push(element.name.clone());
        if let Some(physical) = element.physical {
            leaves.push(Leaf {
                path: path.clone(),
                physical: match physical {
                    1 => Physical::Int32,
                    2 => Physical::Int64,
                    4 => Physical::Float,
                    6 => Physical::Bytes,
                    _ => Physical::Other,
                },
                is_text: element.is_text,
                max_definition: definition,
                is_repeated,
            });
            path.pop();
        } else {
            if open.len() >= MAX_DEPTH {
                return Err(malformed());
            }
            open.push(Open {
                left: children(element)?,
                definition,
                is_repeated,
            });
        }
    }
    if open.iter().any(|group| group.left > 0) {
        return Err(malformed());
    }
    Ok(leaves)
}

impl Group {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Problem> {
        let mut rows = 0;
        let mut chunks = Vec::new();
        reader.fields(|reader, field| {
            match field.id {
                1 => reader.list(field, kind::STRUCT, |reader, _| {
                    chunks.push(Place::read(reader)?);
                    Ok(())
                })?,
                3 => rows = reader.integer(field)?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let rows = rows
            .try_into()
            .map_err(|_| Problem::Damaged("a row group has a negative number of rows"))?;
        Ok(Self { rows, chunks })
    }
}

impl Place {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Problem> {
        let mut place = Self::default();
        reader.fields(|reader, field| {
            match field.id {
                1 => place.is_elsewhere = !reader.binary(field)?.is_empty(),
                3 => {
                    Reader::structure(field)?;
                    reader.fields(|reader, field| {
                        let value = match field.id {
                            4 => &mut place.codec,
                            7 => &mut place.length,
                            9 => &mut place.data,
                            11 => &mut place.dictionary,
                            _ => return Ok(false),
                        };
                        *value = reader.integer(field)?;
                        Ok(true)
                    })?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(place)
    }
}
