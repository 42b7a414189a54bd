//! Declarations as people write them.

use super::Declaration;
use crate::document::{self, Bound, Field, RecipeError, Section, Source};
use crate::{Channels, Layout, OutputKind, Preprocess, Preprocessing};

const KEYS: &[&str] = &[
    "preprocess",
    "size",
    "channels",
    "antialias",
    "scale",
    "mean",
    "std",
    "labels",
    "layout",
    "output",
];

impl Declaration {
    /// Reads a sidecar: TOML with a key for each part.
    ///
    /// `origin` is the file's name for messages; each of `overrides` is a `key=value` as of
    /// `--set`. `labels` may be an array or the name of a file, which `read_labels` reads.
    pub fn parse(
        text: &str,
        origin: &str,
        overrides: &[String],
        read_labels: impl Fn(&str) -> Result<Vec<String>, String>,
    ) -> Result<Self, RecipeError> {
        let document = document::read(text, origin, overrides)?;
        let source = Source {
            origin,
            sections: &[],
        };
        let root = Section::root(source, &document, KEYS)?;
        let labels = |field: Field<'_>| {
            if field.is_array() {
                let names = field.array()?;
                return names
                    .iter()
                    .map(|name| name.string().map(str::to_owned))
                    .collect();
            }
            read_labels(field.string()?).map_err(|problem| field.error(problem))
        };
        Ok(Self {
            preprocess: root
                .get("preprocess")
                .map(|field| field.choice(&Preprocess::WORDS))
                .transpose()?,
            size: root.get("size").map(|field| size(&field)).transpose()?,
            channels: root
                .get("channels")
                .map(|field| field.choice(&Channels::WORDS))
                .transpose()?,
            antialias: root
                .get("antialias")
                .map(|field| field.boolean())
                .transpose()?,
            scale: root.get("scale").map(|field| number(&field)).transpose()?,
            mean: root.get("mean").map(|field| numbers(&field)).transpose()?,
            std: root.get("std").map(|field| numbers(&field)).transpose()?,
            labels: root.get("labels").map(labels).transpose()?,
            layout: root
                .get("layout")
                .map(|field| field.choice(&Layout::WORDS))
                .transpose()?,
            output: root
                .get("output")
                .map(|field| field.choice(&OutputKind::WORDS))
                .transpose()?,
        })
    }
}

fn size(field: &Field<'_>) -> Result<[u32; 2], RecipeError> {
    match field.string() {
        Ok(text) => parse_size(text).map_err(|problem| field.error(problem)),
        Err(_) => field
            .pair(1..=i64::from(Preprocessing::MAX_SIDE))
            .map(|pair| pair.map(|side| side as u32)),
    }
}

fn number(field: &Field<'_>) -> Result<f32, RecipeError> {
    match field.string() {
        Ok(text) => parse_number(text).map_err(|problem| field.error(problem)),
        Err(_) => field.number(Bound::Finite).map(|value| value as f32),
    }
}

fn numbers(field: &Field<'_>) -> Result<Vec<f32>, RecipeError> {
    if field.is_array() {
        return field.array()?.iter().map(number).collect();
    }
    match field.string() {
        Ok(text) => parse_numbers(text).map_err(|problem| field.error(problem)),
        Err(_) => number(field).map(|value| vec![value]),
    }
}

/// A size such as `224`, or `48x192` for height and width.
pub fn parse_size(text: &str) -> Result<[u32; 2], String> {
    let side = |text: &str| {
        text.trim()
            .parse()
            .ok()
            .filter(|side| (1..=Preprocessing::MAX_SIDE).contains(side))
    };
    let (height, width) = text.split_once('x').unwrap_or((text, text));
    match (side(height), side(width)) {
        (Some(height), Some(width)) => Ok([height, width]),
        _ => Err(format!(
            "expected a size such as 224, or 48x192 for height and width, each 1 to {}, found `{text}`",
            Preprocessing::MAX_SIDE
        )),
    }
}

/// A number such as `0.0039`, or `1/255`.
pub fn parse_number(text: &str) -> Result<f32, String> {
    let part = |text: &str| text.trim().parse::<f32>().ok();
    let value = match text.split_once('/') {
        Some((above, below)) => part(above)
            .zip(part(below))
            .map(|(above, below)| above / below),
        None => part(text),
    };
    value
        .filter(|value| value.is_finite())
        .ok_or_else(|| format!("expected a number, or a fraction such as 1/255, found `{text}`"))
}

/// Numbers with commas between them.
pub fn parse_numbers(text: &str) -> Result<Vec<f32>, String> {
    text.split(',').map(parse_number).collect()
}
