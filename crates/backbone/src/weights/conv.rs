//! A convolution with its padding, bias and `Relu`.

use kiln_onnx::TensorProto;

use crate::layout::Layer;

use super::attributes::Place;
use super::chain::{Chain, is};
use super::constants::Constants;
use super::error::BackboneError;
use super::padding::{self, Pads};

/// A convolution found in a graph.
#[derive(Debug)]
pub struct Conv<'a> {
    /// The node and its place, as errors name them.
    pub node: String,
    /// Kernel, of shape `[filters, channels, 3, 3]`; not said is whether the values are there.
    pub weight: &'a TensorProto,
    /// Bias, of `filters` values.
    pub bias: &'a TensorProto,
    /// Number of output channels.
    pub filters: usize,
    /// Number of input channels.
    pub channels: usize,
}

/// Takes VGG16's convolution `layer`: 3x3, stride 1, one row or column of zeros on each side, bias, `Relu`.
pub fn take<'a>(
    chain: &mut Chain<'a>,
    constants: &Constants<'a>,
    layer: Layer,
    [channels, filters]: [usize; 2],
) -> Result<Conv<'a>, BackboneError> {
    let before = match chain.take_if(layer, "Pad")? {
        Some(node) => padding::of_pad(Place { layer, node }, constants)?,
        None => Pads::default(),
    };
    let place = chain.take(layer, "Conv")?;
    let weight = constants.input(place, 1, "weight")?.ok_or_else(|| place.left_out("weight"))?;
    // First, because it tells networks apart best.
    place.require("a weight of shape", &dims(&[filters, channels, 3, 3])[..], &weight.dims)?;
    check(place, before)?;
    let bias = match constants.input(place, 2, "bias")? {
        Some(bias) => {
            place.require("a bias of shape", &dims(&[filters])[..], &bias.dims)?;
            bias
        }
        None => added(chain, constants, layer, filters)?,
    };
    chain.take(layer, "Relu")?;
    Ok(Conv { node: place.to_string(), weight, bias, filters, channels })
}

/// Checks the attributes of a convolution that comes after a `Pad` of `before`.
fn check(place: Place<'_>, before: Pads) -> Result<(), BackboneError> {
    let (ones, kernel) = (&[1, 1][..], &[3, 3][..]);
    place.require("kernel_shape", kernel, place.ints("kernel_shape").unwrap_or(kernel))?;
    place.require("strides", ones, place.ints("strides").unwrap_or(ones))?;
    place.require("dilations", ones, place.ints("dilations").unwrap_or(ones))?;
    place.require("group", &1, &place.int("group", 1))?;
    let own = padding::of_conv(place)?;
    let total: Vec<_> = before.iter().zip(own).map(|(before, own)| before.saturating_add(own)).collect();
    place.require("padding", &[1; 4][..], &total)
}

/// The bias of a convolution that has none of its own: an `Add` of one value per filter.
fn added<'a>(
    chain: &mut Chain<'a>,
    constants: &Constants<'a>,
    layer: Layer,
    filters: usize,
) -> Result<&'a TensorProto, BackboneError> {
    let Some(node) = chain.peek(layer)?.filter(|node| is(node, "Add")) else {
        return Err(chain.unexpected(layer, "Add (the convolution has no bias)")?);
    };
    let place = Place { layer, node };
    let name = node.input.iter().find(|name| *name != chain.value()).ok_or_else(|| place.left_out("bias"))?;
    let bias = constants.resolve(place, name, "bias")?;
    // Shapes that broadcast over the images, rows and columns of NCHW.
    if bias.dims != dims(&[1, filters, 1, 1]) {
        place.require("a bias of shape", &dims(&[filters, 1, 1])[..], &bias.dims)?;
    }
    chain.step(node);
    Ok(bias)
}

fn dims(sizes: &[usize]) -> Vec<i64> {
    sizes.iter().map(|&size| size as i64).collect()
}
