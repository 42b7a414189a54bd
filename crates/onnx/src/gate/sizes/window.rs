//! The shapes of convolutions, poolings and resizings (the formulas of ONNX's operator documentation).

use super::call::{Call, axis};
use super::value::{Dim, Value};
use crate::proto::DataType;

/// The first output of an operator that slides a window or resizes; none where it is not known, and of
/// others.
pub fn output(operator: &str, call: &Call<'_>) -> Option<Value> {
    match operator {
        "Conv" | "ConvInteger" | "QLinearConv" | "DeformConv" => convolution(operator, call),
        "ConvTranspose" => transposed(call),
        "MaxPool" | "AveragePool" | "LpPool" => pooling(call),
        "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => global(call),
        "MaxUnpool" => unpooling(call),
        "Resize" => resized(call),
        "Upsample" => upsampled(call),
        "GridSample" => sampled(call),
        "RoiAlign" | "MaxRoiPool" => regions(operator, call),
        _ => None,
    }
}

/// Longest stride, dilation, padding and side of a kernel.
const LONGEST: i64 = 1 << 16;

/// Most groups, and what else counts channels.
const MOST: i64 = 1 << 20;

/// What a node has instead of what was expected.
pub type Found = (String, String);

/// Checks numbers that engines divide by or reserve memory for, some without a check of their own.
pub fn check_attributes(operator: &str, call: &Call<'_>) -> Result<(), Found> {
    check_once(operator, call)?;
    for name in ["group", "num_groups", "hidden_size", "num_outputs"] {
        check_numbers(name, call.int(name).as_slice(), 1, MOST)?;
    }
    check_numbers("blocksize", call.int("blocksize").as_slice(), 1, LONGEST)?;
    if is_window(operator) {
        for name in ["strides", "dilations", "kernel_shape", "pads"] {
            let least = i64::from(name != "pads");
            check_numbers(name, call.ints(name).unwrap_or_default(), least, LONGEST)?;
        }
    }
    Ok(())
}

/// Checks that what is an attribute in old operator sets and an input since is there once: one runtime would
/// take the one, another the other.
fn check_once(operator: &str, call: &Call<'_>) -> Result<(), Found> {
    let pairs: &[(&str, usize)] = match operator {
        "Pad" => &[("pads", 1), ("paddings", 1)],
        "Slice" => &[("starts", 1), ("ends", 2), ("axes", 3)],
        "Squeeze" | "Unsqueeze" => &[("axes", 1)],
        "Split" => &[("split", 1)],
        "TopK" => &[("k", 1)],
        "Reshape" => &[("shape", 1)],
        "Upsample" => &[("scales", 1)],
        "DFT" => &[("axis", 2)],
        _ if operator.starts_with("Reduce") => &[("axes", 1)],
        _ => &[],
    };
    let is_given = |at: usize| call.node.input.get(at).is_some_and(|name| !name.is_empty());
    for &(name, at) in pairs {
        if call.attribute(name).is_some() && is_given(at) {
            let found = format!("`{name}` as an attribute and as an input");
            return Err((found, "one of them".to_owned()));
        }
    }
    // The second input of the first version is the scales, and that of later ones a region of twice as
    // many numbers.
    let region = call
        .dims(1)
        .filter(|_| operator == "Resize" && call.node.input.len() > 2);
    let rank = call.input(0).and_then(Value::rank);
    if let (Some([Some(count)]), Some(rank)) = (region, rank)
        && *count == rank as u64
        && rank > 0
    {
        let found = format!("a region of {count} numbers");
        return Err((found, (2 * rank).to_string()));
    }
    Ok(())
}

fn is_window(operator: &str) -> bool {
    matches!(
        operator,
        "Conv"
            | "ConvInteger"
            | "QLinearConv"
            | "DeformConv"
            | "ConvTranspose"
            | "MaxPool"
            | "AveragePool"
            | "LpPool"
            | "MaxUnpool"
    )
}

/// Checks that a window has the axes of its input and fits into it. tract looks at axes that are not there.
pub fn check_shapes(operator: &str, call: &Call<'_>) -> Result<(), Found> {
    let least = match operator {
        _ if is_window(operator) => 3,
        "BatchNormalization" | "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => 2,
        _ => return Ok(()),
    };
    let Some(rank) = call.input(0).and_then(Value::rank) else {
        return Ok(());
    };
    if rank < least {
        return Err((
            format!("an input of {rank} axes"),
            format!("at least {least}"),
        ));
    }
    if least < 3 {
        return Ok(());
    }
    let lists = [
        ("strides", 1),
        ("dilations", 1),
        ("kernel_shape", 1),
        ("pads", 2),
    ];
    for (name, times) in lists {
        let expected = times * (rank - 2);
        if let Some(ints) = call.ints(name).filter(|ints| ints.len() != expected) {
            let found = format!("{} numbers in `{name}`", ints.len());
            return Err((found, expected.to_string()));
        }
    }
    check_fit(operator, call)
}

