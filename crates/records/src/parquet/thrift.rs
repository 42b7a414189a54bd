//! Thrift's compact protocol, in which Parquet writes its footer and the headers of its pages.
//!
//! A reader knows which fields it wants and skips the others. Lists and structs are gone through rather than
//! believed: nothing is reserved for a count that a file announces.

use crate::error::Problem;

/// Structs within structs that are skipped at most; Parquet's own have six levels.
const MAX_DEPTH: u32 = 32;

const CUT: Problem = Problem::Damaged("its index is cut off");

/// The types of fields.
pub(super) mod kind {
    pub const STOP: u8 = 0;
    pub const TRUE: u8 = 1;
    pub const FALSE: u8 = 2;
    pub const BYTE: u8 = 3;
    pub const I16: u8 = 4;
    pub const I32: u8 = 5;
    pub const I64: u8 = 6;
    pub const DOUBLE: u8 = 7;
    pub const BINARY: u8 = 8;
    pub const LIST: u8 = 9;
    pub const SET: u8 = 10;
    pub const MAP: u8 = 11;
    pub const STRUCT: u8 = 12;
    pub const UUID: u8 = 13;
}

/// Reads from the front of bytes.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A field of a struct.
#[derive(Clone, Copy)]
pub(super) struct Field {
    pub id: i16,
    pub kind: u8,
}

impl<'a> Reader<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Returns the number of bytes that were read.
    pub const fn position(&self) -> usize {
        self.at
    }

    fn byte(&mut self) -> Result<u8, Problem> {
        let byte = *self.bytes.get(self.at).ok_or(CUT)?;
        self.at += 1;
        Ok(byte)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Problem> {
        let end = self.at.checked_add(count).ok_or(CUT)?;
        let taken = self.bytes.get(self.at..end).ok_or(CUT)?;
        self.at = end;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Problem> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Problem::Damaged("its index has a number beyond 64 bits"))
    }

    fn zigzag(&mut self) -> Result<i64, Problem> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// Goes through the fields of a struct; `each` reads the value of a field or returns false, which skips it.
    pub fn fields(
        &mut self,
        mut each: impl FnMut(&mut Self, Field) -> Result<bool, Problem>,
    ) -> Result<(), Problem> {
        let mut id = 0_i16;
        while let Some(field) = self.field(&mut id)? {
            if !each(self, field)? {
                self.skip(field.kind, MAX_DEPTH)?;
            }
        }
        Ok(())
    }

    fn field(&mut self, last: &mut i16) -> Result<Option<Field>, Problem> {
        let byte = self.byte()?;
        let kind = byte & 0x0F;
        if kind == kind::STOP {
            return Ok(None);
        }
        let id = match byte >> 4 {
            0 => i16::try_from(self.zigzag()?).ok(),
            delta => last.checked_add(delta.into()),
        };
        let id = id.ok_or(Problem::Damaged("its index has a field that no format has"))?;
        *last = id;
        Ok(Some(Field { id, kind }))
    }

    /// Reads a whole number of a field.
    pub fn integer(&mut self, field: Field) -> Result<i64, Problem> {
        match field.kind {
            kind::I16 | kind::I32 | kind::I64 => self.zigzag(),
            kind::BYTE => Ok(i64::from(self.byte()? as i8)),
            _ => Err(other_kind()),
        }
    }

    /// Reads a truth value, which is in the kind of the field.
    pub fn boolean(field: Field) -> Result<bool, Problem> {
        match field.kind {
            kind::TRUE => Ok(true),
            kind::FALSE => Ok(false),
            _ => Err(other_kind()),
        }
    }

    /// Reads the bytes of a field.
    pub fn binary(&mut self, field: Field) -> Result<&'a [u8], Problem> {
        if field.kind != kind::BINARY {
            return Err(other_kind());
        }
        let length = self.varint()?;
        self.take(usize::try_from(length).map_err(|_| CUT)?)
    }

    /// Reads the text of a field.
    pub fn text(&mut self, field: Field) -> Result<String, Problem> {
        Ok(String::from_utf8_lossy(self.binary(field)?).into_owned())
    }

    /// Begins a struct that a field is.
    pub fn structure(field: Field) -> Result<(), Problem> {
        if field.kind == kind::STRUCT {
            Ok(())
        } else {
            Err(other_kind())
        }
    }

    /// Goes through a list of structs or texts that a field is; `each` reads one, of this kind.
    pub fn list(
        &mut self,
        field: Field,
        expected: u8,
        mut each: impl FnMut(&mut Self, Field) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        if field.kind != kind::LIST {
            return Err(other_kind());
        }
        let (count, kind) = self.list_header()?;
        if count > 0 && kind != expected {
            return Err(other_kind());
        }
        for _ in 0..count {
            each(self, Field { id: 0, kind })?;
        }
        Ok(())
    }

    fn list_header(&mut self) -> Result<(u64, u8), Problem> {
        let byte = self.byte()?;
        let count = match byte >> 4 {
            15 => self.varint()?,
            count => count.into(),
        };
        Ok((count, byte & 0x0F))
    }

    /// Skips a value. Each element of a list takes a byte at least, so this ends with the bytes.
    fn skip(&mut self, kind: u8, depth: u32) -> Result<(), Problem> {
        let deeper = depth
            .checked_sub(1)
            .ok_or(Problem::Damaged("its index is nested too deeply"))?;
        match kind {
            kind::TRUE | kind::FALSE => (),
            kind::BYTE => {
                self.byte()?;
            }
            kind::I16 | kind::I32 | kind::I64 => {
                self.varint()?;
            }
            kind::DOUBLE => {
                self.take(8)?;
            }
            kind::UUID => {
                self.take(16)?;
            }
            kind::BINARY => {
                self.binary(Field { id: 0, kind })?;
            }
            kind::LIST | kind::SET => {
                let (count, kind) = self.list_header()?;
                for _ in 0..count {
                    self.skip_element(kind, deeper)?;
                }
            }
            kind::MAP => {
                let count = self.varint()?;
                if count > 0 {
                    let kinds = self.byte()?;
                    for _ in 0..count {
                        self.skip_element(kinds >> 4, deeper)?;
                        self.skip_element(kinds & 0x0F, deeper)?;
                    }
                }
            }
            kind::STRUCT => {
                let mut id = 0;
                while let Some(field) = self.field(&mut id)? {
                    self.skip(field.kind, deeper)?;
                }
            }
            _ => return Err(other_kind()),
        }
        Ok(())
    }

    /// Skips an element of a list, where a truth value is a byte.
    fn skip_element(&mut self, kind: u8, depth: u32) -> Result<(), Problem> {
        match kind {
            kind::TRUE | kind::FALSE => self.byte().map(drop),
            _ => self.skip(kind, depth),
        }
    }
}

