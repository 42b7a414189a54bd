//! How lines are written.

use std::path::Path;

use super::PredictionsError;

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A header and lines of `index`, `path`, `label`, `predicted`, `probability`, the probability
    /// of each class (`p_…`) and, of a model that outputs logits, these (`logit_…`).
    Csv,
    /// A JSON object a line, with the same names; `probabilities` and `logits` in the order of the
    /// classes.
    JsonLines,
}

impl Format {
    /// Returns the format of a file by the ending of its name; CSV where there is none, as of
    /// devices and pipes. Another ending is an error, since the file would not be what it is
    /// called.
    pub fn of(path: &Path) -> Result<Self, PredictionsError> {
        let Some(ending) = path.extension() else {
            return Ok(Self::Csv);
        };
        match ending.to_string_lossy().to_lowercase().as_str() {
            "jsonl" | "ndjson" => Ok(Self::JsonLines),
            "csv" => Ok(Self::Csv),
            _ => Err(PredictionsError::Ending { path: path.into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_decides() {
        let of = |name: &str| Format::of(Path::new(name)).map_err(|error| error.to_string());
        for (name, format) in [
            ("a.jsonl", Format::JsonLines),
            ("a.NDJSON", Format::JsonLines),
            ("a.csv", Format::Csv),
            ("/dev/stdout", Format::Csv),
        ] {
            assert_eq!(of(name), Ok(format));
        }
        for name in ["z.json", "z.tsv", "z.csv.gz", "out.txt"] {
            let message = of(name).unwrap_err();
            assert!(message.contains("neither .csv nor .jsonl"), "{message}");
        }
    }
}
