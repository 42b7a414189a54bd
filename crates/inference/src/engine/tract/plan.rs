//! One optimized plan per batch size, made when it is first asked for; tract's errors and panics,
//! there and in runs, as one kind of error.

use std::sync::{Arc, OnceLock};

use kiln_util::catch_panic;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::bail;

use super::channels_last;
use super::load_error;
use super::pick::pick_strided;
use super::quantized::{restore_weights, round_trips};
use crate::engine::error::{EngineError, one_line};

/// A graph optimized for one batch size. Threads share it; each run makes its own state.
#[derive(Clone)]
pub struct Plan {
    pub graph: Arc<TypedRunnableModel>,
    /// Multiplications with an addition each that kiln's kernels compute in a run.
    pub multiply_adds: u64,
}

/// The plans of a graph. tract optimizes for fixed shapes, so each batch size takes a plan of its
/// own.
pub struct Plans {
    graph: InferenceModel,
    datum_type: DatumType,
    shape: [usize; 3],
    /// Most bytes of a value between nodes, for each image.
    bytes_per_value: u64,
    by_size: Vec<(usize, OnceLock<Result<Plan, EngineError>>)>,
}

impl Plans {
    /// Plans for runs of the batch sizes `sizes`, none of them made yet, of an input `[batch,
    /// shape...]`, with values of at most so many bytes for each image.
    pub fn new(
        graph: InferenceModel,
        datum_type: DatumType,
        shape: [usize; 3],
        bytes_per_value: u64,
        sizes: &[usize],
    ) -> Self {
        Self {
            graph,
            datum_type,
            shape,
            bytes_per_value,
            by_size: sizes.iter().map(|&size| (size, OnceLock::new())).collect(),
        }
    }

    /// The plan for a batch size. The first to ask makes it, others wait.
    pub fn get(&self, batch: usize) -> Result<Plan, EngineError> {
        match self.by_size.iter().find(|(size, _)| *size == batch) {
            Some((_, plan)) => plan.get_or_init(|| self.make(batch)).clone(),
            None => self.make(batch),
        }
    }

    fn make(&self, batch: usize) -> Result<Plan, EngineError> {
        let [a, b, c] = self.shape;
        let limit = u128::from(self.bytes_per_value) * batch.max(1) as u128;
        let plan = guarded(|| {
            let graph = self
                .graph
                .clone()
                .with_input_fact(0, self.datum_type.fact([batch, a, b, c]).into())?;
            let graph = graph.into_typed()?;
            check_sizes(&graph, limit)?;
            let graph = round_trips(restore_weights(pick_strided(graph)?)?)?.into_decluttered()?;
            let graph = channels_last::replace(graph, batch)?.into_optimized()?;
            check_sizes(&graph, limit)?;
            let multiply_adds = channels_last::multiply_adds(&graph);
            let graph = graph.into_runnable()?;
            Ok(Plan {
                graph,
                multiply_adds,
            })
        });
        plan.map_err(load_error)
    }
}

/// Checks that no value takes more than `limit` bytes. What the file alone does
/// not tell, tract has inferred by now, and a run would reserve it: an allocation that fails ends the
/// process.
fn check_sizes(graph: &TypedModel, limit: u128) -> TractResult<()> {
    for node in &graph.nodes {
        for output in &node.outputs {
            let Some(shape) = output.fact.shape.as_concrete() else {
                continue;
            };
            let element = output.fact.datum_type.size_of() as u128;
            let sizes = shape.iter().map(|&size| size as u128);
            let bytes = sizes.fold(element, u128::saturating_mul);
            if bytes > limit {
                bail!(
                    "node `{}` ({}) makes a value of shape {shape:?}, {bytes} bytes, expected at most {limit}",
                    node.name,
                    node.op.name()
                );
            }
        }
    }
    Ok(())
}

/// Runs `work` and says in one line what went wrong.
///
/// tract indexes and unwraps in places that a malformed graph reaches (an axis beyond the rank,
/// say). A file must not be able to end the process, so a panic becomes an error, and kiln's message
/// the only one. Nothing that was under construction is used after one: results are taken only from
/// `work` that returned.
pub fn guarded<T>(work: impl FnOnce() -> TractResult<T>) -> Result<T, String> {
    match catch_panic(work) {
        Ok(result) => result.map_err(|error| one_line(&format_args!("{error:#}"))),
        Err(message) => Err(format!("tract breaks off: {}", one_line(&message))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_larger_than_the_budget_is_refused_before_a_run() {
        let with_source = |side: usize| {
            let mut model = TypedModel::default();
            model.add_source("x", f32::fact([1, side, side])).unwrap();
            check_sizes(&model, 1 << 30)
        };
        assert!(with_source(1 << 10).is_ok());
        let error = with_source(1 << 20).unwrap_err().to_string();
        assert_eq!(
            error,
            "node `x` (Source) makes a value of shape [1, 1048576, 1048576], 4398046511104 bytes, \
             expected at most 1073741824"
        );
    }

    #[test]
    fn panics_become_errors() {
        let none: [u8; 0] = [];
        let error = guarded(|| Ok(none[std::hint::black_box(3)])).unwrap_err();
        assert!(
            error.starts_with("tract breaks off: index out of bounds"),
            "{error}"
        );
    }
}
