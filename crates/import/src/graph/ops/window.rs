//! Convolutions, poolings and padding.

use kiln_model::graph::{Conv, Dims, Op, PadMode, Padded, Pool, Size, Window};

use crate::error::GraphError;
use crate::graph::call::Call;
use crate::graph::reading::{Reading, unary};

/// Reads an operator of this family; none if it is of another.
pub fn read(operator: &str, call: &Call<'_>) -> Result<Option<Reading>, GraphError> {
    Ok(Some(match operator {
        "Conv" => conv(call)?,
        "MaxPool" => unary(Op::MaxPool(pool(call)?)),
        "AveragePool" => unary(Op::AveragePool(pool(call)?)),
        "GlobalAveragePool" => unary(Op::GlobalAveragePool),
        "GlobalMaxPool" => unary(Op::GlobalMaxPool),
        "Pad" => {
            let padded = pad(call)?;
            let none = padded.pads.iter().all(|pads| *pads == [0, 0]);
            if none {
                Reading::Same
            } else {
                unary(Op::Pad(padded))
            }
        }
        _ => return Ok(None),
    }))
}

fn conv(call: &Call<'_>) -> Result<Reading, GraphError> {
    let place = call.place();
    let weight = call.shape(1)?;
    let kernel = match weight.sizes() {
        [_, _, Size::Fixed(rows), Size::Fixed(columns)] => [*rows, *columns],
        _ => {
            return place.mismatch(
                "a weight of shape",
                "[filters, channels, rows, columns]",
                weight,
            );
        }
    };
    let kernel = place.pair("kernel_shape", Some(kernel))?;
    let groups = place.int("group", 1);
    let Some(groups) = usize::try_from(groups).ok().filter(|&groups| groups > 0) else {
        return place.mismatch("group", "1 or more", groups);
    };
    let window = window(call, kernel)?;
    Ok(Reading::One(
        Op::Conv(Conv { window, groups }),
        (0..call.count()).collect(),
    ))
}

fn pool(call: &Call<'_>) -> Result<Pool, GraphError> {
    let place = call.place();
    place.require("storage_order", &0, &place.int("storage_order", 0))?;
    let kernel = place.pair("kernel_shape", None)?;
    Ok(Pool {
        window: window(call, kernel)?,
        ceil_mode: place.int("ceil_mode", 0) != 0,
        count_include_pad: place.int("count_include_pad", 0) != 0,
    })
}

fn window(call: &Call<'_>, kernel: [usize; 2]) -> Result<Window, GraphError> {
    let place = call.place();
    let mut window = Window {
        kernel,
        strides: place.pair("strides", Some([1; 2]))?,
        dilations: place.pair("dilations", Some([1; 2]))?,
        pads: [[0; 2]; 2],
    };
    match place.string("auto_pad", "NOTSET").as_str() {
        "NOTSET" => {
            let pads = place.ints("pads").unwrap_or(&[0; 4]);
            let sizes: Option<Vec<usize>> =
                pads.iter().map(|&pad| usize::try_from(pad).ok()).collect();
            let Some(&[top, left, bottom, right]) = sizes.as_deref() else {
                return place.mismatch("pads", "4 sizes", pads);
            };
            window.pads = [[top, bottom], [left, right]];
        }
        "VALID" => {}
        "SAME_UPPER" => window.pads = same(&window, &call.shape(0)?, call, false)?,
        "SAME_LOWER" => window.pads = same(&window, &call.shape(0)?, call, true)?,
        other => {
            return place.mismatch("auto_pad", "NOTSET, VALID, SAME_UPPER or SAME_LOWER", other);
        }
    }
    Ok(window)
}

/// What `SAME` puts around an image, so that the output has `ceil(size / stride)` rows and columns;
/// an odd one goes after, or before with `lower`.
fn same(
    window: &Window,
    image: &Dims,
    call: &Call<'_>,
    lower: bool,
) -> Result<[[usize; 2]; 2], GraphError> {
    let mut pads = [[0; 2]; 2];
    for (axis, pads) in pads.iter_mut().enumerate() {
        let size = call.fixed(image, axis + 2)?;
        let reach = (window.kernel[axis] - 1).saturating_mul(window.dilations[axis]);
        let stride = window.strides[axis];
        let steps = size
            .div_ceil(stride)
            .saturating_sub(1)
            .saturating_mul(stride);
        let total = steps.saturating_add(reach + 1).saturating_sub(size);
        let (small, large) = (total / 2, total - total / 2);
        *pads = if lower {
            [large, small]
        } else {
            [small, large]
        };
    }
    Ok(pads)
}

fn pad(call: &Call<'_>) -> Result<Padded, GraphError> {
    let place = call.place();
    let rank = call.shape(0)?.rank();
    let sizes = call.setting(1, "pads", 11)?;
    let sizes = sizes.ok_or_else(|| place.left_out("pads"))?;
    let value = if call.opset >= 11 {
        call.float(2, "constant_value")?.unwrap_or(0.0)
    } else {
        place.float("value", 0.0)
    };
    let axes = match call.ints(3, "axes")? {
        Some(axes) if axes.len() <= rank => axes
            .iter()
            .map(|&axis| call.axis(axis, rank, false))
            .collect::<Result<Vec<_>, _>>()?,
        Some(axes) => return place.mismatch("axes", "each axis once", axes.len()),
        None => (0..rank).collect(),
    };
    let mode = match place.string("mode", "constant").as_str() {
        "constant" => PadMode::Constant(value),
        "reflect" => PadMode::Reflect,
        "edge" => PadMode::Edge,
        other => return place.mismatch("mode", "constant, reflect or edge", other),
    };
    let sizes: Option<Vec<usize>> = sizes
        .iter()
        .map(|&size| usize::try_from(size).ok())
        .collect();
    let Some(sizes) = sizes.filter(|sizes| sizes.len() == 2 * axes.len()) else {
        return place.mismatch("pads", "2 sizes for each axis", call.node.input.get(1));
    };
    let mut pads = vec![[0; 2]; rank];
    for (at, &axis) in axes.iter().enumerate() {
        pads[axis] = [sizes[at], sizes[axes.len() + at]];
    }
    Ok(Padded { pads, mode })
}
