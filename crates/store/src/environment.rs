//! What credentials and endpoints are taken from: environment variables, and files in the home folder.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

/// Environment variables: those of the process, or others in tests.
#[derive(Clone, Default)]
pub struct Environment(Option<HashMap<String, String>>);

impl Environment {
    /// The variables of the process.
    pub const fn of_process() -> Self {
        Self(None)
    }

    /// These variables and no others.
    pub fn of<const N: usize>(variables: [(&str, &str); N]) -> Self {
        let owned = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self(Some(owned.into()))
    }

    /// Returns a variable that is set, and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let value = match &self.0 {
            Some(variables) => variables.get(name).cloned(),
            None => std::env::var(name).ok(),
        };
        value.filter(|value| !value.is_empty())
    }

    /// Returns whether a variable says yes.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| ["1", "true", "yes"].contains(&value.to_lowercase().as_str()))
    }

    /// Returns a file below the home folder.
    pub(crate) fn home(&self, below: &str) -> Option<PathBuf> {
        let home = self.get("HOME").or_else(|| self.get("USERPROFILE"))?;
        Some(PathBuf::from(home).join(below))
    }

    /// Reads the file that a variable names, else one below the home folder; none if it is not there.
    pub(crate) fn file(&self, name: &str, below: &str) -> Option<String> {
        let path = match self.get(name) {
            Some(path) => path.into(),
            None => self.home(below)?,
        };
        fs::read_to_string(path).ok()
    }
}
