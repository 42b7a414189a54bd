//! From images to predictions: each is a class, probabilities, scores and timings.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_metrics::argmax;
use kiln_preprocess::{Picture, PreprocessError, RawImage};
use rayon::prelude::*;

use crate::error::RunError;
use crate::model::Model;
use crate::spec::ModelSpec;

impl Model {
    /// Classifies an image: a decoded file ([`open_image`](crate::open_image),
    /// [`decode_image`](crate::decode_image)) or pixels.
    ///
    /// # Errors
    ///
    /// Returns why the image cannot be prepared, the engine's failure, or scores that are not usable.
    pub fn classify<P: Picture>(&self, image: &P) -> Result<Prediction, RunError> {
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
    pub fn classify_batch<P: Picture>(&self, images: &[P]) -> Result<Vec<Prediction>, RunError> {
        self.classify_with(images, |image, out| image.prepare(&self.preprocessor, out))
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
        let (mut pixels, preprocess) = self.prepare(images, prepare)?;
        let scores = self
            .classified(&mut pixels, |pixels| self.run_any(pixels, images.len()))?
            .finite()?;
        let inference = scores.inference / u32::try_from(images.len().max(1)).unwrap_or(u32::MAX);
        let probabilities = scores.probabilities();
        let rows = scores
            .rows()
            .zip(probabilities.chunks_exact(scores.classes))
            .zip(preprocess);
        let predict = |((scores, row), preprocess): ((&[f32], &[f32]), _)| {
            Prediction::new(
                Arc::clone(&self.classes),
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

/// A prediction for one image: class, probabilities, scores and timings.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// The most probable class.
    pub label: String,
    /// Its place among the labels, from 0. Of equal scores the first.
    pub index: usize,
    /// Its probability, 0 to 1.
    pub probability: f32,
    /// The probability of every class, in the order of the labels.
    pub probabilities: Vec<f32>,
    /// What the graph gave for every class, in the same order: logits or probabilities, as
    /// [`Model::output_kind`] says.
    ///
    /// [`Model::output_kind`]: crate::Model::output_kind
    pub scores: Vec<f32>,
    /// Where the time went.
    pub timings: Timings,
    classes: Arc<Classes>,
}

/// The classes of a model, and what makes an image one of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Classes {
    pub labels: Vec<String>,
    /// As in [`ModelSpec::thresholds`](crate::ModelSpec::thresholds).
    thresholds: Vec<f32>,
    has_several: bool,
}

impl Classes {
    pub fn new(spec: &ModelSpec) -> Self {
        Self {
            labels: spec.labels.clone(),
            thresholds: spec.thresholds.clone(),
            has_several: spec.has_several(),
        }
    }

    /// The predicted class: that of the largest score, since rounding can make two probabilities equal; or of
    /// two classes with one score the second, if its probability exceeds the threshold.
    pub fn predicted(&self, scores: &[f32], probabilities: &[f32]) -> usize {
        match (self.has_several, self.thresholds.as_slice()) {
            (false, [threshold]) => usize::from(probabilities[1] > *threshold),
            _ => argmax(scores).unwrap_or_default(),
        }
    }

    /// The classes whose probability exceeds their threshold, or the predicted one of classes that exclude
    /// each other.
    pub fn chosen(&self, scores: &[f32], probabilities: &[f32]) -> Vec<usize> {
        if !self.has_several {
            return vec![self.predicted(scores, probabilities)];
        }
        let pairs = probabilities.iter().zip(&self.thresholds).enumerate();
        pairs
            .filter(|(_, (probability, threshold))| probability > threshold)
            .map(|(class, _)| class)
            .collect()
    }
}

/// Where the time went for one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    /// From the image to the model's input.
    pub preprocess: Duration,
    /// The graph; in a batch, this image's equal share of it.
    pub inference: Duration,
}

/// A class and its probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranked<'a> {
    /// Name of the class.
    pub label: &'a str,
    /// Its place among the labels, from 0.
    pub index: usize,
    /// Its probability, 0 to 1.
    pub probability: f32,
}

impl Prediction {
    /// `scores` and `probabilities` have one value per label, at least one.
    pub(crate) fn new(
        classes: Arc<Classes>,
        scores: Vec<f32>,
        probabilities: Vec<f32>,
        timings: Timings,
    ) -> Self {
        let index = classes.predicted(&scores, &probabilities);
        let (label, probability) = (classes.labels[index].clone(), probabilities[index]);
        Self {
            label,
            index,
            probability,
            probabilities,
            scores,
            timings,
            classes,
        }
    }