fn check_numbers(name: &str, numbers: &[i64], least: i64, most: i64) -> Result<(), Found> {
    match numbers
        .iter()
        .find(|&&number| number < least || number > most)
    {
        None => Ok(()),
        Some(number) => Err((
            format!("{number} in `{name}`"),
            format!("a number from {least} to {most}"),
        )),
    }
}

/// Checks that weights have the input's channels and the kernel's sides, and that the window fits into the
/// input at least once.
fn check_fit(operator: &str, call: &Call<'_>) -> Result<(), Found> {
    let Some([_, channels, sizes @ ..]) = call.dims(0) else {
        return Ok(());
    };
    let weights = match operator {
        "Conv" | "ConvInteger" | "DeformConv" => call.dims(1),
        "QLinearConv" => call.dims(3),
        _ => None,
    };
    if let Some(dims) = weights.filter(|dims| dims.len() != sizes.len() + 2) {
        let expected = format!("{} as of its input", sizes.len() + 2);
        return Err((format!("weights of {} axes", dims.len()), expected));
    }
    let group = call.int("group").unwrap_or(1) as u64;
    let of_group = weights.and_then(|dims| dims.get(1).copied().flatten());
    if let (Some(channels), Some(of_group)) = (channels, of_group)
        && of_group.checked_mul(group) != Some(*channels)
    {
        let found = format!("weights for {of_group} channels in each of {group} groups");
        return Err((found, format!("{channels} channels")));
    }
    let kernel = kernel_of(call, weights, sizes.len());
    let given = call.ints("kernel_shape");
    let same = |(&given, own): (&i64, &Dim)| own.is_none_or(|own| own == given as u64);
    if weights.is_some() && !given.is_none_or(|given| given.iter().zip(&kernel).all(same)) {
        let found = format!("`kernel_shape` {:?}", given.unwrap_or_default());
        return Err((found, "that of its weights".to_owned()));
    }
    if matches!(operator, "ConvTranspose" | "MaxUnpool") || is_same(call) {
        return Ok(());
    }
    for (&size, window) in sizes.iter().zip(windows(call, &kernel).unwrap_or_default()) {
        let extent = window.dilation * (window.kernel - 1) + 1;
        let room = size.map(|size| i128::from(size) + window.pads - extent);
        // Engines divide towards zero: a pooling that is a little too large has one place.
        if room.is_some_and(|room| room / window.stride < 0) {
            let size = size.unwrap_or(0);
            return Err((
                format!("a window of {extent} elements"),
                format!("one that fits into {size} and {} of padding", window.pads),
            ));
        }
    }
    Ok(())
}

/// A window along one axis.
#[derive(Clone, Copy)]
struct Window {
    kernel: i128,
    stride: i128,
    dilation: i128,
    pads: i128,
}

/// The windows of a node over its spatial axes, whose kernel has these sizes.
fn windows(call: &Call<'_>, kernel: &[Dim]) -> Option<Vec<Window>> {
    let axes = kernel.len();
    let ints = |name: &str, count: usize, default: i64| match call.ints(name) {
        None => Some(vec![default; count]),
        Some(ints) => (ints.len() == count).then(|| ints.to_vec()),
    };
    let strides = ints("strides", axes, 1)?;
    let dilations = ints("dilations", axes, 1)?;
    let pads = ints("pads", 2 * axes, 0)?;
    let window = |at: usize| {
        Some(Window {
            kernel: i128::from(kernel[at]?),
            stride: i128::from(strides[at]),
            dilation: i128::from(dilations[at]),
            pads: i128::from(pads[at]) + i128::from(pads[at + axes]),
        })
    };
    (0..axes).map(window).collect()
}

fn is_same(call: &Call<'_>) -> bool {
    matches!(call.text("auto_pad"), Some(b"SAME_UPPER" | b"SAME_LOWER"))
}

/// The number of places of a window on an axis.
fn places(call: &Call<'_>, size: Dim, window: Window, ceil: bool) -> Dim {
    let (size, stride) = (i128::from(size?), window.stride);
    if stride <= 0 {
        return None;
    }
    if is_same(call) {
        return u64::try_from((size + stride - 1) / stride).ok();
    }
    let pads = match call.text("auto_pad") {
        Some(b"VALID") => 0,
        _ => window.pads,
    };
    let extent = window
        .dilation
        .checked_mul(window.kernel - 1)?
        .checked_add(1)?;
    let room = (size + pads).checked_sub(extent)?;
    if room < 0 {
        return None;
    }
    let room = if ceil { room + stride - 1 } else { room };
    u64::try_from(room / stride + 1).ok()
}

