//! Operators out of ONNX nodes of any opset.

mod layout;
mod linear;
mod pointwise;
mod reduce;
mod reshape;
mod window;

use super::call::Call;
use super::reading::Reading;
use crate::error::GraphError;

/// The first and the last opset that are read.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=26;

/// Reads a node.
pub fn read(call: &Call<'_>) -> Result<Reading, GraphError> {
    let unsupported = || GraphError::Unsupported {
        node: call.node.describe(),
    };
    if !call.node.is_onnx() {
        return Err(unsupported());
    }
    if !OPSETS.contains(&call.opset) {
        return Err(GraphError::Opset {
            node: call.node.describe(),
            expected: OPSETS,
            found: call.opset,
        });
    }
    let operator = call.node.op_type.as_str();
    let families = [
        pointwise::read,
        window::read,
        linear::read,
        reduce::read,
        layout::read,
    ];
    for family in families {
        if let Some(reading) = family(operator, call)? {
            return Ok(reading);
        }
    }
    Err(unsupported())
}
