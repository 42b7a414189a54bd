//! `[export]`: contents of the exported file.

use serde::Serialize;

use crate::document::{RecipeError, Section};

pub(super) const KEYS: &[&str] = &["softmax", "golden"];

/// `[export]`: contents of the exported file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Export {
    /// Whether the graph ends in a softmax, giving probabilities in place of logits.
    pub softmax: bool,
    /// Whether the file contains golden vectors: test images with the scores that Burn computes for
    /// them.
    #[serde(skip_serializing_if = "Clone::clone")]
    pub golden: bool,
}

/// Reads `[export]`.
pub(super) fn parse(root: &Section<'_>) -> Result<Export, RecipeError> {
    let section = root.sub("export", KEYS)?;
    Ok(Export {
        softmax: section.boolean_or("softmax", false)?,
        golden: section.boolean_or("golden", true)?,
    })
}
