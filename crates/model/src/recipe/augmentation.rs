//! `[augmentation]`: random changes of training images.

use serde::Serialize;

use crate::Preprocessing;
use crate::document::{Bound, Field, RecipeError, Section};

pub(super) const KEYS: &[&str] = &[
    "rotation_range",
    "width_shift_range",
    "height_shift_range",
    "shear_range",
    "zoom_range",
    "horizontal_flip",
    "vertical_flip",
    "channel_shift_range",
    "brightness_range",
    "fill_mode",
    "cval",
    "views",
    "mixup",
    "cutmix",
    "random_erasing",
];

/// Keys of `random_erasing`.
const ERASING: &[&str] = &["probability", "scale", "ratio", "value"];

/// `[augmentation]`: how far training images are changed at random, with the names and meanings of
/// Keras's `ImageDataGenerator`, and of torchvision for `random_erasing`. Every image is changed
/// again in every epoch; validation and test images never are.
///
/// In this order an image is turned, moved, sheared and zoomed about its center in one bilinear
/// step, flipped, its values shifted, and made brighter or darker. That happens at the model's
/// size, on pixel values of 0 to 255, before they are normalized. After that, a rectangle is erased.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Augmentation {
    /// Turned by up to this many degrees to either side, 0 to 180.
    pub rotation_range: f64,
    /// Moved to the left or right by up to this share of the width; from 1 on, by up to this many
    /// pixels.
    pub width_shift_range: f64,
    /// Moved up or down by up to this share of the height; from 1 on, by up to this many pixels.
    pub height_shift_range: f64,
    /// Sheared by up to this angle in degrees to either side, 0 to 89.
    pub shear_range: f64,
    /// Lowest and highest zoom, drawn for each axis; 1 leaves the size as it is, more shows more of
    /// the surroundings and so makes things smaller.
    pub zoom_range: [f64; 2],
    /// Mirrored left to right, half of the time.
    pub horizontal_flip: bool,
    /// Mirrored top to bottom, half of the time.
    pub vertical_flip: bool,
    /// Every value of an image is shifted up or down by the same amount, at most this, 0 to 255; it
    /// stays between the smallest and the largest value that there were.
    #[serde(skip_serializing_if = "is_zero")]
    pub channel_shift_range: f64,
    /// Lowest and highest factor of the brightness, 0 to 255; 1 leaves it as it is. As in Keras the
    /// result is cut to whole numbers of 0 to 255.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub brightness_range: Option<[f64; 2]>,
    /// What lies outside of the image.
    pub fill_mode: FillMode,
    /// The pixel value, 0 to 255, that `constant` fills with; none for the other modes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cval: Option<f64>,
    /// Number of different changes of each image, which epochs use in turn; without it, every epoch has
    /// another. What frozen layers make of so many can be computed once and kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub views: Option<u64>,
    /// Mixes the images of a batch, and their labels, in shares of a beta distribution whose parameters both are
    /// this number, more than 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixup: Option<f64>,
    /// Puts a rectangle of another image of the batch into each, whose share is drawn in the same way; with mixup too,
    /// each batch gets one of them, as likely as the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutmix: Option<f64>,
    /// A rectangle of the normalized image that is overwritten; none if nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_erasing: Option<RandomErasing>,
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

/// What is seen where a changed image shows more than there is, by the names of Keras and
/// `scipy.ndimage`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FillMode {
    /// The nearest pixel of the edge: `aaaa|abcd|dddd`.
    #[default]
    Nearest,
    /// One value: `kkkk|abcd|kkkk`.
    Constant,
    /// The image mirrored at its edge: `dcba|abcd|dcba`.
    Reflect,
    /// The image again, its first pixel upon its last: `bcd|abcd|bcd`.
    Wrap,
}

kiln_util::str_enum!(FillMode: Serialize {
    Nearest = "nearest",
    Constant = "constant",
    Reflect = "reflect",
    Wrap = "wrap",
});

