//! Encodings of levels and values within a page.

use crate::error::Problem;

const CUT: Problem = Problem::Damaged("a page ends before its values do");

/// Takes bytes from the front.
pub(super) fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], Problem> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or(CUT)?;
    *bytes = rest;
    Ok(taken)
}

/// Takes a length of four bytes, and as many bytes.
pub(super) fn take_prefixed<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], Problem> {
    let length = take(bytes, 4)?;
    let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]);
    take(bytes, length as usize)
}

fn varint(page: &[u8], at: &mut usize) -> Result<u64, Problem> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *page.get(*at).ok_or(CUT)?;
        *at += 1;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Problem::Damaged("a page has a number beyond 64 bits"))
}

fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Reads `width` bits, least significant first, at a bit of the page.
fn bits(page: &[u8], bit: u64, width: u32) -> Result<u64, Problem> {
    let mut value = 0_u64;
    let mut got = 0;
    while got < width {
        let at = bit + u64::from(got);
        let byte = *page.get((at / 8) as usize).ok_or(CUT)?;
        let offset = (at % 8) as u32;
        let some = (8 - offset).min(width - got);
        let part = u64::from(byte >> offset) & ((1 << some) - 1);
        value |= part << got;
        got += some;
    }
    Ok(value)
}

/// Runs of equal numbers and of numbers in few bits each ("RLE/bit-packing hybrid"), from a byte of a page to
/// another.
#[derive(Debug)]
pub(super) struct Hybrid {
    at: usize,
    end: usize,
    width: u32,
    run: Run,
}

#[derive(Debug)]
enum Run {
    Equal { value: u64, left: u64 },
    Packed { bit: u64, left: u64 },
}

impl Hybrid {
    /// Begins at a byte; the width is 0 to 32 bits.
    pub fn new(at: usize, end: usize, width: u32) -> Result<Self, Problem> {
        if width > 32 {
            return Err(Problem::Damaged("a page has indices of more than 32 bits"));
        }
        Ok(Self {
            at,
            end,
            width,
            run: Run::Equal { value: 0, left: 0 },
        })
    }

    /// Returns the next number.
    pub fn next(&mut self, page: &[u8]) -> Result<u64, Problem> {
        let page = page.get(..self.end).ok_or(CUT)?;
        loop {
            match &mut self.run {
                Run::Equal { value, left } if *left > 0 => {
                    *left -= 1;
                    return Ok(*value);
                }
                Run::Packed { bit, left } if *left > 0 => {
                    *left -= 1;
                    let value = bits(page, *bit, self.width)?;
                    *bit += u64::from(self.width);
                    return Ok(value);
                }
                Run::Equal { .. } | Run::Packed { .. } => self.begin(page)?,
            }
        }
    }

    fn begin(&mut self, page: &[u8]) -> Result<(), Problem> {
        let header = varint(page, &mut self.at)?;
        let count = header >> 1;
        if header & 1 == 1 {
            let left = count.checked_mul(8).ok_or(CUT)?;
            self.run = Run::Packed {
                bit: self.at as u64 * 8,
                left,
            };
            // The last group may be cut short by the end of the page.
            let bytes = count.checked_mul(self.width.into()).ok_or(CUT)?;
            let end = self.at as u64 + bytes.min(page.len() as u64);
            self.at = (end as usize).min(page.len());
        } else {
            let bytes = self.width.div_ceil(8);
            let value = bits(page, self.at as u64 * 8, bytes * 8)?;
            self.at += bytes as usize;
            self.run = Run::Equal { value, left: count };
        }
        Ok(())
    }
}

/// Whole numbers as differences in blocks (`DELTA_BINARY_PACKED`).
#[derive(Debug)]
pub(super) struct Delta {
    at: usize,
    /// Values in a miniblock.
    per_miniblock: u64,
    miniblocks: u64,
    left: u64,
    value: i64,
    first: bool,
    min: i64,
    /// Where the widths of this block's miniblocks begin, and which of them is next.
    widths: usize,
    miniblock: u64,
    bit: u64,
    width: u32,
    in_miniblock: u64,
}

