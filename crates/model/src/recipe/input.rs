//! `[input]`: size, channels and preprocessing of the images.

use serde::Serialize;

use crate::document::{RecipeError, Section};
use crate::{Channels, Preprocess, Preprocessing};

pub(super) const KEYS: &[&str] = &["height", "width", "channels", "preprocess", "antialias"];

/// `[input]`: what the model takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Input {
    /// Height in pixels.
    pub height: u32,
    /// Width in pixels.
    pub width: u32,
    /// Channels and their order.
    pub channels: Channels,
    /// How pixel values become numbers.
    pub preprocess: Preprocess,
    /// Whether shrinking an image weighs every source pixel.
    pub antialias: bool,
}

/// Reads `[input]`.
pub(super) fn parse(root: &Section<'_>) -> Result<Input, RecipeError> {
    let section = root.sub("input", KEYS)?;
    let side = 1..=i64::from(Preprocessing::MAX_SIDE);
    let preprocess = section.choice_or("preprocess", Preprocess::Unit, &Preprocess::WORDS)?;
    // Some have a mean for each color, in an order of their own.
    let fixed = preprocess.channels();
    let channels = section.choice_or(
        "channels",
        fixed.unwrap_or(Channels::Gray),
        &Channels::WORDS,
    )?;
    if let (Some(fixed), Some(field)) = (
        fixed.filter(|fixed| *fixed != channels),
        section.get("channels"),
    ) {
        return Err(field.error(format!(
            "this `preprocess` is for the channels {fixed}: leave out `channels`"
        )));
    }
    Ok(Input {
        height: section.integer_or("height", 28, side.clone())?,
        width: section.integer_or("width", 28, side)?,
        channels,
        preprocess,
        antialias: section.boolean_or("antialias", false)?,
    })
}
