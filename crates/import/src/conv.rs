//! A convolution with its padding, bias and `Relu`.

use kiln_model::{Activation, Conv2d, LayerKind};
use kiln_onnx::TensorProto;

use crate::attributes::{Place, sizes_of};
use crate::chain::{Chain, is};
use crate::constants::Constants;
use crate::error::GraphError;
use crate::padding;
use crate::reader::{Found, Values};

/// Takes a convolution: an optional `Pad`, the `Conv`, its bias as an input or as an `Add`, an
/// optional `Relu`.
pub fn take<'a>(chain: &mut Chain<'a>, constants: &Constants<'a>) -> Result<Found<'a>, GraphError> {
    let before = match chain.take_if("Pad")? {
        Some(place) => Some(padding::of_pad(place, constants)?),
        None => None,
    };
    let place = chain.take("Conv")?;
    let weight = constants
        .input(place, 1, "weight")?
        .ok_or_else(|| place.left_out("weight"))?;
    place.require("group", &1, &place.int("group", 1))?;
    let sizes = sizes_of(&weight.dims).and_then(|sizes| <[usize; 4]>::try_from(sizes).ok());
    let Some([filters, channels, rows, columns]) = sizes else {
        return place.mismatch(
            "a weight of shape",
            "[filters, channels, rows, columns]",
            &weight.dims,
        );
    };
    let kernel_size = [rows, columns];
    place.require(
        "kernel_shape",
        &kernel_size,
        &place.pair("kernel_shape", Some(kernel_size))?,
    )?;
    place.require(
        "dilations",
        &[1, 1],
        &place.pair("dilations", Some([1, 1]))?,
    )?;
    let strides = place.pair("strides", Some([1, 1]))?;
    let padding = padding::of_conv(place, before, kernel_size, strides)?;
    let bias = match constants.input(place, 2, "bias")? {
        Some(bias) => {
            place.require("a bias of shape", &dims(&[filters])[..], &bias.dims)?;
            Some(bias)
        }
        None => added(chain, constants, filters)?,
    };
    let activation = chain.take_if("Relu")?.map(|_| Activation::Relu);
    let weight = Values {
        parameter: "weight",
        shape: vec![filters, channels, rows, columns],
        tensor: weight,
    };
    let bias = bias.map(|tensor| Values {
        parameter: "bias",
        shape: vec![filters],
        tensor,
    });
    let use_bias = bias.is_some();
    Ok(Found {
        node: place.0,
        kind: LayerKind::Conv2d(Conv2d {
            filters,
            kernel_size,
            strides,
            padding,
            dilation_rate: [1, 1],
            groups: 1,
            use_bias,
            activation,
        }),
        channels: Some([channels, filters]),
        values: std::iter::once(weight).chain(bias).collect(),
    })
}

/// The bias of a convolution that has none of its own, where an `Add` of one value per filter
/// follows.
fn added<'a>(
    chain: &mut Chain<'a>,
    constants: &Constants<'a>,
    filters: usize,
) -> Result<Option<&'a TensorProto>, GraphError> {
    // Where the network branches, what comes next is not for this layer to say.
    let Ok(Some(node)) = chain.peek() else {
        return Ok(None);
    };
    if !is(node, "Add") {
        return Ok(None);
    }
    let place = Place(node);
    let name = node
        .input
        .iter()
        .find(|name| *name != chain.value())
        .ok_or_else(|| place.left_out("bias"))?;
    let bias = constants.resolve(place, name, "bias")?;
    // Shapes that broadcast over the images, rows and columns of NCHW.
    if bias.dims != dims(&[1, filters, 1, 1]) {
        place.require("a bias of shape", &dims(&[filters, 1, 1])[..], &bias.dims)?;
    }
    chain.step(node);
    Ok(Some(bias))
}

fn dims(sizes: &[usize]) -> Vec<i64> {
    sizes.iter().map(|&size| size as i64).collect()
}
