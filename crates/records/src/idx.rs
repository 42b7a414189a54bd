//! IDX, the format of MNIST's files: a magic number, the length of each axis, then the values.
//!
//! The format is described on <http://yann.lecun.com/exdb/mnist/>. Only unsigned bytes are read,
//! with up to four axes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use kiln_util::{Hex, Thousands};

/// An IDX file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are what the messages say")]
#[non_exhaustive]
pub enum IdxError {
    /// The file is missing, unreadable, or damaged gzip.
    #[error("cannot read `{}`: {reason}: check that the file is there and whole", path.display())]
    Read { path: PathBuf, reason: io::Error },
    /// The first four bytes are not those of a file of unsigned bytes.
    #[error(
        "`{}` is not an IDX file of unsigned bytes: expected it to begin with 00 00 08 and 01 to 04, found {}: \
         check that it is the right file", path.display(), hex(*found)
    )]
    Magic { path: PathBuf, found: [u8; 4] },
    /// The axes multiply to a size beyond 64 bits.
    #[error(
        "`{}` announces an array of {dims:?}: expected a size that fits in memory: the header is damaged, \
         replace the file", path.display()
    )]
    Overflow { path: PathBuf, dims: Vec<u32> },
    /// The file ends before its values do.
    #[error(
        "`{}` is cut short: expected {} bytes, found {}: replace it by a complete copy",
        path.display(), Thousands(*expected), Thousands(*found)
    )]
    Truncated {
        path: PathBuf,
        /// Bytes of header and values together, uncompressed; of the header alone where that is cut
        /// short.
        expected: u64,
        found: u64,
    },
    /// The file has bytes after its values.
    #[error(
        "`{}` has bytes left over: expected {} bytes, found more: the header does not fit the content, \
         replace the file", path.display(), Thousands(*expected)
    )]
    Trailing {
        path: PathBuf,
        /// Bytes of header and values together, uncompressed.
        expected: u64,
    },
}

/// Formats bytes with spaces between them.
fn hex(bytes: [u8; 4]) -> String {
    bytes.map(|byte| Hex(&[byte]).to_string()).join(" ")
}

/// The array that an IDX file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdxArray {
    /// The length of each axis, 1 to 4 of them, the slowest first.
    pub dims: Vec<u32>,
    /// The values; as many as the axes multiply to.
    pub data: Vec<u8>,
}

/// Reads an IDX file of unsigned bytes, plain or gzip; the content tells which, not the name.
///
/// The file must hold exactly what its header announces. No more memory is taken than the file
/// fills.
pub fn read_idx(path: impl AsRef<Path>) -> Result<IdxArray, IdxError> {
    let path = path.as_ref();
    let io = |reason| IdxError::Read {
        path: path.into(),
        reason,
    };
    let file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    let mut content = BufReader::new(file);
    if content.fill_buf().map_err(io)?.starts_with(&[0x1F, 0x8B]) {
        read(path, MultiGzDecoder::new(content), None)
    } else {
        read(path, content, metadata.is_file().then_some(metadata.len()))
    }
}

/// Returns whether a file begins as an IDX file of images does, plain or gzip: three or four axes of
/// unsigned bytes. Pipes are not touched.
pub fn is_idx(path: &Path) -> bool {
    if !path.is_file() {
        return false;
    }
    let start = |mut content: Box<dyn Read>| {
        let mut bytes = [0; 4];
        content
            .read_exact(&mut bytes)
            .is_ok_and(|()| matches!(bytes, [0, 0, 8, 3 | 4]))
    };
    let Ok(file) = File::open(path) else {
        return false;
    };
    let mut content = BufReader::new(file);
    match content.fill_buf() {
        Ok([0x1F, 0x8B, ..]) => start(Box::new(MultiGzDecoder::new(content))),
        Ok(_) => start(Box::new(content)),
        Err(_) => false,
    }
}