impl Default for Augmentation {
    /// Nothing is changed.
    fn default() -> Self {
        Self {
            rotation_range: 0.0,
            width_shift_range: 0.0,
            height_shift_range: 0.0,
            shear_range: 0.0,
            zoom_range: [1.0, 1.0],
            horizontal_flip: false,
            vertical_flip: false,
            channel_shift_range: 0.0,
            brightness_range: None,
            fill_mode: FillMode::Nearest,
            cval: None,
            views: None,
            mixup: None,
            cutmix: None,
            random_erasing: None,
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn is_zero(range: &f64) -> bool {
    *range == 0.0
}

impl Augmentation {
    /// Whether an image by itself is changed.
    pub fn changes_images(&self) -> bool {
        Self {
            fill_mode: FillMode::Nearest,
            cval: None,
            views: None,
            mixup: None,
            cutmix: None,
            random_erasing: self.random_erasing.filter(|it| it.probability > 0.0),
            ..*self
        } != Self::default()
    }

    /// Whether the images of a batch are mixed.
    pub const fn mixes(&self) -> bool {
        self.mixup.is_some() || self.cutmix.is_some()
    }
}

/// Limit of the views of an image: the features of each are kept.
const MAX_VIEWS: i64 = 1000;

/// Reads `[augmentation]`, where there is one.
pub(super) fn parse(root: &Section<'_>) -> Result<Option<Augmentation>, RecipeError> {
    let Some(field) = root.get("augmentation") else {
        return Ok(None);
    };
    let section = field.section(KEYS)?;
    let side = Bound::UpTo(f64::from(Preprocessing::MAX_SIDE));
    let default = Augmentation::default();
    let fill_mode = section.choice_or("fill_mode", default.fill_mode, &FillMode::WORDS)?;
    let cval = match (section.get("cval"), fill_mode) {
        (Some(field), FillMode::Constant) => Some(field.number(Bound::UpTo(255.0))?),
        (None, FillMode::Constant) => Some(0.0),
        (Some(field), FillMode::Nearest | FillMode::Reflect | FillMode::Wrap) => {
            return Err(field
                .error("`cval` is for `fill_mode = \"constant\"`: set that, or leave out `cval`"));
        }
        (None, FillMode::Nearest | FillMode::Reflect | FillMode::Wrap) => None,
    };
    let augmentation = Augmentation {
        rotation_range: section.number_or("rotation_range", 0.0, Bound::UpTo(180.0))?,
        width_shift_range: section.number_or("width_shift_range", 0.0, side)?,
        height_shift_range: section.number_or("height_shift_range", 0.0, side)?,
        shear_range: section.number_or("shear_range", 0.0, Bound::UpTo(89.0))?,
        zoom_range: section
            .get("zoom_range")
            .map_or(Ok(default.zoom_range), |field| zoom(&field))?,
        horizontal_flip: section.boolean_or("horizontal_flip", false)?,
        vertical_flip: section.boolean_or("vertical_flip", false)?,
        channel_shift_range: section.number_or("channel_shift_range", 0.0, Bound::UpTo(255.0))?,
        brightness_range: section
            .get("brightness_range")
            .map(|field| field.range(Bound::UpTo(255.0)))
            .transpose()?,
        fill_mode,
        cval,
        views: section
            .get("views")
            .map(|field| field.integer(1..=MAX_VIEWS))
            .transpose()?,
        mixup: alpha(&section, "mixup")?,
        cutmix: alpha(&section, "cutmix")?,
        random_erasing: section
            .get("random_erasing")
            .map(|field| erasing(&field))
            .transpose()?,
    };
    if let Some(field) = section.get("views").filter(|_| augmentation.mixes()) {
        return Err(field.error(
            "`views` are of each image by itself, and `mixup` and `cutmix` mix those of a batch: leave one of them out",
        ));
    }
    if !augmentation.changes_images() && !augmentation.mixes() {
        return Err(field.error(
            "`augmentation` changes nothing: give it a range or a flip, such as `rotation_range = 10`, or leave it out",
        ));
    }
    Ok(Some(augmentation))
}

/// The number of a beta distribution.
fn alpha(section: &Section<'_>, key: &'static str) -> Result<Option<f64>, RecipeError> {
    let field = section.get(key);
    field.map(|field| field.number(Bound::Positive)).transpose()
}

/// Reads `random_erasing`.
fn erasing(field: &Field<'_>) -> Result<RandomErasing, RecipeError> {
    let section = field.section(ERASING)?;
    let default = RandomErasing::default();
    let range = |key, bound, default| {
        section
            .get(key)
            .map_or(Ok(default), |field| field.range(bound))
    };
    Ok(RandomErasing {
        probability: section.number_or("probability", default.probability, Bound::UpTo(1.0))?,
        scale: range("scale", Bound::UpTo(1.0), default.scale)?,
        ratio: range("ratio", Bound::Positive, default.ratio)?,
        value: section
            .get("value")
            .map_or(Ok(default.value), |field| erasing_value(&field))?,
    })
}

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

/// `0.2` for `[0.8, 1.2]`, or the range itself.
fn zoom(field: &Field<'_>) -> Result<[f64; 2], RecipeError> {
    if field.is_array() {
        return field.range(Bound::Positive);
    }
    let around = field.number(Bound::Fraction)?;
    Ok([1.0 - around, 1.0 + around])
}