    /// Returns the classes that the image has, the most probable first: those whose probability exceeds their
    /// threshold, any number of them, where each class has one by itself (a sigmoid for each); else the
    /// predicted class alone.
    pub fn chosen(&self) -> Vec<Ranked<'_>> {
        let chosen = self.classes.chosen(&self.scores, &self.probabilities);
        let mut ranked = self.top_k(self.probabilities.len());
        ranked.retain(|class| chosen.contains(&class.index));
        ranked
    }

    /// Returns the `k` most probable classes, the predicted one first, then by probability; of equals the
    /// one with the lower index first.
    pub fn top_k(&self, k: usize) -> Vec<Ranked<'_>> {
        let labels = &self.classes.labels;
        let all = labels.iter().zip(&self.probabilities).enumerate();
        let mut ranked: Vec<_> = all
            .map(|(index, (label, &probability))| Ranked {
                label,
                index,
                probability,
            })
            .collect();
        // Of two classes with a threshold, the predicted one need not be the more probable.
        let key = |class: &Ranked<'_>| (class.index == self.index, class.probability);
        ranked.sort_by(|a, b| {
            let ((a_first, a), (b_first, b)) = (key(a), key(b));
            b_first.cmp(&a_first).then(b.total_cmp(&a))
        });
        ranked.truncate(k);
        ranked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(thresholds: &[f32]) -> Arc<Classes> {
        Arc::new(Classes {
            labels: ["cat", "dog", "emu"].map(str::to_owned).to_vec(),
            thresholds: thresholds.to_vec(),
            has_several: thresholds.len() > 1,
        })
    }

    fn prediction(probabilities: &[f32]) -> Prediction {
        Prediction::new(
            classes(&[]),
            probabilities.to_vec(),
            probabilities.to_vec(),
            Timings::default(),
        )
    }

    #[test]
    fn the_most_probable_class_wins_and_the_first_of_equals() {
        let dog = prediction(&[0.2, 0.5, 0.3]);
        assert_eq!(
            (dog.label.as_str(), dog.index, dog.probability),
            ("dog", 1, 0.5)
        );
        assert_eq!(prediction(&[0.4, 0.2, 0.4]).label, "cat");
    }

    #[test]
    fn where_probabilities_are_equal_scores_decide() {
        let prediction = Prediction::new(
            classes(&[]),
            vec![30.0, 31.0, 0.0],
            vec![0.5, 0.5, 0.0],
            Timings::default(),
        );
        let ranked: Vec<_> = prediction
            .top_k(3)
            .iter()
            .map(|ranked| ranked.label)
            .collect();
        assert_eq!(
            (prediction.label.as_str(), ranked),
            ("dog", vec!["dog", "cat", "emu"])
        );
    }

    #[test]
    fn of_classes_by_themselves_those_over_their_threshold_are_chosen() {
        let probabilities = vec![0.3, 0.9, 0.5];
        let prediction = Prediction::new(
            classes(&[0.2, 0.5, 0.5]),
            probabilities.clone(),
            probabilities,
            Timings::default(),
        );
        let chosen: Vec<_> = prediction
            .chosen()
            .iter()
            .map(|class| class.label)
            .collect();
        assert_eq!(chosen, ["dog", "cat"], "the most probable first");
        assert_eq!(prediction.label, "dog");
    }

    #[test]
    fn the_second_of_two_classes_takes_more_than_the_threshold() {
        let classes = classes(&[0.75]);
        assert_eq!(classes.predicted(&[0.25, 0.75], &[0.25, 0.75]), 0);
        assert_eq!(classes.predicted(&[0.2, 0.8], &[0.2, 0.8]), 1);
        assert_eq!(classes.chosen(&[0.25, 0.75], &[0.25, 0.75]), [0]);
    }

    #[test]
    fn top_k_is_sorted_and_never_longer_than_the_labels() {
        let prediction = prediction(&[0.2, 0.4, 0.4]);
        let labels = |k| {
            prediction
                .top_k(k)
                .iter()
                .map(|ranked| ranked.label)
                .collect::<Vec<_>>()
        };
        assert_eq!(labels(2), ["dog", "emu"]);
        assert_eq!(labels(9), ["dog", "emu", "cat"]);
        assert!(labels(0).is_empty());
    }
}
