//! Which operators tract knows.

use kiln_onnx::ModelProto;

use crate::engine::EngineError;
use crate::options::EngineChoice;

/// Checks that tract knows every operator. It does find out itself, but later, and without naming
/// the node.
pub fn check_operators(model: &ModelProto) -> Result<(), EngineError> {
    let known = tract_onnx::onnx().op_register.0;
    for node in model.graph.iter().flat_map(|graph| &graph.node) {
        let own = matches!(node.domain.as_str(), "" | "ai.onnx");
        if own && known.contains_key(&node.op_type) {
            continue;
        }
        let operator = if own {
            node.op_type.clone()
        } else {
            format!("{}::{}", node.domain, node.op_type)
        };
        let name = Some(&node.name)
            .filter(|name| !name.is_empty())
            .or_else(|| node.output.first());
        let node = name.cloned().unwrap_or_default();
        return Err(EngineError::Operator {
            engine: EngineChoice::Tract,
            node,
            operator,
        });
    }
    Ok(())
}
