//! Changes of training images with the names, settings and defaults of torchvision's transforms.

use serde::Serialize;

use crate::document::{Bound, Field, RecipeError, Section};

/// Settings that a table of a recipe gives; what it leaves out has torchvision's default.
pub(super) trait Settings: Sized {
    /// Keys of the table.
    const KEYS: &'static [&'static str];

    /// Reads the table.
    fn read(section: &Section<'_>) -> Result<Self, RecipeError>;
}

/// Reads the settings of a key: a table, or `true` for the defaults and `false` for none.
pub(super) fn of<T: Settings>(
    section: &Section<'_>,
    key: &'static str,
) -> Result<Option<T>, RecipeError> {
    let Some(field) = section.get(key) else {
        return Ok(None);
    };
    let settings = field.section_or_switch(T::KEYS)?;
    settings.map(|section| T::read(&section)).transpose()
}

/// A range that may be left out.
fn range_or(
    section: &Section<'_>,
    key: &'static str,
    bound: Bound,
    default: [f64; 2],
) -> Result<[f64; 2], RecipeError> {
    section
        .get(key)
        .map_or(Ok(default), |field| field.range(bound))
}

/// Which part of an image is resized to the model's size, as by torchvision's `RandomResizedCrop` (Szegedy
/// et al., "Going Deeper with Convolutions", 2014).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RandomResizedCrop {
    /// Smallest and largest share of the image's area, above 0, at most 1.
    pub scale: [f64; 2],
    /// Smallest and largest ratio of the part's width to its height, above 0; its logarithm is drawn
    /// uniformly.
    pub ratio: [f64; 2],
}

impl Default for RandomResizedCrop {
    /// The defaults of torchvision.
    fn default() -> Self {
        Self {
            scale: [0.08, 1.0],
            ratio: [3.0 / 4.0, 4.0 / 3.0],
        }
    }
}

impl Settings for RandomResizedCrop {
    const KEYS: &'static [&'static str] = &["scale", "ratio"];

    fn read(section: &Section<'_>) -> Result<Self, RecipeError> {
        let default = Self::default();
        let scale = range_or(section, "scale", Bound::UpTo(1.0), default.scale)?;
        if let Some(field) = section.get("scale").filter(|_| scale[1] <= 0.0) {
            return Err(field.error("a crop of `scale` 0 shows nothing: it is above 0, at most 1"));
        }
        Ok(Self {
            scale,
            ratio: range_or(section, "ratio", Bound::Positive, default.ratio)?,
        })
    }
}

/// How far colors are changed, in an order that is drawn too, as by torchvision's `ColorJitter`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ColorJitter {
    /// Lowest and highest factor of the brightness, at least 0; 1 changes nothing.
    pub brightness: [f64; 2],
    /// The same of the contrast: 0 leaves the mean gray of the image.
    pub contrast: [f64; 2],
    /// The same of the saturation: 0 leaves a gray image.
    pub saturation: [f64; 2],
    /// Largest shift of the hue to either side, 0 to 0.5; 1 is once around the circle of colors.
    pub hue: f64,
}

impl Default for ColorJitter {
    /// Nothing is changed.
    fn default() -> Self {
        Self {
            brightness: [1.0; 2],
            contrast: [1.0; 2],
            saturation: [1.0; 2],
            hue: 0.0,
        }
    }
}

impl ColorJitter {
    /// Whether any color may change.
    pub(super) fn changes(&self) -> bool {
        *self != Self::default()
    }
}

impl Settings for ColorJitter {
    const KEYS: &'static [&'static str] = &["brightness", "contrast", "saturation", "hue"];

    fn read(section: &Section<'_>) -> Result<Self, RecipeError> {
        let factor = |key| section.get(key).map_or(Ok([1.0; 2]), |it| factors(&it));
        Ok(Self {
            brightness: factor("brightness")?,
            contrast: factor("contrast")?,
            saturation: factor("saturation")?,
            hue: section.number_or("hue", 0.0, Bound::UpTo(0.5))?,
        })
    }
}

/// Largest factor of a color: beyond it every image is white or black.
const MAX_FACTOR: f64 = 255.0;

/// `0.4` for `[0.6, 1.4]`, cut at 0, or the range itself.
fn factors(field: &Field<'_>) -> Result<[f64; 2], RecipeError> {
    if field.is_array() {
        return field.range(Bound::UpTo(MAX_FACTOR));
    }
    let around = field.number(Bound::UpTo(MAX_FACTOR - 1.0))?;
    Ok([(1.0 - around).max(0.0), 1.0 + around])
}

/// How many changes an image gets and how strong they are, as by torchvision's `RandAugment` (Cubuk et al.,
/// "`RandAugment`: Practical automated data augmentation with a reduced search space", 2019).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct RandAugment {
    /// Number of changes, one after another, 0 to [`MAX_OPS`](Self::MAX_OPS).
    pub num_ops: usize,
    /// Strength of all of them, 0 to [`MAX_MAGNITUDE`](Self::MAX_MAGNITUDE).
    pub magnitude: usize,
}

impl RandAugment {
    /// Most changes of an image.
    pub const MAX_OPS: usize = 8;
    /// Largest strength: torchvision's 31 bins count from 0.
    pub const MAX_MAGNITUDE: usize = 30;
}

impl Default for RandAugment {
    /// The defaults of torchvision.
    fn default() -> Self {
        Self {
            num_ops: 2,
            magnitude: 9,
        }
    }
}

