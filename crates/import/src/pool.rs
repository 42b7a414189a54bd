//! A pooling layer.

use kiln_model::{LayerKind, Padding, Pool};

use crate::chain::Chain;
use crate::error::GraphError;
use crate::reader::Found;

/// Takes a max pooling whose windows that do not fit are left out.
pub fn take<'a>(chain: &mut Chain<'a>) -> Result<Found<'a>, GraphError> {
    let place = chain.take("MaxPool")?;
    let pool_size = place.pair("kernel_shape", None)?;
    let strides = place.pair("strides", Some([1, 1]))?;
    place.require(
        "dilations",
        &[1, 1],
        &place.pair("dilations", Some([1, 1]))?,
    )?;
    place.require("ceil_mode", &0, &place.int("ceil_mode", 0))?;
    match place.string("auto_pad", "NOTSET").as_str() {
        "NOTSET" => place.require("pads", &[0; 4][..], place.ints("pads").unwrap_or(&[0; 4]))?,
        // SAME would take in the last row and column of an image of odd size.
        auto_pad => place.require("auto_pad", "VALID", auto_pad)?,
    }
    let kind = LayerKind::MaxPool(Pool {
        pool_size,
        strides,
        padding: Padding::Valid,
    });
    Ok(Found {
        node: place.0,
        kind,
        channels: None,
        values: Vec::new(),
    })
}
