//! Reading a pickle's bytes.

use crate::error::ReadError;

/// The bytes of a pickle and the position in them.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub const fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Offset of the next byte in the file.
    pub const fn at(&self) -> usize {
        self.at
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], ReadError> {
        let taken = self
            .at
            .checked_add(count)
            .and_then(|end| self.bytes.get(self.at..end))
            .ok_or(ReadError::Truncated { at: self.at })?;
        self.at += count;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let at = self.at;
        self.take(N)?
            .try_into()
            .map_err(|_| ReadError::Truncated { at })
    }

    pub fn byte(&mut self) -> Result<u8, ReadError> {
        Ok(self.array::<1>()?[0])
    }

    /// As many bytes as a length of `N` bytes before them says.
    pub fn counted<const N: usize>(&mut self) -> Result<&'a [u8], ReadError> {
        let at = self.at;
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(&self.array::<N>()?);
        let count = usize::try_from(u64::from_le_bytes(wide));
        self.take(count.map_err(|_| ReadError::Truncated { at })?)
    }

    /// The rest of the line, without its end.
    pub fn line(&mut self) -> Result<&'a [u8], ReadError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|&byte| byte == b'\n');
        let line = self.take(length.ok_or(ReadError::Truncated { at: self.at })?)?;
        self.at += 1;
        Ok(line)
    }
}
