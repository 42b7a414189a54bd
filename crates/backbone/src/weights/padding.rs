//! The zeros around the image that a convolution sees: its own and those of a `Pad` before it.

use super::attributes::Place;
use super::constants::Constants;
use super::error::BackboneError;

/// Rows above, columns to the left, rows below, columns to the right; ONNX's order.
pub type Pads = [i64; 4];

/// The padding of a 3x3 convolution with stride 1 by its attributes.
pub fn of_conv(place: Place<'_>) -> Result<Pads, BackboneError> {
    match place.string("auto_pad", "NOTSET").as_str() {
        "NOTSET" => {
            let pads = place.ints("pads").unwrap_or(&[0; 4]);
            pads.try_into().or_else(|_| place.mismatch("pads", "4 sizes", pads))
        }
        // As many as the kernel is larger than one: an even number, so that both modes agree.
        "SAME_UPPER" | "SAME_LOWER" => Ok([1; 4]),
        "VALID" => Ok([0; 4]),
        other => place.mismatch("auto_pad", "NOTSET, SAME_UPPER, SAME_LOWER or VALID", other),
    }
}

/// The padding that a `Pad` node adds to the rows and columns of an NCHW image. Other axes, and other values than zero,
/// are refused.
pub fn of_pad(place: Place<'_>, constants: &Constants<'_>) -> Result<Pads, BackboneError> {
    place.require("mode", "constant", &place.string("mode", "constant"))?;
    let sizes = ints(place, constants, 1, "pads")?.or_else(|| place.ints("pads").map(<[i64]>::to_vec));
    let sizes = sizes.ok_or_else(|| place.left_out("pads"))?;
    let axes = ints(place, constants, 3, "axes")?.unwrap_or_else(|| vec![0, 1, 2, 3]);
    let value = match constants.input(place, 2, "constant_value")? {
        Some(tensor) => tensor.to_f32().map_err(|source| place.tensor(source))?.first().copied().unwrap_or(0.0),
        None => place.float("value", 0.0),
    };
    place.require("value", &0.0, &value)?;
    if sizes.len() != 2 * axes.len() {
        return place.mismatch("pads", "2 sizes per axis", sizes);
    }
    let (begins, ends) = sizes.split_at(axes.len());
    let mut all = [[0; 2]; 4];
    for ((axis, &begin), &end) in axes.iter().zip(begins).zip(ends) {
        // Negative ones count from the last.
        let index = if *axis < 0 { axis.saturating_add(4) } else { *axis };
        let Some(pads) = usize::try_from(index).ok().and_then(|index| all.get_mut(index)) else {
            return place.mismatch("axes", "axes of a batch of images", axes);
        };
        *pads = [begin, end];
    }
    let [batch, channels, [top, bottom], [left, right]] = all;
    place.require("padding of batch and channels", &[[0; 2]; 2], &[batch, channels])?;
    Ok([top, left, bottom, right])
}

/// The integers that a node takes as input `index`.
fn ints(
    place: Place<'_>,
    constants: &Constants<'_>,
    index: usize,
    what: &'static str,
) -> Result<Option<Vec<i64>>, BackboneError> {
    let tensor = constants.input(place, index, what)?;
    tensor.map(|tensor| tensor.to_i64().map_err(|source| place.tensor(source))).transpose()
}
