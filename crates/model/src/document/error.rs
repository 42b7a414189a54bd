//! One message per mistake, with the place where it was made.

use std::fmt;

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A line of the file, from 1.
    Line(usize),
    /// An override, `key=value`.
    Override(String),
    /// The document as a whole.
    Whole,
}

/// A recipe or a sidecar that cannot be used: the file, the line, what was expected and what was
/// found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipeError {
    origin: String,
    place: Place,
    problem: String,
    hint: Option<Hint>,
}

/// What to do about a recipe that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// The recipe has a `[sweep]`: train its combinations, or leave the sweep out.
    Sweep,
    /// The recipe has no `[sweep]`: train it once, or add one.
    NoSweep,
    /// Few backbones have a name: leave the name out, and give the network's ONNX file as weights.
    BackboneFile,
    /// Fetch the asset that a backbone's weights are.
    FetchWeights {
        /// Its name.
        asset: String,
    },
    /// Look up where the graph of a backbone's file can be cut.
    ListSegments {
        /// The file.
        file: String,
    },
}

impl RecipeError {
    pub(crate) fn new(origin: &str, place: Place, problem: impl Into<String>) -> Self {
        Self {
            origin: origin.into(),
            place,
            problem: problem.into(),
            hint: None,
        }
    }

    /// The same error with a hint.
    #[must_use]
    pub(crate) fn with_hint(mut self, hint: Hint) -> Self {
        self.hint = Some(hint);
        self
    }

    /// What to do about it, where that is not in the message.
    pub fn hint(&self) -> Option<Hint> {
        self.hint.clone()
    }

    /// The same error, in a combination of a sweep.
    #[must_use]
    pub(crate) fn in_combination(mut self, label: &str) -> Self {
        self.problem = format!("{} (in the sweep's combination `{label}`)", self.problem);
        self
    }

    /// The line of the file that is at fault, from 1; none for a mistake in an override or of the
    /// whole recipe.
    pub fn line(&self) -> Option<usize> {
        match self.place {
            Place::Line(line) => Some(line),
            Place::Override(_) | Place::Whole => None,
        }
    }
}

impl fmt::Display for RecipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Line(line) => write!(f, "{}:{line}: {}", self.origin, self.problem),
            Place::Override(argument) => write!(f, "override {argument}: {}", self.problem),
            Place::Whole => write!(f, "{}: {}", self.origin, self.problem),
        }
    }
}

impl std::error::Error for RecipeError {}