fn slid(call: &Call<'_>, sizes: &[Dim], kernel: &[Dim], ceil: bool) -> Vec<Dim> {
    match windows(call, kernel).filter(|windows| windows.len() == sizes.len()) {
        Some(windows) => {
            let axes = sizes.iter().zip(windows);
            axes.map(|(&size, window)| places(call, size, window, ceil))
                .collect()
        }
        None => vec![None; sizes.len()],
    }
}

fn kernel_of(call: &Call<'_>, weights: Option<&[Dim]>, axes: usize) -> Vec<Dim> {
    let own = weights.and_then(|dims| dims.get(2..)).map(<[Dim]>::to_vec);
    let given = call.ints("kernel_shape");
    let given = given.map(|sizes| sizes.iter().map(|&size| u64::try_from(size).ok()).collect());
    own.or(given).unwrap_or_else(|| vec![None; axes])
}

fn convolution(operator: &str, call: &Call<'_>) -> Option<Value> {
    let (weights, data_type) = match operator {
        "ConvInteger" => (1, Some(DataType::Int32)),
        "QLinearConv" => (3, call.input(7).and_then(|zero| zero.data_type)),
        _ => (1, call.input(0)?.data_type),
    };
    let [batch, _, sizes @ ..] = call.dims(0)? else {
        return None;
    };
    let weights = call.dims(weights);
    let channels = weights.and_then(|dims| dims.first().copied()).flatten();
    let kernel = kernel_of(call, weights, sizes.len());
    let places = slid(call, sizes, &kernel, false);
    let dims = [vec![*batch, channels], places].concat();
    Some(Value::new(data_type, Some(dims)))
}

fn transposed(call: &Call<'_>) -> Option<Value> {
    let [batch, _, sizes @ ..] = call.dims(0)? else {
        return None;
    };
    let weights = call.dims(1);
    let group = u64::try_from(call.int("group").unwrap_or(1)).ok()?;
    let channels = weights.and_then(|dims| dims.get(1).copied()).flatten();
    let channels = channels.and_then(|channels| channels.checked_mul(group));
    let kernel = kernel_of(call, weights, sizes.len());
    let made: Vec<Dim> = match (call.ints("output_shape"), windows(call, &kernel)) {
        (Some(shape), _) if shape.len() >= sizes.len() => shape[shape.len() - sizes.len()..]
            .iter()
            .map(|&size| u64::try_from(size).ok())
            .collect(),
        (_, Some(windows)) if windows.len() == sizes.len() => {
            let more = call.ints("output_padding").unwrap_or(&[]);
            let axis = |(at, (&size, window)): (usize, (&Dim, Window))| {
                let size = i128::from(size?);
                if is_same(call) {
                    return u64::try_from(size.checked_mul(window.stride)?).ok();
                }
                let more = i128::from(more.get(at).copied().unwrap_or(0));
                let extent = window
                    .dilation
                    .checked_mul(window.kernel - 1)?
                    .checked_add(1)?;
                let steps = window.stride.checked_mul(size - 1)?;
                u64::try_from(steps.checked_add(more + extent - window.pads)?).ok()
            };
            sizes.iter().zip(windows).enumerate().map(axis).collect()
        }
        _ => vec![None; sizes.len()],
    };
    let dims = [vec![*batch, channels], made].concat();
    Some(Value::new(call.input(0)?.data_type, Some(dims)))
}

fn pooling(call: &Call<'_>) -> Option<Value> {
    let [batch, channels, sizes @ ..] = call.dims(0)? else {
        return None;
    };
    let kernel = kernel_of(call, None, sizes.len());
    let places = slid(call, sizes, &kernel, call.flag("ceil_mode", false));
    let dims = [vec![*batch, *channels], places].concat();
    Some(Value::new(call.input(0)?.data_type, Some(dims)))
}

fn global(call: &Call<'_>) -> Option<Value> {
    let [batch, channels, sizes @ ..] = call.dims(0)? else {
        return None;
    };
    let dims = [vec![*batch, *channels], vec![Some(1); sizes.len()]].concat();
    Some(Value::new(call.input(0)?.data_type, Some(dims)))
}

