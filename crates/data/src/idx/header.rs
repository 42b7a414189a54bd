//! The start of an IDX file.

use std::io::Read;
use std::path::Path;

use super::IdxError;

/// Most axes that are read: samples, height, width, channels.
const MAX_AXES: u8 = 4;

/// Type code of unsigned bytes.
const UNSIGNED_BYTE: u8 = 0x08;

/// What the start of an IDX file says.
#[derive(Debug, PartialEq)]
pub(super) struct Header {
    /// The length of each axis.
    pub(super) dims: Vec<u32>,
    /// Number of bytes of the header.
    pub(super) length: u64,
    /// Number of values, of one byte each; with the header at most `u64::MAX - 1`.
    pub(super) values: u64,
}

impl Header {
    /// Reads a header and nothing beyond it.
    pub(super) fn read(path: &Path, content: &mut impl Read) -> Result<Self, IdxError> {
        let magic = take(path, content, 4, 0)?;
        let found = [magic[0], magic[1], magic[2], magic[3]];
        let [0, 0, UNSIGNED_BYTE, axes @ 1..=MAX_AXES] = found else {
            return Err(IdxError::Magic {
                path: path.into(),
                found,
            });
        };
        let bytes = take(path, content, 4 * usize::from(axes), 4)?;
        let dims: Vec<u32> = bytes
            .chunks_exact(4)
            .map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        let length = 4 + bytes.len() as u64;
        let values = dims
            .iter()
            .try_fold(1u64, |product, &dim| product.checked_mul(dim.into()));
        match values {
            Some(values) if values < u64::MAX - length => Ok(Self {
                dims,
                length,
                values,
            }),
            _ => Err(IdxError::Overflow {
                path: path.into(),
                dims,
            }),
        }
    }
}

/// The next `count` bytes of the header, `before` bytes of which are read already.
fn take(
    path: &Path,
    content: &mut impl Read,
    count: usize,
    before: u64,
) -> Result<Vec<u8>, IdxError> {
    let mut bytes = Vec::with_capacity(count);
    content
        .take(count as u64)
        .read_to_end(&mut bytes)
        .map_err(|reason| IdxError::Read {
            path: path.into(),
            reason,
        })?;
    if bytes.len() < count {
        let (expected, found) = (before + count as u64, before + bytes.len() as u64);
        return Err(IdxError::Truncated {
            path: path.into(),
            expected,
            found,
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Header, String> {
        Header::read(Path::new("file"), &mut &bytes[..]).map_err(|error| error.to_string())
    }

    #[test]
    fn axes_are_big_endian() {
        let bytes = [0, 0, 8, 2, 0, 0, 1, 2, 0, 0, 0, 3, 99];
        assert_eq!(
            read(&bytes),
            Ok(Header {
                dims: vec![258, 3],
                length: 12,
                values: 774
            })
        );
    }

    #[test]
    fn other_magic_numbers_are_refused() {
        for magic in [
            [0, 0, 8, 0],
            [0, 0, 8, 5],
            [0, 0, 13, 1],
            [1, 0, 8, 1],
            *b"\x89PNG",
        ] {
            let error = read(&magic).unwrap_err();
            assert!(
                error.contains("expected it to begin with 00 00 08 and 01 to 04, found "),
                "{error}"
            );
        }
        assert!(read(b"\x89PNG").unwrap_err().contains("found 89 50 4e 47"));
    }

    #[test]
    fn a_short_header_says_how_short() {
        assert!(
            read(&[0, 0])
                .unwrap_err()
                .contains("expected 4 bytes, found 2")
        );
        assert!(
            read(&[0, 0, 8, 2, 0, 0, 1])
                .unwrap_err()
                .contains("expected 12 bytes, found 7")
        );
    }

    #[test]
    fn absurd_sizes_do_not_overflow() {
        let mut bytes = vec![0, 0, 8, 4];
        bytes.extend([0xFF; 16]);
        let error = read(&bytes).unwrap_err();
        assert!(
            error.contains("[4294967295, 4294967295, 4294967295, 4294967295]"),
            "{error}"
        );
    }
}
