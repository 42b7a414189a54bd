//! `[augmentation]`.

use crate::document::{Bound, Field, RecipeError, Section};
use crate::{Augmentation, FillMode, Preprocessing};

const KEYS: &[&str] = &[
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
];

pub fn read(root: &Section<'_>) -> Result<Option<Augmentation>, RecipeError> {
    let Some(field) = root.get("augmentation") else {
        return Ok(None);
    };
    let section = field.section(KEYS)?;
    let fill_modes = [
        ("nearest", FillMode::Nearest),
        ("constant", FillMode::Constant),
        ("reflect", FillMode::Reflect),
        ("wrap", FillMode::Wrap),
    ];
    let side = Bound::UpTo(f64::from(Preprocessing::MAX_SIDE));
    let default = Augmentation::default();
    let fill_mode = section.choice_or("fill_mode", default.fill_mode, &fill_modes)?;
    let cval = match (section.get("cval"), fill_mode) {
        (Some(field), FillMode::Constant) => Some(field.number(Bound::UpTo(255.0))?),
        (None, FillMode::Constant) => Some(0.0),
        (Some(field), _) => {
            return Err(field
                .error("`cval` is for `fill_mode = \"constant\"`: set that, or leave out `cval`"));
        }
        (None, _) => None,
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
    };
    if augmentation.is_identity() {
        return Err(field.error(
            "`augmentation` changes nothing: give it a range or a flip, such as `rotation_range = 10`, or leave it out",
        ));
    }
    Ok(Some(augmentation))
}

/// `0.2` for `[0.8, 1.2]`, or the range itself.
fn zoom(field: &Field<'_>) -> Result<[f64; 2], RecipeError> {
    if field.is_array() {
        return field.range(Bound::Positive);
    }
    let around = field.number(Bound::Fraction)?;
    Ok([1.0 - around, 1.0 + around])
}
