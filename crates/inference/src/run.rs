//! Running a batch of prepared inputs.

use std::time::Instant;

use rayon::prelude::*;

use crate::chunks::{Chunk, concatenate};
use crate::engine::{EngineError, NamedTensor};
use crate::error::RunError;
use crate::model::Model;
use crate::scores::Scores;

impl Model {
    /// The scores of `images` prepared images: `pixels` is `[images, channels, height, width]` in row-major order, as
    /// [`preprocessor`](Self::preprocessor) gives it. For a graph that takes uint8, it is rounded and put into the graph's
    /// order here.
    pub fn run(&self, pixels: &[f32], images: usize) -> Result<Scores, RunError> {
        let start = Instant::now();
        let outputs = self.run_named(pixels, images)?;
        let inference = start.elapsed();
        let classes = self.labels.len();
        let Some(scores) = outputs.into_iter().next() else {
            return Ok(Scores { data: Vec::new(), classes, kind: self.output_kind, inference });
        };
        let NamedTensor { name, shape, data } = scores;
        if shape != [images, classes] {
            return Err(RunError::OutputShape { name, expected: [images, classes], found: shape });
        }
        if let Some(at) = data.iter().position(|value| !value.is_finite()) {
            return Err(RunError::OutputValue { name, index: at / classes, value: data[at] });
        }
        Ok(Scores { data, classes, kind: self.output_kind, inference })
    }

    /// Every output of the graph for `images` prepared images, in the graph's order, to compare layer by layer.
    /// Each has the batch as its first axis. No images, no outputs.
    pub fn run_named(&self, pixels: &[f32], images: usize) -> Result<Vec<NamedTensor>, RunError> {
        let (size, shape) = (self.preprocessor.len(), self.preprocessor.shape());
        let expected = images.saturating_mul(size);
        if pixels.len() != expected {
            return Err(RunError::InputLength { images, shape, expected, found: pixels.len() });
        }
        if let Some(at) = pixels.iter().position(|value| !value.is_finite()) {
            return Err(RunError::InputValue { index: at / size, value: pixels[at] });
        }
        let chunks = self.engine.chunks(images);
        let mut parts = if let [only] = chunks.as_slice() {
            vec![self.run_chunk(pixels, only)?]
        } else {
            let run = |chunk: &Chunk| self.run_chunk(pixels, chunk);
            self.on_threads(|| chunks.par_iter().map(run).collect::<Result<Vec<_>, _>>())?
        };
        Ok(if parts.len() == 1 { parts.remove(0) } else { concatenate(parts)? })
    }

    /// One run of the engine, with zeros in place of the images that the chunk has too few.
    fn run_chunk(&self, pixels: &[f32], chunk: &Chunk) -> Result<Vec<NamedTensor>, EngineError> {
        let size = self.preprocessor.len();
        let input = &pixels[chunk.start * size..][..chunk.images * size];
        if chunk.images == chunk.batch {
            let outputs = self.run_engine(input, chunk.batch)?;
            return outputs.into_iter().map(|output| output.keep(chunk)).collect();
        }
        let mut padded = vec![0.0; chunk.batch * size];
        padded[..input.len()].copy_from_slice(input);
        let outputs = self.run_engine(&padded, chunk.batch)?;
        outputs.into_iter().map(|output| output.keep(chunk)).collect()
    }

    fn run_engine(&self, pixels: &[f32], batch: usize) -> Result<Vec<NamedTensor>, EngineError> {
        self.engine.run(&self.input.of_values(pixels, self.preprocessor.shape()), batch)
    }
}