/// Reads the array from `content`, which has `length` bytes if that is known.
fn read(path: &Path, mut content: impl Read, length: Option<u64>) -> Result<IdxArray, IdxError> {
    let io = |reason| IdxError::Read {
        path: path.into(),
        reason,
    };
    let Header {
        dims,
        length: header,
        values,
    } = Header::read(path, &mut content)?;
    let check = |found: u64| {
        let expected = header + values;
        match found {
            found if found < expected => Err(IdxError::Truncated {
                path: path.into(),
                expected,
                found,
            }),
            found if found > expected => Err(IdxError::Trailing {
                path: path.into(),
                expected,
            }),
            _ => Ok(()),
        }
    };
    let mut data = Vec::new();
    // A header is believed, and memory reserved, only if the file is as long as it says.
    if let Some(length) = length {
        check(length)?;
        data.try_reserve_exact(values as usize)
            .map_err(|_| io(io::ErrorKind::OutOfMemory.into()))?;
    }
    // One byte more, to find bytes left over and to have gzip verify its checksum at the end.
    content
        .take(values + 1)
        .read_to_end(&mut data)
        .map_err(io)?;
    check(header + data.len() as u64)?;
    Ok(IdxArray { dims, data })
}

/// Most axes that are read: samples, height, width, channels.
const MAX_AXES: u8 = 4;

/// Type code of unsigned bytes.
const UNSIGNED_BYTE: u8 = 0x08;

/// Header of an IDX file.
#[derive(Debug, PartialEq)]
struct Header {
    /// The length of each axis.
    dims: Vec<u32>,
    /// Number of bytes of the header.
    length: u64,
    /// Number of values, of one byte each; with the header at most `u64::MAX - 1`.
    values: u64,
}

impl Header {
    /// Reads a header and nothing beyond it.
    fn read(path: &Path, content: &mut impl Read) -> Result<Self, IdxError> {
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

/// Reads the next `count` bytes of the header, `before` bytes of which are read already.
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
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn file(dims: &[u32], data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, dims.len() as u8];
        bytes.extend(dims.iter().flat_map(|dim| dim.to_be_bytes()));
        bytes.extend(data);
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read_file(bytes: &[u8]) -> Result<IdxArray, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        read_idx(file.path()).map_err(|error| {
            let text = error.to_string();
            assert!(text.contains(&file.path().display().to_string()), "{text}");
            text
        })
    }

    #[test]
    fn plain_and_gzip_give_the_same() {
        let bytes = file(&[2, 3], &[1, 2, 3, 4, 5, 6]);
        let expected = Ok(IdxArray {
            dims: vec![2, 3],
            data: vec![1, 2, 3, 4, 5, 6],
        });
        assert_eq!(read_file(&bytes), expected);
        assert_eq!(read_file(&gzip(&bytes)), expected);
    }

