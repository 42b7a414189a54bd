//! The zeros around the image that a convolution sees: its own and those of a `Pad` before it.

use kiln_model::Padding;

use crate::attributes::Place;
use crate::constants::Constants;
use crate::error::GraphError;

/// Rows above, columns to the left, rows below, columns to the right; ONNX's order.
pub type Pads = [i64; 4];

/// What kiln's convolutions can have.
const EXPECTED: &str = "none, auto_pad SAME_UPPER, or what keeps the image's size at strides 1";

/// The padding of a convolution with this kernel and strides that comes after a `Pad` of `before`.
pub fn of_conv(
    place: Place<'_>,
    before: Option<Pads>,
    kernel: [usize; 2],
    strides: [usize; 2],
) -> Result<Padding, GraphError> {
    // With such a kernel there is nothing to pad, whatever the mode.
    let pointwise = kernel == [1, 1];
    let odd = kernel.iter().all(|size| size % 2 == 1);
    let own = match place.string("auto_pad", "NOTSET").as_str() {
        "NOTSET" => {
            let pads = place.ints("pads").unwrap_or(&[0; 4]);
            pads.try_into()
                .or_else(|_| place.mismatch("pads", "4 sizes", pads))?
        }
        "VALID" => [0; 4],
        "SAME_UPPER" | "SAME_LOWER" if pointwise && before.is_none() => [0; 4],
        "SAME_UPPER" if before.is_none() => return Ok(Padding::Same),
        // Where as much goes before as after, the two modes agree.
        "SAME_LOWER" if before.is_none() && odd && strides == [1, 1] => return Ok(Padding::Same),
        other => {
            let found = if before.is_some() {
                format!("{other} after a Pad")
            } else {
                other.to_owned()
            };
            return place.mismatch("auto_pad", EXPECTED, found);
        }
    };
    let total: Vec<_> = before
        .unwrap_or_default()
        .iter()
        .zip(own)
        .map(|(pad, own)| pad.saturating_add(own))
        .collect();
    let [rows, columns] = kernel.map(|size| size as i64 - 1);
    let same = [
        rows / 2,
        columns / 2,
        rows - rows / 2,
        columns - columns / 2,
    ];
    match total.as_slice() {
        [0, 0, 0, 0] => Ok(Padding::Valid),
        total if total == same && strides == [1, 1] => Ok(Padding::Same),
        total => place.mismatch("padding", EXPECTED, total),
    }
}

/// The padding that a `Pad` node adds to the rows and columns of an NCHW image. Other axes, and
/// other values than zero, are refused.
pub fn of_pad(place: Place<'_>, constants: &Constants<'_>) -> Result<Pads, GraphError> {
    place.require("mode", "constant", &place.string("mode", "constant"))?;
    let sizes =
        ints(place, constants, 1, "pads")?.or_else(|| place.ints("pads").map(<[i64]>::to_vec));
    let sizes = sizes.ok_or_else(|| place.left_out("pads"))?;
    let axes = ints(place, constants, 3, "axes")?.unwrap_or_else(|| vec![0, 1, 2, 3]);
    let value = match constants.input(place, 2, "constant_value")? {
        Some(tensor) => tensor
            .to_f32()
            .map_err(|source| place.tensor(source))?
            .first()
            .copied()
            .unwrap_or(0.0),
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
        let index = if *axis < 0 {
            axis.saturating_add(4)
        } else {
            *axis
        };
        let Some(pads) = usize::try_from(index)
            .ok()
            .and_then(|index| all.get_mut(index))
        else {
            return place.mismatch("axes", "axes of a batch of images", axes);
        };
        *pads = [begin, end];
    }
    let [batch, channels, [top, bottom], [left, right]] = all;
    place.require(
        "padding of batch and channels",
        &[[0; 2]; 2],
        &[batch, channels],
    )?;
    Ok([top, left, bottom, right])
}

/// The integers that a node takes as input `index`.
fn ints(
    place: Place<'_>,
    constants: &Constants<'_>,
    index: usize,
    what: &'static str,
) -> Result<Option<Vec<i64>>, GraphError> {
    let tensor = constants.input(place, index, what)?;
    tensor
        .map(|tensor| tensor.to_i64().map_err(|source| place.tensor(source)))
        .transpose()
}

#[cfg(test)]
mod tests {
    use kiln_model::Pads;
    use kiln_onnx::{Dim, GraphBuilder};
    use proptest::prelude::*;

    use super::*;

    /// What is read of a convolution with these pads.
    fn read(pads: Pads, kernel: [usize; 2], strides: [usize; 2]) -> Result<Padding, GraphError> {
        let mut graph = GraphBuilder::new("conv");
        graph
            .input("x", Dim::batched([1, 9, 9]))
            .output("y", [Dim::Unknown]);
        let Pads {
            top,
            left,
            bottom,
            right,
        } = pads;
        graph
            .node("Conv", "conv", &["x"], "y")
            .ints("pads", [top, left, bottom, right].map(|pad| pad as i64));
        of_conv(
            Place(&graph.finish().unwrap().graph.unwrap().node[0]),
            None,
            kernel,
            strides,
        )
    }

    proptest! {
        /// The pads that kiln's exporter writes for an image of some size.
        #[test]
        fn what_kiln_pads_is_read_back(size in [1_usize..40, 1..40], kernel in [1_usize..8, 1..8]) {
            let pads = |padding: Padding| padding.pads(size, kernel, [1, 1]);
            // One pixel needs no padding.
            let same = if kernel == [1, 1] { Padding::Valid } else { Padding::Same };
            prop_assert_eq!(read(pads(Padding::Same), kernel, [1, 1]), Ok(same));
            prop_assert_eq!(read(pads(Padding::Valid), kernel, [1, 1]), Ok(Padding::Valid));
        }

        #[test]
        fn what_depends_on_the_size_of_the_image_is_refused(kernel in [2_usize..8, 2..8], strides in [2_usize..4, 2..4]) {
            prop_assert!(read(Padding::Same.pads([9, 9], kernel, [1, 1]), kernel, strides).is_err());
        }
    }
}
