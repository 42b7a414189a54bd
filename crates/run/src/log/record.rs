//! Records of an event file, as TensorFlow's `TFRecordWriter` frames them: length, its checksum, the
//! bytes, their checksum. Checksums are CRC-32C, masked.

/// The polynomial of CRC-32C (Castagnoli), its bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// What each byte adds to a checksum. Twelve lines do for some hundred bytes per epoch; crates that compute
/// gigabytes per second by SIMD would come with a build script.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (POLYNOMIAL * (crc & 1));
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| TABLE[(crc as u8 ^ byte) as usize] ^ (crc >> 8);
    !bytes.iter().fold(!0, step)
}

/// A checksum as it is stored, so that the checksum of bytes that hold one is none of the usual values.
fn masked(bytes: &[u8]) -> [u8; 4] {
    let rotated = crc32c(bytes).rotate_right(15);
    rotated.wrapping_add(0xa282_ead8).to_le_bytes()
}

/// Appends a record that holds these bytes.
pub fn write(file: &mut Vec<u8>, bytes: &[u8]) {
    let length = (bytes.len() as u64).to_le_bytes();
    file.extend(length);
    file.extend(masked(&length));
    file.extend(bytes);
    file.extend(masked(bytes));
}

/// Splits the first record off: the bytes that it holds, and what follows it. Nothing where there is no
/// whole and undamaged one.
pub fn read(file: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = file.split_first_chunk::<8>()?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    if masked(length) != *checksum {
        return None;
    }
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (bytes, rest) = rest.split_at_checked(length)?;
    let (checksum, rest) = rest.split_first_chunk::<4>()?;
    (masked(bytes) == *checksum).then_some((bytes, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_rfc_3720() {
        // Appendix B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_record_is_read_whole_and_undamaged_or_not_at_all() {
        let mut file = Vec::new();
        write(&mut file, b"first");
        let first = file.len();
        write(&mut file, b"");
        let (bytes, rest) = read(&file).unwrap();
        assert_eq!((bytes, rest.len()), (&b"first"[..], file.len() - first));
        assert_eq!(read(rest), Some((&b""[..], &b""[..])));
        for length in 0..first {
            assert_eq!(read(&file[..length]), None, "cut at {length}");
        }
        for at in 0..first {
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            assert_eq!(read(&damaged), None, "damaged at {at}");
        }
    }
}