impl Settings for RandAugment {
    const KEYS: &'static [&'static str] = &["num_ops", "magnitude"];

    fn read(section: &Section<'_>) -> Result<Self, RecipeError> {
        let default = Self::default();
        let whole = |key, most: usize, default| {
            section
                .get(key)
                .map_or(Ok(default), |field| field.integer(0..=most as i64))
        };
        Ok(Self {
            num_ops: whole("num_ops", Self::MAX_OPS, default.num_ops)?,
            magnitude: whole("magnitude", Self::MAX_MAGNITUDE, default.magnitude)?,
        })
    }
}

/// How chains of changes of an image are mixed with it, as by torchvision's `AugMix` (Hendrycks et al., "`AugMix`: A
/// Simple Data Processing Method to Improve Robustness and Uncertainty", 2020).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AugMix {
    /// Strength below which each change's is drawn, 1 to [`MAX_SEVERITY`](Self::MAX_SEVERITY).
    pub severity: usize,
    /// Number of chains, 1 to [`MAX_WIDTH`](Self::MAX_WIDTH).
    pub mixture_width: usize,
    /// Changes of a chain, one after another, up to [`MAX_DEPTH`](Self::MAX_DEPTH); for a number that is not positive, one
    /// to three, which is drawn for each chain.
    pub chain_depth: i64,
    /// Parameter of the distributions of the shares, above 0: of the Dirichlet distribution of the chains' and of the beta
    /// distribution of all of them together.
    pub alpha: f64,
    /// Whether brightness, saturation, contrast and sharpness are among the changes.
    pub all_ops: bool,
}

impl AugMix {
    /// Largest strength: torchvision's 10 bins.
    pub const MAX_SEVERITY: usize = 10;
    /// Most chains of an image.
    pub const MAX_WIDTH: usize = 10;
    /// Most changes of a chain.
    pub const MAX_DEPTH: usize = 10;
}

impl Default for AugMix {
    /// The defaults of torchvision.
    fn default() -> Self {
        Self {
            severity: 3,
            mixture_width: 3,
            chain_depth: -1,
            alpha: 1.0,
            all_ops: true,
        }
    }
}

impl Settings for AugMix {
    const KEYS: &'static [&'static str] = &[
        "severity",
        "mixture_width",
        "chain_depth",
        "alpha",
        "all_ops",
    ];

    fn read(section: &Section<'_>) -> Result<Self, RecipeError> {
        let default = Self::default();
        let whole = |key, most: usize, default| section.integer_or(key, default, 1..=most as i64);
        Ok(Self {
            severity: whole("severity", Self::MAX_SEVERITY, default.severity)?,
            mixture_width: whole("mixture_width", Self::MAX_WIDTH, default.mixture_width)?,
            chain_depth: section.integer_or(
                "chain_depth",
                default.chain_depth,
                -1..=Self::MAX_DEPTH as i64,
            )?,
            alpha: section.number_or("alpha", default.alpha, Bound::Positive)?,
            all_ops: section.boolean_or("all_ops", default.all_ops)?,
        })
    }
}

/// How often and how much of an image is erased, as by torchvision's `RandomErasing` (Zhong et al.,
/// "Random Erasing Data Augmentation", 2017).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RandomErasing {
    /// Probability that an image has a rectangle erased, 0 to 1.
    pub probability: f64,
    /// Smallest and largest share of the image's area, 0 to 1.
    pub scale: [f64; 2],
    /// Smallest and largest ratio of the rectangle's height to its width, above 0; its logarithm is
    /// drawn uniformly.
    pub ratio: [f64; 2],
    /// What is in its place.
    pub value: ErasingValue,
}

impl Default for RandomErasing {
    /// The defaults of torchvision.
    fn default() -> Self {
        Self {
            probability: 0.5,
            scale: [0.02, 0.33],
            ratio: [0.3, 3.3],
            value: ErasingValue::Number(0.0),
        }
    }
}

impl Settings for RandomErasing {
    const KEYS: &'static [&'static str] = &["probability", "scale", "ratio", "value"];

    fn read(section: &Section<'_>) -> Result<Self, RecipeError> {
        let default = Self::default();
        let value = section.get("value");
        Ok(Self {
            probability: section.number_or("probability", default.probability, Bound::UpTo(1.0))?,
            scale: range_or(section, "scale", Bound::UpTo(1.0), default.scale)?,
            ratio: range_or(section, "ratio", Bound::Positive, default.ratio)?,
            value: value.map_or(Ok(default.value), |field| erasing_value(&field))?,
        })
    }
}

/// What an erased rectangle is filled with, after normalization.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ErasingValue {
    /// This number in every channel.
    Number(f64),
    /// For every value, a number of the standard normal distribution.
    Random,
}

impl Serialize for ErasingValue {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(value) => serializer.serialize_f64(*value),
            Self::Random => serializer.serialize_str(RANDOM),
        }
    }
}

/// The word for [`ErasingValue::Random`].
const RANDOM: &str = "random";

/// A number, or the word `random`.
fn erasing_value(field: &Field<'_>) -> Result<ErasingValue, RecipeError> {
    if field.string() == Ok(RANDOM) {
        return Ok(ErasingValue::Random);
    }
    let number = field.number(Bound::Finite);
    number
        .map(ErasingValue::Number)
        .map_err(|_| field.mismatch("a number or \"random\""))
}
