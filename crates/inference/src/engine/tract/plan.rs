//! One optimized plan per batch size, made when it is first asked for.

use std::sync::{Arc, OnceLock};

use tract_onnx::prelude::*;

use super::fuse::fuse;
use super::guard::guarded;
use super::load_error;
use crate::engine::error::EngineError;

/// A graph optimized for one batch size. Threads share it; each run makes its own state.
pub type Plan = Arc<TypedRunnableModel>;

/// The plans of a graph. tract optimizes for fixed shapes, so each batch size takes a plan of its
/// own.
pub struct Plans {
    graph: InferenceModel,
    datum_type: DatumType,
    shape: [usize; 3],
    by_size: Vec<(usize, OnceLock<Result<Plan, EngineError>>)>,
}

impl Plans {
    /// Plans for runs of the batch sizes `sizes`, none of them made yet, of an input `[batch,
    /// shape...]`.
    pub fn new(
        graph: InferenceModel,
        datum_type: DatumType,
        shape: [usize; 3],
        sizes: &[usize],
    ) -> Self {
        Self {
            graph,
            datum_type,
            shape,
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
        let plan = guarded(|| {
            let graph = self
                .graph
                .clone()
                .with_input_fact(0, self.datum_type.fact([batch, a, b, c]).into())?;
            fuse(graph.into_typed()?.into_decluttered()?)?
                .into_optimized()?
                .into_runnable()
        });
        plan.map_err(load_error)
    }
}
