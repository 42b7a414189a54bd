//! One message per mistake, with the place where it was made.

use std::fmt;

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// A line of the file, from 1.
    Line(usize),
    /// A `--set` argument.
    Override(String),
    /// The document as a whole.
    Whole,
}

/// A recipe or a sidecar that cannot be used: the file, the line, what was expected, what was found
/// and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipeError {
    origin: String,
    place: Place,
    problem: String,
}

impl RecipeError {
    pub(crate) fn new(origin: &str, place: Place, problem: impl Into<String>) -> Self {
        Self {
            origin: origin.into(),
            place,
            problem: problem.into(),
        }
    }

    /// The same error with more to say.
    pub(crate) fn and(mut self, more: &str) -> Self {
        self.problem.push_str(more);
        self
    }

    /// Says in which combination of a sweep it came up.
    #[must_use]
    pub(crate) fn in_combination(mut self, label: &str) -> Self {
        self.problem = format!("{} (in the sweep's combination `{label}`)", self.problem);
        self
    }

    /// The line of the file that is at fault, from 1; none for a mistake in a `--set` argument or
    /// of the whole recipe.
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
            Place::Override(argument) => write!(f, "--set {argument}: {}", self.problem),
            Place::Whole => write!(f, "{}: {}", self.origin, self.problem),
        }
    }
}

impl std::error::Error for RecipeError {}
