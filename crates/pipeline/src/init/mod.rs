//! A recipe for a folder of images, or a list of them: it is looked at, and what suits it is chosen.

mod choice;
mod survey;
mod text;

use std::ffi::OsStr;
use std::path::Path;

use crate::context::Context;
use crate::error::Result;
pub use crate::error::training::InitError;
use crate::recipe::RecipeText;
pub use choice::{Approach, Choice};
pub use survey::{Sizes, Survey, survey};

/// A recipe that was made for images.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Draft {
    /// What was found.
    pub found: Survey,
    /// What was chosen.
    pub choice: Choice,
    /// The recipe as TOML, with comments that say why.
    pub text: String,
}

/// Makes a recipe for a folder of images or a list of them. Nothing is fetched or written.
///
/// # Errors
///
/// Those of [`survey`](survey()).
pub fn draft(path: &Path, context: &Context<'_>) -> Result<Draft> {
    let found = survey(path, context)?;
    let choice = Choice::of(&found);
    let text = text::text(&found, &choice);
    Ok(Draft {
        found,
        choice,
        text,
    })
}

impl Draft {
    /// Returns the recipe, for changes to be applied and for reading.
    pub fn recipe(&self) -> RecipeText {
        RecipeText::new(&self.found.name, &self.text)
    }
}

/// Whether a path is that of images rather than of a recipe: a folder, or a list in CSV.
pub fn is_data(path: &Path) -> bool {
    let is_list = |ending: &OsStr| ending.eq_ignore_ascii_case("csv");
    path.is_dir() || path.extension().is_some_and(is_list)
}
