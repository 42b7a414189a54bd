//! Which operators tract knows.

use kiln_onnx::ModelProto;

use crate::choice::EngineId;
use crate::engine::error::EngineError;

/// Checks that tract knows every operator. It does find out itself, but later, and without naming
/// the node.
pub fn check_operators(model: &ModelProto) -> Result<(), EngineError> {
    let known = tract_onnx::onnx().op_register.0;
    for node in model.graph.iter().flat_map(|graph| &graph.node) {
        let own = node.is_onnx();
        if own && known.contains_key(&node.op_type) {
            continue;
        }
        let operator = if own {
            node.op_type.clone()
        } else {
            format!("{}::{}", node.domain, node.op_type)
        };
        return Err(EngineError::Operator {
            engine: EngineId::TRACT,
            node: node.label().to_owned(),
            operator,
        });
    }
    Ok(())
}
