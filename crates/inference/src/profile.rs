//! Where the time of a run goes, step by step.

use crate::engine::error::EngineError;
use crate::error::RunError;
use crate::model::Model;

/// What the steps of a graph cost in one run.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// Images of the run.
    pub images: usize,
    /// Threads that computed.
    pub threads: usize,
    /// Seconds of the run, of all those that were made the fastest.
    pub seconds: f64,
    /// The steps in their order, in that run. What is left of its seconds is the engine's own.
    pub steps: Vec<StepCost>,
    /// Multiplications with an addition each in a second, at most: of a product whose operands stay in the cache,
    /// measured with as many threads.
    pub peak_multiply_adds: f64,
    /// Bytes that are read from memory in a second, at most, measured likewise.
    pub peak_bytes: f64,
}

/// What one step costs.
#[derive(Debug, Clone, PartialEq)]
pub struct StepCost {
    /// What it computes, such as `conv 3x3, 64 to 128, 28x28`.
    pub step: String,
    /// Its seconds.
    pub seconds: f64,
    /// Multiplications with an addition each; none are counted of what is no product.
    pub multiply_adds: u64,
    /// Bytes of what it takes, weights among them, and of what it makes.
    pub bytes: u64,
}

impl Profile {
    /// Returns which share of the roofline a step reaches: the time that its multiplications or its bytes take at least, the
    /// longer of the two, by its own. More than 1 is possible where what it takes is still in the cache, and of a convolution
    /// that is computed by fewer multiplications.
    pub fn share_of_roofline(&self, step: &StepCost) -> f64 {
        self.least_seconds(step) / step.seconds
    }

    /// Returns whether a step is bound by its bytes rather than by its multiplications.
    pub fn is_bound_by_memory(&self, step: &StepCost) -> bool {
        step.bytes as f64 / self.peak_bytes > step.multiply_adds as f64 / self.peak_multiply_adds
    }

    fn least_seconds(&self, step: &StepCost) -> f64 {
        let multiplying = step.multiply_adds as f64 / self.peak_multiply_adds;
        multiplying.max(step.bytes as f64 / self.peak_bytes)
    }
}

impl Model {
    /// Runs the graph so many times, at least once, on as many of `images` gray images as the engine takes at once, and
    /// returns what each step cost in the fastest run.
    ///
    /// # Errors
    ///
    /// [`EngineError::NoProfile`] of an engine that does not tell, and as [`run`](Self::run).
    pub fn profile(&self, images: usize, runs: usize) -> Result<Profile, RunError> {
        let chunks = self.engine.chunks(images.max(1));
        let batch = chunks.first().map_or(1, |chunk| chunk.batch);
        let values = vec![0.5; batch * self.preprocessor.len()];
        let spec = self.spec();
        let input = spec
            .input
            .of_values(values.into(), self.preprocessor.shape(), spec.layout);
        let profile = self.on_threads(|| self.engine.profile(&input, batch, runs.max(1)));
        let engine = self.runtime().engine;
        profile
            .unwrap_or(Err(EngineError::NoProfile { engine }))
            .map_err(RunError::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_roofline_is_the_longer_of_two_times() {
        let step = |multiply_adds, bytes| StepCost {
            step: "conv".into(),
            seconds: 2.0,
            multiply_adds,
            bytes,
        };
        let profile = Profile {
            images: 1,
            threads: 1,
            seconds: 5.0,
            steps: Vec::new(),
            peak_multiply_adds: 10.0,
            peak_bytes: 100.0,
        };
        let (product, copy) = (step(10, 50), step(0, 300));
        assert!((profile.share_of_roofline(&product) - 0.5).abs() < 1e-12);
        assert!((profile.share_of_roofline(&copy) - 1.5).abs() < 1e-12);
        assert!(!profile.is_bound_by_memory(&product) && profile.is_bound_by_memory(&copy));
    }
}
