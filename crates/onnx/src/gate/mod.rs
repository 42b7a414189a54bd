//! What a file must keep to before an engine sees it.
//!
//! A model file is data of somebody else's, and engines believe it: they reserve the memory that a shape
//! asks for, expand functions that call each other, follow graphs into graphs. What can be found out
//! from the file alone is found out here, with small integers and names, without a copy of weights.

mod budget;
mod calls;
mod memory;
pub mod parts;
mod sizes;
mod tensors;

use std::collections::HashSet;

use crate::proto::{
    AttributeProto, AttributeType, DimensionValue, ModelProto, NodeProto, TypeValue, ValueInfoProto,
};
use budget::check_rank;
use parts::{Part, each_part};

pub use budget::{Budget, GateError};
pub use memory::{Refused, check as check_bytes};
pub use sizes::check_sizes;

/// Checks that a model keeps to a budget: every tensor has the values that its shape asks for, functions
/// call each other neither in a circle nor without measure, and no value is larger than allowed, as far
/// as the file says. A batch of open size counts as one image.
pub fn check_limits(model: &ModelProto, budget: &Budget) -> Result<(), GateError> {
    let mut nodes: u64 = 0;
    each_part(model, |part| match part {
        Part::Node(node) => {
            nodes += 1;
            if nodes > budget.nodes {
                return Err(GateError::Nodes {
                    limit: budget.nodes,
                });
            }
            check_attribute_names(node)
        }
        Part::Attribute(attribute) => check_attribute_type(attribute),
        Part::Tensor(tensor) => tensors::check(tensor, budget),
        Part::Sparse(sparse) => tensors::check_sparse(sparse, budget),
        Part::Value(value) => check_declared(value, budget),
    })?;
    calls::check(model, budget)?;
    check_sizes(model, None, budget)
}

/// An engine takes the first of two attributes of one name, another the second.
fn check_attribute_names(node: &NodeProto) -> Result<(), GateError> {
    let mut names = HashSet::with_capacity(node.attribute.len());
    let mut attributes = node.attribute.iter();
    match attributes.find(|attribute| !names.insert(attribute.name.as_str())) {
        None => Ok(()),
        Some(twice) => Err(GateError::Attribute {
            node: node.describe(),
            attribute: twice.name.clone(),
        }),
    }
}

/// A parser that knows the values of the enumeration would keep what an earlier field said.
fn check_attribute_type(attribute: &AttributeProto) -> Result<(), GateError> {
    match AttributeType::try_from(attribute.r#type) {
        Ok(_) => Ok(()),
        Err(_) => Err(GateError::AttributeType {
            attribute: attribute.name.clone(),
            found: attribute.r#type,
        }),
    }
}

/// The shape that a file declares of a value: open axes, and negative ones that some exporters write for
/// them, count as one.
fn check_declared(value: &ValueInfoProto, budget: &Budget) -> Result<(), GateError> {
    let Some(TypeValue::TensorType(tensor)) =
        value.r#type.as_ref().and_then(|it| it.value.as_ref())
    else {
        return Ok(());
    };
    let dims = tensor.shape.iter().flat_map(|shape| &shape.dim);
    let dims: Vec<Option<u64>> = dims
        .map(|dim| match &dim.value {
            Some(DimensionValue::DimValue(size)) => u64::try_from(*size).ok(),
            Some(DimensionValue::DimParam(_)) | None => None,
        })
        .collect();
    check_rank(&value.name, dims.len(), budget)?;
    let bits = sizes::element_bits(tensor.elem_type);
    let bytes = sizes::bytes(&dims, bits);
    if bytes > u128::from(budget.bytes_per_batch) {
        return Err(GateError::Size {
            place: "the graph".to_owned(),
            value: value.name.clone(),
            shape: sizes::describe(&dims),
            bytes,
            limit: budget.bytes_per_batch,
        });
    }
    Ok(())
}
