//! A share of the images, for several processes.

use std::str::FromStr;

use kiln_records::Share;

/// Every n-th image, beginning with the i-th: `i/n`; of Parquet files every n-th row group, where there are as many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// From 1.
    number: u64,
    of: u64,
}

impl Shard {
    /// Returns i, from 1, and n.
    pub const fn numbers(self) -> (u64, u64) {
        (self.number, self.of)
    }

    /// Returns whether the image at this place, from 0, is in it.
    pub const fn has(self, index: u64) -> bool {
        index % self.of == self.number - 1
    }

    /// Counts how many of so many images are in it.
    pub const fn count(self, images: u64) -> u64 {
        (images + self.of - self.number) / self.of
    }
}

impl From<Shard> for Share {
    fn from(shard: Shard) -> Self {
        Self {
            number: shard.number - 1,
            of: shard.of,
        }
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text
            .split_once('/')
            .map(|(number, of)| (number.parse::<u64>(), of.parse::<u64>()));
        match parts {
            Some((Ok(number), Ok(of)))
                if (1..=of).contains(&number) && u32::try_from(of).is_ok() =>
            {
                Ok(Self { number, of })
            }
            _ => {
                Err("expected i/n with i from 1 to n, such as 1/4 for the first of four".to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_disjoint_and_together_everything() {
        for of in 1..=5 {
            let shards: Vec<Shard> = (1..=of)
                .map(|number| format!("{number}/{of}").parse().unwrap())
                .collect();
            for images in 0..12 {
                let held =
                    |shard: &Shard| (0..images).filter(|&index| shard.has(index)).count() as u64;
                assert!(
                    shards
                        .iter()
                        .all(|shard| shard.count(images) == held(shard))
                );
                assert_eq!(shards.iter().map(held).sum::<u64>(), images);
            }
        }
    }

    #[test]
    fn numbers_go_from_one() {
        for text in ["0/4", "5/4", "1", "1/0", "a/b", "-1/2", "1/2/3", ""] {
            assert!(
                text.parse::<Shard>().unwrap_err().contains("from 1 to n"),
                "{text}"
            );
        }
    }
}
