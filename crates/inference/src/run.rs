//! Running a batch of prepared inputs.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use kiln_spec::Layout;
use rayon::prelude::*;

use crate::chunks::{Chunk, concatenate};
use crate::engine::{EngineError, Lane, NamedTensor};
use crate::error::RunError;
use crate::model::Model;
use crate::scores::Scores;

impl Model {
    /// The scores of `images` prepared images: `pixels` is `[images, channels, height, width]` in row-major order.
    pub fn run(&self, pixels: &[f32], images: usize) -> Result<Scores, RunError> {
        let start = Instant::now();
        let outputs = self.run_named(pixels, images)?;
        self.scores(outputs, images, start.elapsed())
    }

    /// The same on a lane: on this thread, and those of the lane if it has any.
    pub(crate) fn run_on(&self, lane: &mut dyn Lane, pixels: &[f32], images: usize) -> Result<Scores, RunError> {
        self.check_input(pixels, images)?;
        let start = Instant::now();
        let mut parts = Vec::new();
        for chunk in lane.chunks(images) {
            parts.push(self.run_chunk(pixels, &chunk, |input, batch| lane.run(input, batch))?);
        }
        self.scores(concatenate(parts)?, images, start.elapsed())
    }

    /// The first output, checked.
    fn scores(&self, outputs: Vec<NamedTensor>, images: usize, inference: Duration) -> Result<Scores, RunError> {
        let classes = self.labels.len();
        let kind = self.output_kind();
        let Some(scores) = outputs.into_iter().next() else {
            return Ok(Scores { data: Vec::new(), classes, kind, inference });
        };
        let NamedTensor { name, shape, data } = scores;
        if !matches!(shape.as_slice(), [n, c, rest @ ..] if [*n, *c] == [images, classes] && rest.iter().all(|&n| n == 1))
        {
            return Err(RunError::OutputShape { name, expected: [images, classes], found: shape });
        }
        if let Some(at) = data.iter().position(|value| !value.is_finite()) {
            return Err(RunError::OutputValue { name, index: at / classes, value: data[at] });
        }
        Ok(Scores { data, classes, kind, inference })
    }

    /// Every output of the graph for `images` prepared images, in the graph's order, to compare layer by layer.
    /// Each has the batch as its first axis. No images, no outputs.
    pub fn run_named(&self, pixels: &[f32], images: usize) -> Result<Vec<NamedTensor>, RunError> {
        self.check_input(pixels, images)?;
        let chunks = self.engine.chunks(images);
        let run = |chunk: &Chunk| self.run_chunk(pixels, chunk, |input, batch| self.engine.run(input, batch));
        let parts = if let [only] = chunks.as_slice() {
            vec![run(only)?]
        } else {
            self.on_threads(|| chunks.par_iter().map(run).collect::<Result<Vec<_>, _>>())?
        };
        Ok(concatenate(parts)?)
    }

    fn check_input(&self, pixels: &[f32], images: usize) -> Result<(), RunError> {
        let (size, shape) = (self.preprocessor.len(), self.preprocessor.shape());
        let expected = images.saturating_mul(size);
        if pixels.len() != expected {
            return Err(RunError::InputLength { images, shape, expected, found: pixels.len() });
        }
        match pixels.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(RunError::InputValue { index: at / size, value: pixels[at] }),
            None => Ok(()),
        }
    }

    /// One run of the engine, with zeros in place of the images that the chunk has too few.
    fn run_chunk(
        &self,
        pixels: &[f32],
        chunk: &Chunk,
        mut run: impl FnMut(&[f32], usize) -> Result<Vec<NamedTensor>, EngineError>,
    ) -> Result<Vec<NamedTensor>, EngineError> {
        let size = self.preprocessor.len();
        let mut input = Cow::Borrowed(&pixels[chunk.start * size..][..chunk.images * size]);
        if self.contract().layout == Layout::Nhwc {
            input = Cow::Owned(channels_last(&input, self.preprocessor.shape()));
        }
        if chunk.images < chunk.batch {
            input.to_mut().resize(chunk.batch * size, 0.0);
        }
        let outputs = run(&input, chunk.batch)?;
        outputs.into_iter().map(|output| output.keep(chunk)).collect()
    }
}

/// From `[images, channels, height, width]` to `[images, height, width, channels]`.
fn channels_last(images: &[f32], [channels, height, width]: [usize; 3]) -> Vec<f32> {
    let area = height * width;
    let mut out = vec![0.0; images.len()];
    for (image, out) in images.chunks_exact(channels * area).zip(out.chunks_exact_mut(channels * area)) {
        for (channel, plane) in image.chunks_exact(area).enumerate() {
            for (pixel, &value) in out.chunks_exact_mut(channels).zip(plane) {
                pixel[channel] = value;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_go_last_image_by_image() {
        let images: Vec<f32> = (0..24_u8).map(f32::from).collect();
        let out = channels_last(&images, [3, 2, 2]);
        let first = [0.0, 4.0, 8.0, 1.0, 5.0, 9.0, 2.0, 6.0, 10.0, 3.0, 7.0, 11.0];
        assert_eq!(out[..12], first);
        assert_eq!(out[12..], first.map(|value| value + 12.0));
    }
}
