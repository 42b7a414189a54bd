//! Codecs of pages.

use std::io::Read;

use kiln_util::catch_panic;

use crate::error::Problem;

/// Most bytes of a page, unpacked: 1 GiB. What others write is a megabyte or, of images, a row group.
pub(super) const MAX_PAGE: u64 = 1 << 30;

/// How pages are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Uncompressed,
    Snappy,
    Gzip,
    Brotli,
    Zstd,
    /// A block.
    Lz4Raw,
    /// Blocks after their lengths, as Hadoop wrote them, or a block alone.
    Lz4,
}

impl Codec {
    /// Returns the codec of this number in Parquet's format.
    pub fn of(number: i64) -> Result<Self, Problem> {
        Ok(match number {
            0 => Self::Uncompressed,
            1 => Self::Snappy,
            2 => Self::Gzip,
            4 => Self::Brotli,
            5 => Self::Lz4,
            6 => Self::Zstd,
            7 => Self::Lz4Raw,
            3 => return Err(Problem::Unsupported("compression by LZO".into())),
            _ => return Err(Problem::Damaged("it names a codec that no format has")),
        })
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Uncompressed => "uncompressed",
            Self::Snappy => "Snappy",
            Self::Gzip => "gzip",
            Self::Brotli => "Brotli",
            Self::Zstd => "Zstandard",
            Self::Lz4Raw | Self::Lz4 => "LZ4",
        }
    }

    /// Unpacks a page that announces this length. Memory grows with what comes out, or is bounded by what the codec can
    /// make of so few bytes.
    pub fn unpack(self, packed: &[u8], length: usize) -> Result<Vec<u8>, Problem> {
        let fail = |reason: String| Problem::Unpack {
            codec: self.name(),
            reason,
        };
        if length as u64 > MAX_PAGE {
            return Err(Problem::Memory(length as u64));
        }
        // A decoder of another crate that panics on what it is given is an error like another.
        let unpacked = catch_panic(|| self.run(packed, length)).and_then(|done| done);
        let unpacked = unpacked.map_err(fail)?;
        if unpacked.len() != length {
            let found = unpacked.len();
            return Err(fail(format!("expected {length} bytes, found {found}")));
        }
        Ok(unpacked)
    }

    fn run(self, packed: &[u8], length: usize) -> Result<Vec<u8>, String> {
        // Of a byte, Snappy makes at most 64 and LZ4 at most 255.
        let bound = |per_byte: usize| {
            let most = packed.len().saturating_mul(per_byte);
            if length > most {
                return Err(format!("{} bytes cannot hold {length}", packed.len()));
            }
            Ok(())
        };
        match self {
            Self::Uncompressed => Ok(packed.to_vec()),
            Self::Snappy => {
                bound(64)?;
                let announced = snap::raw::decompress_len(packed).map_err(text)?;
                if announced != length {
                    return Err(format!("expected {length} bytes, found {announced}"));
                }
                snap::raw::Decoder::new()
                    .decompress_vec(packed)
                    .map_err(text)
            }
            Self::Gzip => stream(flate2::read::MultiGzDecoder::new(packed), length),
            Self::Brotli => stream(
                brotli_decompressor::Decompressor::new(packed, 1 << 16),
                length,
            ),
            Self::Zstd => zstd(packed, length),
            Self::Lz4Raw => {
                bound(255)?;
                lz4_flex::block::decompress(packed, length).map_err(text)
            }
            Self::Lz4 => {
                bound(255)?;
                hadoop(packed, length)
                    .or_else(|| lz4_flex::block::decompress(packed, length).ok())
                    .ok_or_else(|| "neither blocks with their lengths nor a block".into())
            }
        }
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Reads one byte more than expected at most.
fn stream(reader: impl Read, length: usize) -> Result<Vec<u8>, String> {
    let mut unpacked = Vec::new();
    let mut reader = reader.take(length as u64 + 1);
    reader.read_to_end(&mut unpacked).map_err(text)?;
    Ok(unpacked)
}

/// One frame after another.
fn zstd(mut packed: &[u8], length: usize) -> Result<Vec<u8>, String> {
    let mut unpacked = Vec::new();
    while !packed.is_empty() && unpacked.len() <= length {
        let frame = ruzstd::decoding::StreamingDecoder::new(&mut packed).map_err(text)?;
        let left = length - unpacked.len();
        let mut frame = frame.take(left as u64 + 1);
        frame.read_to_end(&mut unpacked).map_err(text)?;
    }
    Ok(unpacked)
}

/// Blocks, each after its length and its packed length, big-endian.
fn hadoop(mut packed: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut unpacked = Vec::new();
    while !packed.is_empty() {
        let (header, rest) = packed.split_at_checked(8)?;
        let number = |at: usize| {
            header
                .get(at..at + 4)?
                .try_into()
                .ok()
                .map(u32::from_be_bytes)
        };
        let (of_block, of_packed) = (number(0)? as usize, number(4)? as usize);
        let (block, rest) = rest.split_at_checked(of_packed)?;
        if of_block > length - unpacked.len() {
            return None;
        }
        unpacked.extend(lz4_flex::block::decompress(block, of_block).ok()?);
        packed = rest;
    }
    (unpacked.len() == length).then_some(unpacked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_cannot_be_take_no_memory() {
        for codec in [
            Codec::Snappy,
            Codec::Lz4,
            Codec::Lz4Raw,
            Codec::Zstd,
            Codec::Gzip,
            Codec::Brotli,
        ] {
            for packed in [&[][..], &[0; 8], &[0xFF; 40]] {
                let error = codec.unpack(packed, 1 << 29).unwrap_err().to_string();
                assert!(error.contains("cannot be unpacked"), "{error}");
            }
            let error = codec
                .unpack(&[1, 2, 3], (MAX_PAGE + 1) as usize)
                .unwrap_err();
            assert!(matches!(error, Problem::Memory(_)), "{error}");
        }
    }
}
