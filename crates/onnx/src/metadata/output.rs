//! What a classifier's output is.

use std::fmt;
use std::str::FromStr;

use super::MetadataError;

/// What a classifier's output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutputKind {
    /// Unnormalised scores; softmax makes probabilities of them.
    Logits,
    /// Probabilities: the graph ends in a softmax.
    Probabilities,
}

impl OutputKind {
    /// The word in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logits => "logits",
            Self::Probabilities => "probabilities",
        }
    }
}

impl fmt::Display for OutputKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OutputKind {
    type Err = MetadataError;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let found = [Self::Logits, Self::Probabilities].into_iter().find(|kind| kind.as_str() == word);
        found.ok_or_else(|| {
            MetadataError::value(super::OUTPUT, format_args!("expected `logits` or `probabilities`, found `{word}`"))
        })
    }
}