impl Delta {
    pub fn new(page: &[u8], mut at: usize) -> Result<Self, Problem> {
        let malformed = || Problem::Damaged("a page of differences has a malformed header");
        let block = varint(page, &mut at)?;
        let miniblocks = varint(page, &mut at)?;
        let left = varint(page, &mut at)?;
        let value = zigzag(varint(page, &mut at)?);
        let per_miniblock = block.checked_div(miniblocks).ok_or_else(malformed)?;
        if per_miniblock == 0 || per_miniblock % 8 != 0 || block > 1 << 24 {
            return Err(malformed());
        }
        Ok(Self {
            at,
            per_miniblock,
            miniblocks,
            left,
            value,
            first: true,
            min: 0,
            widths: at,
            miniblock: miniblocks,
            bit: 0,
            width: 0,
            in_miniblock: 0,
        })
    }

    /// Returns the number of values that are left.
    pub const fn left(&self) -> u64 {
        self.left
    }

    pub fn next(&mut self, page: &[u8]) -> Result<i64, Problem> {
        self.left = self.left.checked_sub(1).ok_or(CUT)?;
        if std::mem::take(&mut self.first) {
            return Ok(self.value);
        }
        if self.in_miniblock == 0 {
            if self.miniblock == self.miniblocks {
                self.min = zigzag(varint(page, &mut self.at)?);
                self.widths = self.at;
                self.at = self.at.checked_add(self.miniblocks as usize).ok_or(CUT)?;
                self.miniblock = 0;
            }
            let width = *page.get(self.widths + self.miniblock as usize).ok_or(CUT)?;
            if width > 64 {
                return Err(Problem::Damaged(
                    "a page has differences of more than 64 bits",
                ));
            }
            self.width = width.into();
            self.bit = self.at as u64 * 8;
            let bytes = self.per_miniblock / 8 * u64::from(width);
            self.at = self.at.checked_add(bytes as usize).ok_or(CUT)?;
            self.in_miniblock = self.per_miniblock;
            self.miniblock += 1;
        }
        let difference = bits(page, self.bit, self.width)? as i64;
        self.bit += u64::from(self.width);
        self.in_miniblock -= 1;
        self.value = self.value.wrapping_add(self.min).wrapping_add(difference);
        Ok(self.value)
    }

    /// Returns where what follows the values begins, once all were taken.
    pub fn end(&self) -> usize {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of Parquet's documentation: 0 to 7 in three bits.
    #[test]
    fn numbers_in_three_bits() {
        let page = [0x03, 0b1000_1000, 0b1100_0110, 0b1111_1010, 0x04, 0x05];
        let mut hybrid = Hybrid::new(0, page.len(), 3).unwrap();
        let values: Vec<u64> = (0..10).map(|_| hybrid.next(&page).unwrap()).collect();
        assert_eq!(values, [0, 1, 2, 3, 4, 5, 6, 7, 5, 5]);
        assert!(hybrid.next(&page).is_err());
    }

    /// The first example of Parquet's documentation: 1 to 5 in one block of 128.
    #[test]
    fn differences_that_are_equal() {
        let mut page = vec![0x80, 0x01, 4, 5, 2, 2];
        page.extend([0; 4]);
        let mut delta = Delta::new(&page, 0).unwrap();
        let values: Vec<i64> = (0..5).map(|_| delta.next(&page).unwrap()).collect();
        assert_eq!(values, [1, 2, 3, 4, 5]);
        assert!(delta.next(&page).is_err());
    }

    proptest! {
        #[test]
        fn any_page_ends_or_gives_values(page in prop::collection::vec(any::<u8>(), 0..60), width in 0_u32..40) {
            if let Ok(mut hybrid) = Hybrid::new(0, page.len(), width) {
                for _ in 0..200 {
                    if hybrid.next(&page).is_err() {
                        break;
                    }
                }
            }
            if let Ok(mut delta) = Delta::new(&page, 0) {
                for _ in 0..200 {
                    if delta.next(&page).is_err() {
                        break;
                    }
                }
            }
        }
    }
}
