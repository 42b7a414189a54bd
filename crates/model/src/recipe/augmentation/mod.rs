//! `[augmentation]`: random changes of training images.

use serde::Serialize;

use crate::Preprocessing;
use crate::document::{Bound, Field, RecipeError, Section};

mod torchvision;

pub use torchvision::{
    AugMix, ColorJitter, ErasingValue, RandAugment, RandomErasing, RandomResizedCrop,
};

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
    "random_resized_crop",
    "color_jitter",
    "rand_augment",
    "trivial_augment_wide",
    "aug_mix",
    "random_erasing",
];

/// `[augmentation]`: how far training images are changed at random, with the names and meanings of
/// Keras's `ImageDataGenerator` and of torchvision's transforms. Every image is changed again in every
/// epoch; validation and test images never are.
///
/// A part of the image is chosen before it is resized. Then it is changed at the model's size, on pixel
/// values of 0 to 255, in this order: it is turned, moved, sheared and zoomed about its center in one
/// bilinear step, flipped, its values shifted, made brighter or darker; its colors jittered; changed by
/// `RandAugment`, `TrivialAugmentWide` or `AugMix`. After it is normalized, a rectangle is erased.
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
    /// A part of each image that is resized in place of all of it; none if the images are prepared as they
    /// are for validation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_resized_crop: Option<RandomResizedCrop>,
    /// Changes of brightness, contrast, saturation and hue; none if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub color_jitter: Option<ColorJitter>,
    /// A few changes out of 14, all of the same magnitude; none if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rand_augment: Option<RandAugment>,
    /// One change out of 14, of any magnitude, as by torchvision's `TrivialAugmentWide` (Müller and Hutter,
    /// "`TrivialAugment`: Tuning-free Yet State-of-the-Art Data Augmentation", 2021).
    #[serde(skip_serializing_if = "is_false")]
    pub trivial_augment_wide: bool,
    /// Chains of changes that are mixed with the image; none if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aug_mix: Option<AugMix>,
    /// A rectangle of the normalized image that is overwritten; none if nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_erasing: Option<RandomErasing>,
}

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
            random_resized_crop: None,
            color_jitter: None,
            rand_augment: None,
            trivial_augment_wide: false,
            aug_mix: None,
            random_erasing: None,
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
const fn is_false(value: &bool) -> bool {
    !*value
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
            color_jitter: self.color_jitter.filter(ColorJitter::changes),
            rand_augment: self.rand_augment.filter(|it| it.num_ops > 0),
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
        random_resized_crop: torchvision::of(&section, "random_resized_crop")?,
        color_jitter: torchvision::of(&section, "color_jitter")?,
        rand_augment: torchvision::of(&section, "rand_augment")?,
        trivial_augment_wide: section.boolean_or("trivial_augment_wide", false)?,
        aug_mix: torchvision::of(&section, "aug_mix")?,
        random_erasing: torchvision::of(&section, "random_erasing")?,
    };
    if let Some(field) = section.get("views").filter(|_| augmentation.mixes()) {
        return Err(field.error(
            "`views` are of each image by itself, and `mixup` and `cutmix` mix those of a batch: leave one of them out",
        ));
    }
    let policies = [
        ("rand_augment", augmentation.rand_augment.is_some()),
        ("trivial_augment_wide", augmentation.trivial_augment_wide),
        ("aug_mix", augmentation.aug_mix.is_some()),
    ];
    let mut wanted = policies.into_iter().filter(|(_, wanted)| *wanted);
    if let (Some((first, _)), Some((second, _))) = (wanted.next(), wanted.next())
        && let Some(field) = section.get(second)
    {
        return Err(field.error(format!(
            "`{second}` takes the place of `{first}`: leave one of them out"
        )));
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

/// `0.2` for `[0.8, 1.2]`, or the range itself.
fn zoom(field: &Field<'_>) -> Result<[f64; 2], RecipeError> {
    if field.is_array() {
        return field.range(Bound::Positive);
    }
    let around = field.number(Bound::Fraction)?;
    Ok([1.0 - around, 1.0 + around])
}
