//! `[input]`: size, channels and preprocessing of the images.

use serde::Serialize;

use crate::document::{Bound, Field, RecipeError, Section};
use crate::{Channels, FileBase, Preprocess, Preprocessing, Steps};

pub(super) const KEYS: &[&str] = &[
    "height",
    "width",
    "channels",
    "preprocess",
    "scale",
    "mean",
    "std",
    "orientation",
    "background",
    "resize",
    "resize_to",
    "crop_pct",
    "filter",
    "antialias",
    "arithmetic",
    "padding",
    "crop_rounding",
    "reducing_gap",
];

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
    #[serde(flatten)]
    pub values: Values,
    /// Turning, background, resizing, cropping and padding, with every default filled in.
    #[serde(flatten)]
    pub steps: Steps,
}

/// How pixel values become numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Values {
    /// As a usual preprocessing has it.
    Named {
        /// Its name.
        preprocess: Preprocess,
    },
    /// A value `p` of channel `c`, 0 to 255, becomes `(p * scale - mean[c]) / std[c]`.
    Given {
        /// Factor.
        scale: f32,
        /// One value for each channel.
        mean: Vec<f32>,
        /// One value for each channel.
        std: Vec<f32>,
    },
}

impl Input {
    /// Returns the preprocessing record.
    pub(super) fn record(&self) -> Preprocessing {
        let (height, width, channels) = (self.height, self.width, self.channels);
        let record = match &self.values {
            Values::Named { preprocess } => preprocess.record(height, width, channels),
            Values::Given { scale, mean, std } => Preprocessing {
                scale: *scale,
                mean: mean.clone(),
                std: std.clone(),
                ..Preprocessing::raw(height, width, channels)
            },
        };
        self.steps.apply(record)
    }
}

/// Returns height and width where both are given.
pub(super) fn size(root: &Section<'_>) -> Result<Option<[u32; 2]>, RecipeError> {
    let section = root.sub("input", KEYS)?;
    match (section.get("height"), section.get("width")) {
        (Some(height), Some(width)) => Ok(Some([side(&height)?, side(&width)?])),
        _ => Ok(None),
    }
}

fn side(field: &Field<'_>) -> Result<u32, RecipeError> {
    field.integer(1..=i64::from(Preprocessing::MAX_SIDE))
}

/// Reads `[input]`. What is not given there is as the backbone's file says, if there is one.
pub(super) fn parse(root: &Section<'_>, file: Option<&FileBase>) -> Result<Input, RecipeError> {
    let default = file.and_then(|file| file.preprocessing.as_ref());
    let section = root.sub("input", KEYS)?;
    let named = section
        .get("preprocess")
        .map(|field| field.choice(&Preprocess::WORDS))
        .transpose()?;
    let given = ["scale", "mean", "std"].map(|key| section.get(key));
    let is_given = given.iter().any(Option::is_some);
    if let (Some(_), Some(field)) = (named, given.iter().flatten().next()) {
        return Err(field.error(
            "`preprocess` says how pixel values become numbers: leave it out, or `scale`, `mean` and `std`",
        ));
    }
    // Some have a mean for each color, in an order of their own.
    let fixed = named.and_then(Preprocess::channels);
    let channels = section.choice_or(
        "channels",
        fixed
            .or(default.map(|record| record.channels))
            .unwrap_or(match file {
                Some(file) if file.channels > 1 => Channels::Rgb,
                Some(_) | None => Channels::Gray,
            }),
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
    let values = match (named, default) {
        (Some(preprocess), _) => Values::Named { preprocess },
        (None, Some(record)) if !is_given => Values::Given {
            scale: record.scale,
            mean: record.mean.clone(),
            std: record.std.clone(),
        },
        (None, _) if !is_given => Values::Named {
            preprocess: Preprocess::Unit,
        },
        (None, _) => {
            let [scale, mean, std] = given;
            let list = |field: Option<Field<'_>>, otherwise: f32, bound| {
                let Some(field) = field else {
                    return Ok(vec![otherwise; channels.count()]);
                };
                let values: Result<Vec<f32>, _> = field
                    .array()?
                    .iter()
                    .map(|value| value.number(bound).map(|value| value as f32))
                    .collect();
                let values = values?;
                if values.len() == channels.count() {
                    Ok(values)
                } else {
                    Err(field.error(format!(
                        "expected one value for each of {} channels, found {}",
                        channels.count(),
                        values.len()
                    )))
                }
            };
            Values::Given {
                scale: scale.map_or(Ok(1.0), |field| field.number(Bound::Positive))? as f32,
                mean: list(mean, 0.0, Bound::Finite)?,
                std: list(std, 1.0, Bound::Positive)?,
            }
        }
    };
    let [height, width] = file.and_then(|file| file.size).unwrap_or([28; 2]);
    let side = |key, otherwise| section.get(key).map_or(Ok(otherwise), |field| side(&field));
    let height = side("height", height)?;
    let width = side("width", width)?;
    let mut input = Input {
        height,
        width,
        channels,
        values,
        steps: steps(&section, named, [height, width], default)?,
    };
    let record = input.record();
    check_steps(&section, &record)?;
    input.steps = Steps::of(&record);
    Ok(input)
}

/// What is specified about the steps before the values, in the recipe before what its name for the
/// preprocessing comprises and what the backbone's file says. Photographs are turned upright unless
/// the recipe says otherwise.
fn steps(
    section: &Section<'_>,
    named: Option<Preprocess>,
    size: [u32; 2],
    default: Option<&Preprocessing>,
) -> Result<Steps, RecipeError> {
    let upright = Steps {
        orientation: Some(true),
        ..Steps::default()
    };
    let of_name = named
        .map(|preset| preset.steps_for(size))
        .unwrap_or_default();
    let steps = Steps::parse(section)?.or(of_name).or(upright);
    let of_file = default.map(Steps::of).unwrap_or_default();
    // A pipeline comprises all of them.
    Ok(if of_name == Steps::default() {
        steps.or(of_file)
    } else {
        steps
    })
}

/// Checks what the steps make of the model's size.
fn check_steps(section: &Section<'_>, record: &Preprocessing) -> Result<(), RecipeError> {
    record.check_resize().map_err(|error| {
        let mut keys = ["crop_pct", "filter", "arithmetic"].into_iter();
        match keys.find_map(|key| section.get(key)) {
            Some(field) => field.error(error.to_string()),
            None => section.error(error.to_string()),
        }
    })
}

/// Whether `[input]` says how pixel values become numbers.
pub(super) fn says_values(root: &Section<'_>) -> Result<bool, RecipeError> {
    let section = root.sub("input", KEYS)?;
    let mut keys = ["preprocess", "scale", "mean", "std"].into_iter();
    Ok(keys.any(|key| section.get(key).is_some()))
}
