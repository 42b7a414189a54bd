//! Protobuf's encoding, as far as messages are looked at without decoding them.

use prost::bytes::Buf;

/// Kinds of field.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FIXED32: u64 = 5;

/// A field of a message.
pub struct Field<'a> {
    /// Its number.
    pub number: u64,
    /// All of its bytes, with those of its key.
    pub bytes: &'a [u8],
    /// The bytes of a string, a message or a packed list; none of a number.
    pub value: Option<&'a [u8]>,
}

/// Returns the first field of a message; none where it is cut short or a group, which no ONNX file has.
pub fn next_field(message: &[u8]) -> Option<Field<'_>> {
    let mut rest = message;
    let key = varint(&mut rest)?;
    let value = match key & 7 {
        VARINT => {
            varint(&mut rest)?;
            0
        }
        FIXED64 => 8,
        LENGTH_DELIMITED => usize::try_from(varint(&mut rest)?).ok()?,
        FIXED32 => 4,
        _ => return None,
    };
    let start = message.len() - rest.len();
    let bytes = message.get(..start.checked_add(value)?)?;
    Some(Field {
        number: key >> 3,
        bytes,
        value: (key & 7 == LENGTH_DELIMITED).then(|| &bytes[start..]),
    })
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes.try_get_u8().ok()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
