//! The values of a segment's parameters.

use kiln_model::graph::{Parameter, Values};
use kiln_onnx::{ModelProto, TensorProto};

use crate::error::GraphError;

/// Reads the values of a parameter of a graph that was read from this model: as many as its shape
/// asks for, row-major, rounded to 32 bits.
pub fn parameter_values(model: &ModelProto, parameter: &Parameter) -> Result<Vec<f32>, GraphError> {
    match &parameter.values {
        Values::Computed(values) => Ok(values.to_vec()),
        Values::Filled(value) => Ok(vec![*value; parameter.len()]),
        Values::Measured => Err(GraphError::NoValue {
            value: parameter.name.clone(),
        }),
        Values::Missing(reason) => Err(GraphError::Unread {
            reason: reason.clone(),
        }),
        Values::File => {
            let tensor = find(model, &parameter.name).ok_or_else(|| GraphError::NoValue {
                value: parameter.name.clone(),
            })?;
            tensor.to_floats().map_err(|error| GraphError::Unread {
                reason: error.to_string(),
            })
        }
    }
}

/// The tensor of an initializer, or of the `Constant` that gives a value of this name.
fn find<'a>(model: &'a ModelProto, name: &str) -> Option<&'a TensorProto> {
    let graph = model.graph.as_ref()?;
    let initializer = graph.initializer.iter().find(|tensor| tensor.name == name);
    initializer.or_else(|| {
        let mut constants = graph.node.iter().filter(|node| {
            node.op_type == "Constant" && node.output.first().is_some_and(|it| it == name)
        });
        let attribute = constants
            .next()?
            .attribute
            .iter()
            .find(|attribute| attribute.name == "value")?;
        attribute.t.as_ref()
    })
}
