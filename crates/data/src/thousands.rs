//! Large numbers for people.

use std::fmt;

/// Displays with a comma between groups of three digits: `47,040,016`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thousands(pub u64);

impl fmt::Display for Thousands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (i, digit) in digits.char_indices() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_three() {
        let texts = [0, 999, 1_000, 47_040_016, 100_000].map(|n| Thousands(n).to_string());
        assert_eq!(texts, ["0", "999", "1,000", "47,040,016", "100,000"]);
    }
}