    #[test]
    fn files_of_images_are_known_by_their_content() {
        let known = |bytes: &[u8]| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), bytes).unwrap();
            is_idx(file.path())
        };
        let (images, labels) = (file(&[1, 1, 1], &[7]), file(&[1], &[7]));
        assert!(known(&images) && known(&gzip(&images)));
        assert!(!known(&labels) && !known(b"") && !known(b"path,label\n") && !known(&[0x1F, 0x8B]));
    }

    #[test]
    fn sizes_that_do_not_fit_are_told() {
        let short = file(&[60_000, 28, 28], &[0; 9_984]);
        let long = file(&[2], &[1, 2, 3]);
        for (short, long) in [(short.clone(), long.clone()), (gzip(&short), gzip(&long))] {
            let error = read_file(&short).unwrap_err();
            assert!(
                error.contains("expected 47,040,016 bytes, found 10,000"),
                "{error}"
            );
            let error = read_file(&long).unwrap_err();
            assert!(error.contains("expected 10 bytes, found more"), "{error}");
        }
    }

    #[test]
    fn headers_that_lie_take_no_memory() {
        for dims in [&[u32::MAX; 2][..], &[u32::MAX, u32::MAX, 0], &[1 << 31]] {
            let bytes = file(dims, &[1, 2, 3]);
            assert!(read_file(&bytes).is_err());
            assert!(read_file(&gzip(&bytes)).is_err());
        }
    }

    #[test]
    fn damaged_gzip_is_an_error() {
        let good = gzip(&file(&[4], &[1, 2, 3, 4]));
        let mut checksum = good.clone();
        let at = checksum.len() - 8;
        checksum[at] ^= 1;
        for bytes in [&checksum, &good[..good.len() - 1], &good[..12], &good[..2]] {
            assert!(read_file(bytes).unwrap_err().starts_with("cannot read `"));
        }
    }

    #[test]
    fn missing_files_and_folders_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().join("missing"), folder.path().to_owned()] {
            assert!(matches!(read_idx(path), Err(IdxError::Read { .. })));
        }
    }

    proptest! {
        #[test]
        fn arrays_come_back(
            (dims, data) in prop::collection::vec(0..6u32, 1..=4).prop_flat_map(|dims| {
                let length = dims.iter().product::<u32>() as usize;
                (Just(dims), prop::collection::vec(any::<u8>(), length))
            }),
        ) {
            let bytes = file(&dims, &data);
            let length = bytes.len() as u64;
            let expected = IdxArray { dims, data };
            prop_assert_eq!(&read(Path::new("x"), &bytes[..], Some(length)).unwrap(), &expected);
            prop_assert_eq!(&read(Path::new("x"), &gzip(&bytes)[..], None).is_err(), &true);
            prop_assert_eq!(&read(Path::new("x"), MultiGzDecoder::new(&gzip(&bytes)[..]), None).unwrap(), &expected);
        }

        #[test]
        fn any_header_is_an_array_or_an_error(
            start in prop::collection::vec(any::<u8>(), 0..24), axes in 0..6u8, valid_type: bool, known_length: bool,
        ) {
            let mut bytes = start;
            if valid_type && bytes.len() >= 4 {
                bytes[..4].copy_from_slice(&[0, 0, 8, axes]);
            }
            let length = known_length.then_some(bytes.len() as u64);
            if let Ok(array) = read(Path::new("x"), &bytes[..], length) {
                prop_assert_eq!(array.data.len() as u64, array.dims.iter().map(|&dim| u64::from(dim)).product::<u64>());
            }
        }

        #[test]
        fn one_changed_header_byte_is_never_a_wrong_array(at in 0..12usize, byte: u8) {
            let good = file(&[2, 3], &[1, 2, 3, 4, 5, 6]);
            let mut bytes = good.clone();
            bytes[at] = byte;
            let length = bytes.len() as u64;
            prop_assert_eq!(read(Path::new("x"), &bytes[..], Some(length)).is_ok(), bytes == good);
        }
    }

    fn read_header(bytes: &[u8]) -> Result<Header, String> {
        Header::read(Path::new("file"), &mut &bytes[..]).map_err(|error| error.to_string())
    }

    #[test]
    fn axes_are_big_endian() {
        let bytes = [0, 0, 8, 2, 0, 0, 1, 2, 0, 0, 0, 3, 99];
        assert_eq!(
            read_header(&bytes),
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
            let error = read_header(&magic).unwrap_err();
            assert!(
                error.contains("expected it to begin with 00 00 08 and 01 to 04, found "),
                "{error}"
            );
        }
        assert!(
            read_header(b"\x89PNG")
                .unwrap_err()
                .contains("found 89 50 4e 47")
        );
    }

    #[test]
    fn a_short_header_says_how_short() {
        assert!(
            read_header(&[0, 0])
                .unwrap_err()
                .contains("expected 4 bytes, found 2")
        );
        assert!(
            read_header(&[0, 0, 8, 2, 0, 0, 1])
                .unwrap_err()
                .contains("expected 12 bytes, found 7")
        );
    }

    #[test]
    fn absurd_sizes_do_not_overflow() {
        let mut bytes = vec![0, 0, 8, 4];
        bytes.extend([0xFF; 16]);
        let error = read_header(&bytes).unwrap_err();
        assert!(
            error.contains("[4294967295, 4294967295, 4294967295, 4294967295]"),
            "{error}"
        );
    }
}