fn unpooling(call: &Call<'_>) -> Option<Value> {
    let data_type = call.input(0)?.data_type;
    if let Some(shape) = call.input(2) {
        return Some(Value::new(data_type, sizes_of(shape)));
    }
    let [batch, channels, sizes @ ..] = call.dims(0)? else {
        return None;
    };
    let windows = windows(call, &kernel_of(call, None, sizes.len()))?;
    let axes = sizes.iter().zip(windows).map(|(&size, window)| {
        let steps = window.stride.checked_mul(i128::from(size?) - 1)?;
        u64::try_from(steps.checked_add(window.kernel - window.pads)?).ok()
    });
    let dims = [*batch, *channels].into_iter().chain(axes).collect();
    Some(Value::new(data_type, Some(dims)))
}

/// A list of numbers as sizes of axes.
pub fn sizes_of(value: &Value) -> Option<Vec<Dim>> {
    let numbers = value.numbers.as_deref()?;
    let size = |number: f64| (number >= 0.0).then_some(number as u64);
    Some(numbers.iter().map(|number| number.and_then(size)).collect())
}

fn scaled(size: Dim, scale: Option<f64>) -> Dim {
    let scaled = (size? as f64 * scale?).floor();
    (scaled >= 0.0).then_some(scaled as u64)
}

fn resized(call: &Call<'_>) -> Option<Value> {
    let value = call.input(0)?;
    let dims = value.dims.as_deref()?;
    let axes: Option<Vec<usize>> = match call.ints("axes") {
        None => Some((0..dims.len()).collect()),
        Some(axes) => axes.iter().map(|&it| axis(it, dims.len())).collect(),
    };
    let axes = axes?;
    let (scales, sizes) = if call.node.input.len() == 2 {
        (call.input(1), None)
    } else {
        (call.input(2), call.input(3))
    };
    let given = |value: Option<&Value>| {
        value
            .and_then(|it| it.numbers.clone())
            .filter(|it| !it.is_empty())
    };
    let mut made = dims.to_vec();
    if let Some(sizes) = given(sizes) {
        let ratios = axes
            .iter()
            .zip(&*sizes)
            .map(|(&at, size)| Some((*size)? / dims[at].filter(|&size| size > 0)? as f64));
        let ratios: Option<Vec<f64>> = ratios.collect();
        let ratio = match call.text("keep_aspect_ratio_policy") {
            Some(b"not_larger") => Some(f64::min as fn(f64, f64) -> f64),
            Some(b"not_smaller") => Some(f64::max as fn(f64, f64) -> f64),
            _ => None,
        };
        for (&at, size) in axes.iter().zip(&*sizes) {
            made[at] = match ratio {
                None => size.filter(|size| *size >= 0.0).map(|size| size as u64),
                Some(choose) => {
                    let ratio = ratios.clone().and_then(|it| it.into_iter().reduce(choose));
                    dims[at]
                        .zip(ratio)
                        .map(|(size, ratio)| (size as f64 * ratio).round() as u64)
                }
            };
        }
    } else {
        let scales = given(scales);
        for (index, &at) in axes.iter().enumerate() {
            let scale = scales
                .as_ref()
                .and_then(|scales| scales.get(index).copied().flatten());
            made[at] = scaled(dims[at], scale);
        }
    }
    Some(Value::new(value.data_type, Some(made)))
}

fn upsampled(call: &Call<'_>) -> Option<Value> {
    let value = call.input(0)?;
    let dims = value.dims.as_deref()?;
    let floats = call.attribute("scales").map(|it| it.floats.as_slice());
    let scales: Vec<Option<f64>> = match floats {
        Some(floats) => floats.iter().map(|&it| Some(f64::from(it))).collect(),
        None => call.input(1)?.numbers.as_deref()?.to_vec(),
    };
    let axes = dims.iter().enumerate();
    let dims = axes.map(|(at, &dim)| scaled(dim, scales.get(at).copied().flatten()));
    Some(Value::new(value.data_type, Some(dims.collect())))
}

fn sampled(call: &Call<'_>) -> Option<Value> {
    let [batch, channels, ..] = call.dims(0)? else {
        return None;
    };
    let [_, sizes @ .., _] = call.dims(1)? else {
        return None;
    };
    let dims = [&[*batch, *channels], sizes].concat();
    Some(Value::new(call.input(0)?.data_type, Some(dims)))
}

fn regions(operator: &str, call: &Call<'_>) -> Option<Value> {
    let channels = call.dims(0)?.get(1).copied()?;
    let count = call.dims(1)?.first().copied()?;
    let size = |int: i64| u64::try_from(int).ok();
    let sizes: Vec<Dim> = if operator == "RoiAlign" {
        let size = |name| call.int(name).map_or(Some(1), size);
        vec![size("output_height"), size("output_width")]
    } else {
        call.ints("pooled_shape")?
            .iter()
            .map(|&int| size(int))
            .collect()
    };
    let dims = [vec![count, channels], sizes].concat();
    Some(Value::new(call.input(0)?.data_type, Some(dims)))
}
