//! The sizes of values between nodes, as far as the file tells them.
//!
//! An abstract run of the graph: of each value the element type, the sizes of axes that are known, and
//! the elements where they are few, since shapes are computed from them. What is not known stays so and
//! is not refused. `kiln-import` has shape arithmetic too, for graphs of known operators with all sizes
//! known; this one is for any graph, and knows less about more operators.

mod call;
mod interpreter;
mod layout;
mod numbers;
mod operators;
mod select;
mod value;
mod window;

use std::collections::HashMap;

use super::budget::{Budget, GateError};
use crate::proto::ModelProto;
use crate::query::{Dim as FileDim, TensorInfo};
use interpreter::Interpreter;
use value::{Dim, Value};

pub use value::{bytes, describe, element_bits};

/// Checks that no value of a model's graph is provably larger than a budget allows, for a batch of one
/// image where the graph leaves the batch open. `shape` is that of the first input, with the batch, where
/// it is known better than the file says. For models that [`check_limits`](super::check_limits) has passed,
/// whose functions end.
///
/// # Errors
///
/// Returns the first value that is larger, or the first loop or window with more steps.
pub fn check_sizes(
    model: &ModelProto,
    shape: Option<&[usize]>,
    budget: &Budget,
) -> Result<(), GateError> {
    let Some(graph) = &model.graph else {
        return Ok(());
    };
    let fed = model.inputs();
    let first = fed.first().map(|info| info.name.as_str());
    let batch = first.and_then(|_| match shape {
        Some(shape) => shape.first().copied(),
        None => fed[0].shape.as_ref()?.first()?.fixed(),
    });
    let limit = match batch {
        None | Some(0 | 1) => budget.bytes_per_value,
        Some(_) => budget.bytes_per_batch,
    };
    let known: HashMap<String, Value> = fed
        .iter()
        .map(|info| {
            let is_first = Some(info.name.as_str()) == first;
            (
                info.name.clone(),
                of_input(info, shape.filter(|_| is_first)),
            )
        })
        .collect();
    let names = graph.input.iter().map(|input| input.name.as_str());
    let inputs = names.filter_map(|name| Some((name, known.get(name)?.clone())));
    Interpreter::new(model, limit, budget).graph(graph, inputs.collect(), None)?;
    Ok(())
}

/// An input of the graph, whose first axis is the batch: of one image where its size is open, and so is
/// every axis of the same symbol.
fn of_input(info: &TensorInfo, shape: Option<&[usize]>) -> Value {
    let fixed = |size: usize| Some(size as u64);
    let dims: Option<Vec<Dim>> = match (shape, &info.shape) {
        (Some(shape), _) => Some(shape.iter().map(|&size| fixed(size)).collect()),
        (None, None) => None,
        (None, Some(axes)) => {
            let batch = axes.first();
            let sizes = axes.iter().enumerate().map(|(at, axis)| match axis {
                FileDim::Fixed(size) => fixed(*size),
                FileDim::Symbol(_) if Some(axis) == batch => Some(1),
                FileDim::Unknown if at == 0 => Some(1),
                FileDim::Symbol(_) | FileDim::Unknown => None,
            });
            Some(sizes.collect())
        }
    };
    Value::new(info.data_type, dims)
}

#[cfg(test)]
mod tests;