const fn other_kind() -> Problem {
    Problem::Damaged("its index has a value of another type than its format")
}

/// Writes structs.
#[derive(Default)]
pub(super) struct Writer {
    pub bytes: Vec<u8>,
    /// The last field of each struct that is open.
    last: Vec<i16>,
}

impl Writer {
    /// Creates a writer in a struct, which [`end`](Self::end) closes.
    pub fn new() -> Self {
        Self {
            bytes: Vec::new(),
            last: vec![0],
        }
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    fn zigzag(&mut self, value: i64) {
        self.varint(((value << 1) ^ (value >> 63)) as u64);
    }

    /// Begins a field; they come in ascending order, by at most 15.
    fn field(&mut self, id: i16, kind: u8) {
        if let Some(last) = self.last.last_mut() {
            let delta = (id - *last) as u8;
            *last = id;
            self.bytes.push(delta << 4 | kind);
        }
    }

    pub fn i32(&mut self, id: i16, value: i32) {
        self.field(id, kind::I32);
        self.zigzag(value.into());
    }

    pub fn i64(&mut self, id: i16, value: i64) {
        self.field(id, kind::I64);
        self.zigzag(value);
    }

    pub fn text(&mut self, id: i16, value: &str) {
        self.field(id, kind::BINARY);
        self.element_text(value);
    }

    /// Begins a struct in a field.
    pub fn begin(&mut self, id: i16) {
        self.field(id, kind::STRUCT);
        self.last.push(0);
    }

    /// Ends a struct.
    pub fn end(&mut self) {
        self.bytes.push(kind::STOP);
        self.last.pop();
    }

    /// Begins a list, whose elements follow.
    pub fn list(&mut self, id: i16, kind: u8, count: usize) {
        self.field(id, kind::LIST);
        if count < 15 {
            self.bytes.push((count as u8) << 4 | kind);
        } else {
            self.bytes.push(0xF0 | kind);
            self.varint(count as u64);
        }
    }

    /// Begins a struct that is an element of a list.
    pub fn element(&mut self) {
        self.last.push(0);
    }

    pub fn element_text(&mut self, value: &str) {
        self.varint(value.len() as u64);
        self.bytes.extend_from_slice(value.as_bytes());
    }

    pub fn element_i32(&mut self, value: i32) {
        self.zigzag(value.into());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::new();
        writer.i32(1, -7);
        writer.list(2, kind::STRUCT, 20);
        for value in 0..20 {
            writer.element();
            writer.i64(4, i64::MIN + value);
            writer.end();
        }
        writer.begin(3);
        writer.text(1, "x");
        writer.end();
        writer.end();
        let mut reader = Reader::new(&writer.bytes);
        let (mut values, mut skipped) = (Vec::new(), 0);
        reader
            .fields(|reader, field| match field.id {
                1 => {
                    values.push(reader.integer(field)?);
                    Ok(true)
                }
                2 => {
                    reader.list(field, kind::STRUCT, |reader, _| {
                        reader.fields(|reader, field| {
                            values.push(reader.integer(field)?);
                            Ok(true)
                        })
                    })?;
                    Ok(true)
                }
                _ => {
                    skipped += 1;
                    Ok(false)
                }
            })
            .unwrap();
        assert_eq!((values.len(), skipped), (21, 1));
        assert_eq!((values[0], values[20]), (-7, i64::MIN + 19));
        assert_eq!(reader.position(), writer.bytes.len());
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut reader = Reader::new(&bytes);
            let _ = reader.fields(|_, _| Ok(false));
        }
    }
}
