//! What came of images.

use std::ffi::{CString, c_char};
use std::ptr::null;
use std::sync::Arc;

use crate::door::quietly;
use crate::error::c_string;
use crate::labels::Labels;

/// What came of the images of a call, in their order.
pub struct Results {
    predictions: Vec<Prediction>,
    /// What the predictions point to.
    _owned: Vec<Owned>,
    _labels: Arc<Labels>,
}

/// What came of one image. Fields may be added at the end in later versions; the library makes it, so that a program need not
/// know its size.
#[repr(C)]
pub struct Prediction {
    /// Why the image has no prediction, a sentence; NULL where it has one. Then all numbers are 0 and all other pointers NULL.
    pub error: *const c_char,
    /// Number of classes: that of probabilities, scores and the ranking.
    pub classes: usize,
    /// The predicted class: its place among the labels, from 0.
    pub index: usize,
    /// Its name.
    pub label: *const c_char,
    /// Its probability, 0 to 1.
    pub probability: f32,
    /// The probability of each class, in the order of the labels. A model with one score has two classes, of which the score is
    /// the second's.
    pub probabilities: *const f32,
    /// What the graph gave for each class, in the same order: logits or probabilities, as `output` of the model's information
    /// says; of a model of features, those.
    pub scores: *const f32,
    /// The places of all classes, the predicted one first, then by probability, the largest first.
    pub ranking: *const usize,
    /// The places of the classes that the image has, the most probable first: where classes exclude each other the predicted one,
    /// else those whose probability exceeds their threshold, any number of them.
    pub chosen: *const usize,
    /// Number of classes that the image has.
    pub chosen_count: usize,
    /// Seconds from the image to the model's input; in a batch, this image's share of it.
    pub preprocess_seconds: f64,
    /// Seconds in the graph; in a batch, this image's share of it.
    pub inference_seconds: f64,
}

/// Numbers and text of one prediction.
struct Owned {
    _error: Option<CString>,
    _values: [Vec<f32>; 2],
    _places: [Vec<usize>; 2],
}

impl Results {
    /// Of each image, its prediction or why there is none.
    pub fn new(
        labels: Arc<Labels>,
        found: impl IntoIterator<Item = Result<kiln_inference::Prediction, String>>,
    ) -> Self {
        let pairs = found.into_iter().map(|found| match found {
            Ok(prediction) => predicted(prediction, &labels),
            Err(reason) => failed(&reason),
        });
        let (predictions, owned) = pairs.unzip();
        Self {
            predictions,
            _owned: owned,
            _labels: labels,
        }
    }
}

fn predicted(prediction: kiln_inference::Prediction, labels: &Labels) -> (Prediction, Owned) {
    let places = |classes: Vec<kiln_inference::Ranked<'_>>| -> Vec<usize> {
        classes.into_iter().map(|class| class.index).collect()
    };
    let ranking = places(prediction.top_k(labels.count()));
    let chosen = places(prediction.chosen());
    let kiln_inference::Prediction {
        index,
        probability,
        probabilities,
        scores,
        timings,
        ..
    } = prediction;
    let found = Prediction {
        error: null(),
        classes: probabilities.len(),
        index,
        label: labels.get(index),
        probability,
        probabilities: probabilities.as_ptr(),
        scores: scores.as_ptr(),
        ranking: ranking.as_ptr(),
        chosen: chosen.as_ptr(),
        chosen_count: chosen.len(),
        preprocess_seconds: timings.preprocess.as_secs_f64(),
        inference_seconds: timings.inference.as_secs_f64(),
    };
    let owned = Owned {
        _error: None,
        _values: [probabilities, scores],
        _places: [ranking, chosen],
    };
    (found, owned)
}

fn failed(reason: &str) -> (Prediction, Owned) {
    let error = c_string(reason);
    let found = Prediction {
        error: error.as_ptr(),
        classes: 0,
        index: 0,
        label: null(),
        probability: 0.0,
        probabilities: null(),
        scores: null(),
        ranking: null(),
        chosen: null(),
        chosen_count: 0,
        preprocess_seconds: 0.0,
        inference_seconds: 0.0,
    };
    let owned = Owned {
        _error: Some(error),
        _values: [Vec::new(), Vec::new()],
        _places: [Vec::new(), Vec::new()],
    };
    (found, owned)
}

/// Returns the number of images that results are of. Of NULL it is 0.
///
/// # Safety
///
/// `results` is NULL, or comes from a function of this library and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_results_count(results: *const Results) -> usize {
    // SAFETY: as the caller promises.
    unsafe { results.as_ref() }.map_or(0, |results| results.predictions.len())
}

/// Returns what came of one image, counted from 0, valid until the results are freed. NULL where there is no such image.
///
/// # Safety
///
/// `results` is NULL, or comes from a function of this library and was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_results_get(
    results: *const Results,
    image: usize,
) -> *const Prediction {
    // SAFETY: as the caller promises.
    unsafe { results.as_ref() }
        .and_then(|results| results.predictions.get(image))
        .map_or(null(), std::ptr::from_ref)
}

/// Frees results. NULL is fine.
///
/// # Safety
///
/// `results` is NULL, or comes from a function of this library, was not freed, and is not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_results_free(results: *mut Results) {
    if !results.is_null() {
        // SAFETY: results of this library's, made by `Output::give`, which nobody else frees.
        quietly(|| drop(unsafe { Box::from_raw(results) }));
    }
}
