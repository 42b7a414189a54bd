//! SHA-256 of what can be read.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

/// Bytes read at once: large enough that a call's overhead does not show, small enough for the
/// CPU's cache.
const CHUNK: usize = 64 * 1024;

/// Computes the SHA-256 of everything that `reader` gives; [`Hex`](crate::Hex) displays it.
pub fn sha256(mut reader: impl Read) -> io::Result<[u8; 32]> {
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match reader.read(&mut chunk) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(n) => hasher.update(&chunk[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hex;

    #[test]
    fn the_checksum_of_abc_is_that_of_fips_180_2() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Hex(&sha256(&b"abc"[..]).unwrap()).to_string(), expected);
    }
}
