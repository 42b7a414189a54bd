//! The steps of a preprocessing before pixel values become numbers, each of which a source may leave
//! to another: keys of a recipe's `[input]`, of a sidecar, and options.

use serde::Serialize;

use crate::document::{Bound, Field, RecipeError, Section};
use crate::{Arithmetic, CropRounding, Filter, Fit, Preprocessing, Resize};

/// What one source specifies about turning, background, resizing, cropping and padding.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Steps {
    /// Whether photographs are turned upright by their Exif tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orientation: Option<bool>,
    /// What transparent pixels are put on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub background: Option<Background>,
    /// Which sides of the image become the size to resize to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize: Option<Fit>,
    /// Height and width to resize to before the crop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize_to: Option<[u32; 2]>,
    /// The share of each side of the size to resize to that the crop leaves, above 0 and at most 1:
    /// timm's. Stands for [`resize_to`](Self::resize_to).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop_pct: Option<f64>,
    /// What a pixel between pixels is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    /// Whether shrinking an image weighs every source pixel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub antialias: Option<bool>,
    /// Whose arithmetic resizing follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arithmetic: Option<Arithmetic>,
    /// Red, green and blue of what an image is padded with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub padding: Option<[u8; 3]>,
    /// Where the center of an odd number of pixels to crop is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop_rounding: Option<CropRounding>,
    /// How many times the size to resize to has to remain where an image is divided by 2, 4, 8 and so on
    /// first; 0 for not dividing it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reducing_gap: Option<u32>,
}

/// What transparent pixels are put on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Background {
    /// Nothing: alpha is dropped.
    None,
    /// Red, green and blue.
    Color([u8; 3]),
}

impl Background {
    const NONE: &str = "none";

    /// Reads `none` or a color as [`parse_color`] does. The error is what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.trim() == Self::NONE {
            return Ok(Self::None);
        }
        parse_color(text)
            .map(Self::Color)
            .map_err(|expected| format!("{expected}, or `none` to drop alpha"))
    }

    const fn color(self) -> Option<[u8; 3]> {
        match self {
            Self::None => None,
            Self::Color(color) => Some(color),
        }
    }
}

impl From<Option<[u8; 3]>> for Background {
    fn from(color: Option<[u8; 3]>) -> Self {
        color.map_or(Self::None, Self::Color)
    }
}

impl Serialize for Background {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_str(Self::NONE),
            Self::Color(color) => color.serialize(serializer),
        }
    }
}

impl Steps {
    /// Reads the keys from the section that has them.
    pub(crate) fn parse(section: &Section<'_>) -> Result<Self, RecipeError> {
        let boolean = |key| section.get(key).map(|it| it.boolean()).transpose();
        let crop_pct = section.get("crop_pct");
        let resize_to = section.get("resize_to");
        if let (Some(_), Some(field)) = (&resize_to, &crop_pct) {
            return Err(field.error(
                "`resize_to` gives the size to resize to in pixels, `crop_pct` by the model's: leave one of them out",
            ));
        }
        Ok(Self {
            orientation: boolean("orientation")?,
            background: section
                .get("background")
                .as_ref()
                .map(background)
                .transpose()?,
            resize: section
                .get("resize")
                .map(|it| it.choice(&Fit::WORDS))
                .transpose()?,
            resize_to: resize_to.as_ref().map(size).transpose()?,
            crop_pct: crop_pct.as_ref().map(share).transpose()?,
            filter: section
                .get("filter")
                .map(|it| it.choice(&Filter::WORDS))
                .transpose()?,
            antialias: boolean("antialias")?,
            arithmetic: section
                .get("arithmetic")
                .map(|it| it.choice(&Arithmetic::WORDS))
                .transpose()?,
            padding: section.get("padding").as_ref().map(color).transpose()?,
            crop_rounding: section
                .get("crop_rounding")
                .map(|it| it.choice(&CropRounding::WORDS))
                .transpose()?,
            reducing_gap: section
                .get("reducing_gap")
                .map(|it| it.integer(0..=Preprocessing::MAX_GAP.into()))
                .transpose()?,
        })
    }

    /// Returns these steps, completed by `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let has_size = self.resize_to.is_some() || self.crop_pct.is_some();
        Self {
            orientation: self.orientation.or(other.orientation),
            background: self.background.or(other.background),
            resize: self.resize.or(other.resize),
            resize_to: self.resize_to.or(other.resize_to.filter(|_| !has_size)),
            crop_pct: self.crop_pct.or(other.crop_pct.filter(|_| !has_size)),
            filter: self.filter.or(other.filter),
            antialias: self.antialias.or(other.antialias),
            arithmetic: self.arithmetic.or(other.arithmetic),
            padding: self.padding.or(other.padding),
            crop_rounding: self.crop_rounding.or(other.crop_rounding),
            reducing_gap: self.reducing_gap.or(other.reducing_gap),
        }
    }

    /// Whether something about resizing is specified, cropping and padding included.
    pub fn specifies_resize(&self) -> bool {
        let others = Self {
            orientation: None,
            background: None,
            ..*self
        };
        others != Self::default()
    }

    /// Returns the record with these steps. What they leave out is as kiln did it before there were
    /// words for it; but Pillow antialiases unless that is switched off.
    #[must_use]
    pub fn apply(&self, record: Preprocessing) -> Preprocessing {
        let share = |side: u32, part: f64| (f64::from(side) / part).floor() as u32;
        let by_share = |part| [share(record.height, part), share(record.width, part)];
        let size = self.resize_to.or_else(|| self.crop_pct.map(by_share));
        let arithmetic = self.arithmetic.unwrap_or_default();
        Preprocessing {
            orientation: self.orientation.unwrap_or_default(),
            background: self.background.and_then(Background::color),
            resize: Resize {
                fit: self.resize.unwrap_or_default(),
                size: size.filter(|size| *size != [record.height, record.width]),
                filter: self.filter.unwrap_or_default(),
                antialias: self.antialias.unwrap_or(arithmetic == Arithmetic::Pillow),
                arithmetic,
                padding: self.padding.unwrap_or_default(),
                crop_rounding: self.crop_rounding.unwrap_or_default(),
                reducing_gap: self.reducing_gap.unwrap_or_default(),
            },
            ..record
        }
    }

    /// Everything that a record specifies.
    pub fn of(record: &Preprocessing) -> Self {
        let Resize {
            fit,
            size,
            filter,
            antialias,
            arithmetic,
            padding,
            crop_rounding,
            reducing_gap,
        } = record.resize;
        Self {
            orientation: Some(record.orientation),
            background: Some(record.background.into()),
            resize: Some(fit),
            resize_to: size,
            crop_pct: None,
            filter: Some(filter),
            antialias: Some(antialias),
            arithmetic: Some(arithmetic),
            padding: Some(padding),
            crop_rounding: Some(crop_rounding),
            reducing_gap: Some(reducing_gap),
        }
    }
}

