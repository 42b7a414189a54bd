//! Finds the 13 convolutions of VGG16 in a graph.

use kiln_onnx::{ModelProto, check_structure};

use crate::layout::{CONVS, Layer, layers};

use super::chain::{Chain, is};
use super::constants::Constants;
use super::conv::{self, Conv};
use super::error::{BackboneError, describe};
use super::{pool, transpose};

/// The convolutions in order, their tensors of the right shapes; the values are not looked at.
pub fn convs(model: &ModelProto) -> Result<Vec<Conv<'_>>, BackboneError> {
    let graph = model.graph.as_ref().ok_or(BackboneError::NoGraph)?;
    check_structure(graph)?;
    let constants = Constants::new(graph);
    let mut inputs = graph.input.iter().map(|input| input.name.as_str()).filter(|name| !constants.initialized(name));
    let (Some(input), None) = (inputs.next(), inputs.next()) else {
        let found = model.inputs().into_iter().map(|input| format!("`{}`", input.name)).collect();
        return Err(BackboneError::Inputs { found });
    };
    let mut chain = Chain::new(graph, input);
    let mut convs = Vec::with_capacity(CONVS);
    for layer in layers() {
        if convs.is_empty() {
            transpose::to_nchw(&mut chain, layer)?;
        }
        match layer {
            Layer::Conv { channels, filters, .. } => {
                convs.push(conv::take(&mut chain, &constants, layer, [channels, filters])?);
            }
            Layer::Pool { block } => match chain.peek(layer)? {
                // Cut off before the last pooling, as for style transfer.
                None if convs.len() == CONVS => {}
                Some(node) if is(node, "Conv") => {
                    return Err(BackboneError::ExtraConv { block, node: describe(node) });
                }
                _ => pool::take(&mut chain, layer)?,
            },
        }
    }
    Ok(convs)
}
