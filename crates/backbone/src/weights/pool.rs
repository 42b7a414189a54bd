//! A pooling layer.

use crate::layout::Layer;

use super::chain::Chain;
use super::error::BackboneError;

/// Takes VGG16's pooling: 2x2, stride 2, windows that do not fit left out.
pub fn take(chain: &mut Chain<'_>, layer: Layer) -> Result<(), BackboneError> {
    let place = chain.take(layer, "MaxPool")?;
    let ones = &[1, 1][..];
    place.require("kernel_shape", &[2, 2][..], place.ints("kernel_shape").unwrap_or(&[]))?;
    place.require("strides", &[2, 2][..], place.ints("strides").unwrap_or(ones))?;
    place.require("dilations", ones, place.ints("dilations").unwrap_or(ones))?;
    place.require("ceil_mode", &0, &place.int("ceil_mode", 0))?;
    match place.string("auto_pad", "NOTSET").as_str() {
        "NOTSET" => place.require("pads", &[0; 4][..], place.ints("pads").unwrap_or(&[0; 4])),
        // SAME would take in the last row and column of an image of odd size.
        auto_pad => place.require("auto_pad", "VALID", auto_pad),
    }
}
