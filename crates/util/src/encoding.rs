//! Text as other programs write it: UTF-8 with or without a byte-order mark, and UTF-16 with one, as
//! spreadsheets and shells of Windows do.

use std::io::{self, Read};

/// The byte-order mark of UTF-8.
const UTF_8: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// Bytes that are read at once.
const CHUNK: usize = 8 << 10;

/// How many bits a code unit of UTF-16 has in which order.
type Unit = fn([u8; 2]) -> u16;

/// Returns whether bytes begin with the byte-order mark of UTF-16.
pub fn is_utf16(bytes: &[u8]) -> bool {
    utf16(bytes).is_some()
}

/// Returns how units of UTF-16 are read, if bytes begin with its byte-order mark.
fn utf16(bytes: &[u8]) -> Option<Unit> {
    match bytes {
        [0xFF, 0xFE, ..] => Some(u16::from_le_bytes),
        [0xFE, 0xFF, ..] => Some(u16::from_be_bytes),
        _ => None,
    }
}

/// Returns the text that bytes hold, without a byte-order mark.
///
/// # Errors
///
/// The line, from 1, that is not valid in the text's encoding.
pub fn decode_text(bytes: Vec<u8>) -> Result<String, usize> {
    let Some(unit) = utf16(&bytes) else {
        let mut text = String::from_utf8(bytes).map_err(|error| {
            let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            valid.split(|&byte| byte == b'\n').count()
        })?;
        if text.starts_with('\u{feff}') {
            text.drain(..UTF_8.len());
        }
        return Ok(text);
    };
    let (pairs, rest) = bytes[2..].as_chunks();
    let mut text = String::with_capacity(pairs.len());
    let line = |text: &str| 1 + text.matches('\n').count();
    for character in char::decode_utf16(pairs.iter().map(|&pair| unit(pair))) {
        text.push(character.map_err(|_| line(&text))?);
    }
    if rest.is_empty() {
        Ok(text)
    } else {
        Err(line(&text))
    }
}

/// Reads text as UTF-8: what is UTF-16 with a byte-order mark is converted, everything else comes as it
/// is, without the byte-order mark of UTF-8. Memory does not grow with the text.
#[derive(Debug)]
pub struct TextReader<R> {
    inner: R,
    /// Known after the first read.
    encoding: Option<Encoding>,
    /// Bytes of the source, not yet looked at.
    raw: Vec<u8>,
    /// Text that was not asked for yet, from here on.
    text: Vec<u8>,
    at: usize,
    ended: bool,
}

#[derive(Debug, Clone, Copy)]
enum Encoding {
    /// UTF-8, or what is no text at all.
    Plain,
    Utf16(Unit),
}

impl<R: Read> TextReader<R> {
    /// Creates a reader that reads nothing before it is asked.
    pub const fn new(inner: R) -> Self {
        Self {
            inner,
            encoding: None,
            raw: Vec::new(),
            text: Vec::new(),
            at: 0,
            ended: false,
        }
    }

    /// Reads some bytes of the source.
    fn fill(&mut self) -> io::Result<()> {
        let before = self.raw.len();
        self.raw.resize(before + CHUNK, 0);
        let read = self.inner.read(&mut self.raw[before..]);
        self.raw.truncate(before + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => self.ended = true,
            Ok(_) => (),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Converts more of the source; there is no more of it if no text is there afterwards.
    fn advance(&mut self) -> io::Result<()> {
        self.text.clear();
        self.at = 0;
        while self.text.is_empty() && !self.ended {
            self.fill()?;
            let encoding = match self.encoding {
                Some(encoding) => encoding,
                // A byte-order mark may come in pieces.
                None if self.raw.len() < UTF_8.len() && !self.ended => continue,
                None => {
                    let (encoding, mark) = match utf16(&self.raw) {
                        Some(unit) => (Encoding::Utf16(unit), 2),
                        None if self.raw.starts_with(&UTF_8) => (Encoding::Plain, UTF_8.len()),
                        None => (Encoding::Plain, 0),
                    };
                    self.raw.drain(..mark);
                    *self.encoding.insert(encoding)
                }
            };
            match encoding {
                Encoding::Plain => self.text.append(&mut self.raw),
                Encoding::Utf16(unit) => self.convert(unit)?,
            }
        }
        Ok(())
    }

    /// Converts the whole characters of what was read.
    fn convert(&mut self, unit: Unit) -> io::Result<()> {
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, "this is not valid UTF-16");
        let (pairs, _) = self.raw.as_chunks();
        let mut units: Vec<u16> = pairs.iter().map(|&pair| unit(pair)).collect();
        // The second half of a character may still come.
        if !self.ended
            && let Some(0xD800..0xDC00) = units.last()
        {
            units.pop();
        }
        self.raw.drain(..2 * units.len());
        for character in char::decode_utf16(units) {
            let character = character.map_err(|_| invalid())?;
            let mut bytes = [0; 4];
            self.text
                .extend_from_slice(character.encode_utf8(&mut bytes).as_bytes());
        }
        if self.ended && !self.raw.is_empty() {
            return Err(invalid());
        }
        Ok(())
    }
}

impl<R: Read> Read for TextReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.text.len() && !buffer.is_empty() {
            self.advance()?;
        }
        let rest = &self.text[self.at..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that gives one byte at a time.
    struct Drops<'a>(&'a [u8]);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(1).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        let units = std::iter::once(0xFEFF).chain(text.encode_utf16());
        units.flat_map(bytes).collect()
    }

    fn read(bytes: &[u8]) -> io::Result<String> {
        let mut whole = String::new();
        TextReader::new(bytes).read_to_string(&mut whole)?;
        let mut drops = String::new();
        TextReader::new(Drops(bytes)).read_to_string(&mut drops)?;
        assert_eq!(whole, drops);
        Ok(whole)
    }

    #[test]
    fn text_is_the_same_in_every_encoding() {
        // Of one, two, three and four bytes in UTF-8, across the chunks that are read.
        for text in ["", "a", "path,label\r\né,日本\n🐈,x\n", &"🐈é".repeat(5000)] {
            let with_mark = [&UTF_8[..], text.as_bytes()].concat();
            let encodings = [
                text.as_bytes().to_vec(),
                with_mark,
                utf16(text, u16::to_le_bytes),
                utf16(text, u16::to_be_bytes),
            ];
            for bytes in encodings {
                assert_eq!(read(&bytes).unwrap(), text);
                assert_eq!(decode_text(bytes).unwrap(), text);
            }
        }
    }

    #[test]
    fn what_is_not_valid_is_told_with_its_line() {
        assert_eq!(decode_text(b"a\nb\n\xff".to_vec()), Err(3));
        let mut half = utf16("a\nb", u16::to_le_bytes);
        half.push(0);
        assert_eq!(decode_text(half.clone()), Err(2));
        assert!(read(&half).is_err());
        let lone = [0xFF, 0xFE, 0x00, 0xD8, b'a', 0];
        assert_eq!(decode_text(lone.to_vec()), Err(1));
        assert!(read(&lone).is_err());
    }

    #[test]
    fn bytes_that_are_no_text_come_as_they_are() {
        let mut bytes = Vec::new();
        TextReader::new(&b"\xfa\0\x01"[..])
            .read_to_end(&mut bytes)
            .unwrap();
        assert_eq!(bytes, b"\xfa\0\x01");
    }
}
