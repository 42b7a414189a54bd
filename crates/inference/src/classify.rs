//! From images to predictions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use image::DynamicImage;
use kiln_preprocess::{PreprocessError, RawImage};
use rayon::prelude::*;

use crate::error::RunError;
use crate::model::Model;
use crate::prediction::{Prediction, Timings};

impl Model {
    /// Classifies an image.
    ///
    /// # Errors
    ///
    /// Returns why the image cannot be prepared, the engine's failure, or scores that are not usable.
    pub fn classify(&self, image: &DynamicImage) -> Result<Prediction, RunError> {
        let predictions = self.classify_batch(std::slice::from_ref(image))?;
        Ok(predictions
            .into_iter()
            .next()
            .expect("one image gives one prediction"))
    }

    /// Classifies a batch of images; the predictions are in the order of the images.
    ///
    /// # Errors
    ///
    /// As [`classify`](Self::classify), with the index of the first image at fault.
    pub fn classify_batch(&self, images: &[DynamicImage]) -> Result<Vec<Prediction>, RunError> {
        self.classify_with(images, |image, out| self.preprocessor.image(image, out))
    }

    /// Classifies a batch of raw pixels; the predictions are in the order of the images.
    ///
    /// # Errors
    ///
    /// As [`classify`](Self::classify), with the index of the first image at fault.
    pub fn classify_raw_batch(&self, images: &[RawImage<'_>]) -> Result<Vec<Prediction>, RunError> {
        self.classify_with(images, |image, out| self.preprocessor.raw(*image, out))
    }

    fn classify_with<T: Sync>(
        &self,
        images: &[T],
        prepare: impl Fn(&T, &mut [f32]) -> Result<(), PreprocessError> + Sync,
    ) -> Result<Vec<Prediction>, RunError> {
        let (pixels, preprocess) = self.prepare(images, prepare)?;
        let scores = self.run(&pixels, images.len())?;
        let inference = scores.inference / u32::try_from(images.len().max(1)).unwrap_or(u32::MAX);
        let probabilities = scores.probabilities();
        let rows = scores
            .rows()
            .zip(probabilities.chunks_exact(scores.classes))
            .zip(preprocess);
        let predict = |((scores, row), preprocess): ((&[f32], &[f32]), _)| {
            Prediction::new(
                Arc::clone(&self.labels),
                scores.to_vec(),
                row.to_vec(),
                Timings {
                    preprocess,
                    inference,
                },
            )
        };
        Ok(rows.map(predict).collect())
    }

    /// Returns the model's input for a batch of images, and how long each took.
    pub(crate) fn prepare<T: Sync>(
        &self,
        images: &[T],
        prepare: impl Fn(&T, &mut [f32]) -> Result<(), PreprocessError> + Sync,
    ) -> Result<(Vec<f32>, Vec<Duration>), RunError> {
        let size = self.preprocessor.len();
        let mut pixels = vec![0.0; images.len() * size];
        let timed = |(index, (image, out)): (usize, (&T, &mut [f32]))| {
            let start = Instant::now();
            prepare(image, out).map_err(|reason| RunError::Preprocess { index, reason })?;
            Ok(start.elapsed())
        };
        let preprocess: Vec<Result<Duration, RunError>> = if let [image] = images {
            // Without the detour over another thread.
            vec![timed((0, (image, &mut pixels)))]
        } else {
            let work = || {
                images
                    .par_iter()
                    .zip(pixels.par_chunks_mut(size))
                    .enumerate()
                    .map(timed)
                    .collect()
            };
            self.on_threads(work)
        };
        // The first error by place in the batch, not by time.
        let preprocess = preprocess.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok((pixels, preprocess))
    }
}