const SIDE: std::ops::RangeInclusive<i64> = 1..=Preprocessing::MAX_SIDE as i64;

/// One number for both sides, or `[height, width]`, or a text such as an option has.
pub(crate) fn size(field: &Field<'_>) -> Result<[u32; 2], RecipeError> {
    match field.string() {
        Ok(text) => {
            parse_size(text).map_err(|expected| field.error(format!("{expected}, found `{text}`")))
        }
        Err(_) => field.pair(SIDE).map(|pair| pair.map(|side| side as u32)),
    }
}

/// Reads a size such as `224`, or `48x192` for height and width. The error is what was expected.
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
            "expected a size such as 224, or 48x192 for height and width, each 1 to {}",
            Preprocessing::MAX_SIDE
        )),
    }
}

fn share(field: &Field<'_>) -> Result<f64, RecipeError> {
    let found = match field.string() {
        Ok(text) => text.trim().parse().unwrap_or(0.0),
        Err(_) => field.number(Bound::Positive)?,
    };
    check_share(found).map_err(|expected| field.error(expected))
}

/// Checks a share of a side. The error is what was expected.
pub fn check_share(found: f64) -> Result<f64, String> {
    if found > 0.0 && found <= 1.0 {
        Ok(found)
    } else {
        Err("expected a share of the side above 0 and at most 1, such as 0.875".into())
    }
}

fn background(field: &Field<'_>) -> Result<Background, RecipeError> {
    match field.string() {
        Ok(text) => Background::parse(text)
            .map_err(|expected| field.error(format!("{expected}, found `{text}`"))),
        Err(_) => color(field).map(Background::Color),
    }
}

fn color(field: &Field<'_>) -> Result<[u8; 3], RecipeError> {
    if let Ok(text) = field.string() {
        return parse_color(text)
            .map_err(|expected| field.error(format!("{expected}, found `{text}`")));
    }
    let samples: Vec<u8> = field
        .array()?
        .iter()
        .map(|sample| sample.integer(0..=255))
        .collect::<Result<_, _>>()?;
    samples.try_into().map_err(|samples: Vec<u8>| {
        field.error(format!(
            "expected red, green and blue, found {} numbers",
            samples.len()
        ))
    })
}

/// Reads a color such as `124,116,104`: red, green and blue, 0 to 255. The error is what was
/// expected.
pub fn parse_color(text: &str) -> Result<[u8; 3], String> {
    let samples: Option<Vec<u8>> = text
        .split(',')
        .map(|sample| sample.trim().parse().ok())
        .collect();
    samples
        .and_then(|samples| samples.try_into().ok())
        .ok_or_else(|| "expected red, green and blue from 0 to 255, such as 124,116,104".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Channels, Preprocess};

    #[test]
    fn a_record_and_its_steps_are_the_same() {
        for preset in Preprocess::ALL {
            let record = preset.record(224, 192, Channels::Rgb);
            let values = Preprocessing {
                orientation: false,
                background: None,
                resize: Resize::default(),
                ..record.clone()
            };
            assert_eq!(Steps::of(&record).apply(values), record, "{preset}");
        }
    }

    #[test]
    fn shares_are_rounded_down_as_by_timm() {
        // `math.floor(x / crop_pct)` in Python.
        for (side, part, expected) in [
            (224, 0.875, 256),
            (224, 0.95, 235),
            (299, 0.875, 341),
            (288, 0.9, 320),
            (224, 1.0, 224),
        ] {
            let steps = Steps {
                crop_pct: Some(part),
                ..Steps::default()
            };
            let record = steps.apply(Preprocessing::raw(side, side, Channels::Rgb));
            assert_eq!(record.resized_size(), [expected; 2], "{side} {part}");
        }
    }

    #[test]
    fn one_size_replaces_another() {
        let pixels = Steps {
            resize_to: Some([232; 2]),
            ..Steps::default()
        };
        let steps = pixels.or(Preprocess::Torchvision.steps());
        assert_eq!((steps.resize_to, steps.crop_pct), (Some([232; 2]), None));
        assert_eq!(steps.resize, Some(Fit::Shorter));
    }

    #[test]
    fn colors_are_three_bytes() {
        assert_eq!(parse_color("255, 0,7"), Ok([255, 0, 7]));
        for text in ["1,2", "1,2,256", "white", "1,2,3,4"] {
            assert!(parse_color(text).is_err(), "{text}");
        }
        assert_eq!(Background::parse("none"), Ok(Background::None));
    }
}
