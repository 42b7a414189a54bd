//! Where a model looks: which places of an image a class depends on.
//!
//! By default a place is a patch, and its value how much the probability of the class drops when the patch
//! is covered ([`Patches`]), which needs nothing but scores. For a model that was trained here it can also be a
//! place of a layer's feature maps ([`Cells`]), and its value how much that speaks for the class, by gradients,
//! with the feature `training`.

mod cells;
#[cfg(feature = "training")]
mod gradients;
mod patches;

use std::ops::Range;

use kiln_inference::{Model, Prediction, StreamOptions};
use serde::Serialize;

pub use self::cells::Cells;
#[cfg(feature = "training")]
use self::gradients::Gradients;
#[cfg(feature = "training")]
pub use self::gradients::RunGradients;
use self::patches::Occlusion;
pub use self::patches::Patches;
use crate::context::Context;
pub use crate::error::models::ExplainError;
use crate::error::{Error, Result};
use crate::evaluate::run_through;
use crate::event::Task;
use crate::inputs::{Input, Inputs};

/// What is explained by covering patches, and how finely.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ExplainRequest {
    /// Name of the class to explain, or its number from 0; the predicted class of each image if not
    /// given.
    pub class: Option<String>,
    /// Side of the square patch in pixels of the model's input; an eighth of the shorter side,
    /// rounded up, if not given.
    pub patch: Option<usize>,
    /// Pixels from one patch to the next, at most the patch's side; half of it if not given.
    pub stride: Option<usize>,
    /// Patches per batch; 64, or fewer of large images, if not given.
    pub batch_size: Option<usize>,
}

/// The places of an image that have a value each, and what the value is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "method")]
#[non_exhaustive]
pub enum Places {
    /// Patches that are covered: what is subtracted from the probability by covering each, -1 to 1, negative
    /// where covering it makes the class more probable.
    #[serde(rename = "occlusion")]
    Patches(Patches),
    /// Places of feature maps: how much each speaks for the class, from 0, in units of the class's logit.
    #[serde(rename = "grad-cam")]
    Cells(Cells),
}

impl Places {
    /// Returns the number of places, at least 1.
    pub const fn count(&self) -> usize {
        match self {
            Self::Patches(patches) => patches.count(),
            Self::Cells(cells) => cells.count(),
        }
    }

    /// Returns the rows and columns of pixels of a place, by its number from 0, counted row by row.
    pub fn place(&self, number: usize) -> [Range<usize>; 2] {
        match self {
            Self::Patches(patches) => patches.place(number),
            Self::Cells(cells) => cells.place(number),
        }
    }

    /// Returns a value for each pixel of the model's input, `[height, width]`, from that of each place: the
    /// mean of the patches that cover it, or what lies between the centers of cells.
    pub fn map(&self, values: &[f32]) -> Vec<f32> {
        match self {
            Self::Patches(patches) => patches.map(values),
            Self::Cells(cells) => cells.map(values),
        }
    }

    /// Returns the largest value that is not told from none.
    pub const fn negligible(&self) -> f32 {
        match self {
            Self::Patches(_) => Patches::NEGLIGIBLE,
            Self::Cells(_) => 0.0,
        }
    }
}

/// How a class depends on the places of an image.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// Name of the class.
    pub label: String,
    /// Its place among the labels, from 0.
    pub index: usize,
    /// Its probability for the whole image, 0 to 1.
    pub probability: f32,
    /// The value of each place, in the order of [`Places::place`].
    pub values: Vec<f32>,
}

impl Explanation {
    /// Returns the number and the value of the place whose value is the largest, the first of equals.
    pub fn largest(&self) -> (usize, f32) {
        let first = (0, self.values.first().copied().unwrap_or_default());
        let values = self.values.iter().copied().enumerate();
        values.fold(
            first,
            |most, found| {
                if found.1 > most.1 { found } else { most }
            },
        )
    }

    /// Returns the same, if the value is not [negligible](Places::negligible): else no single place decides, and
    /// what the other places show suffices for the class.
    pub fn decisive(&self, places: &Places) -> Option<(usize, f32)> {
        Some(self.largest()).filter(|(_, value)| *value > places.negligible())
    }
}

/// A way to find out on which places of an image a class depends.
trait Method {
    fn places(&self) -> &Places;

    /// What it is as a task, and the task's steps for each image.
    fn task(&self) -> (Task<'static>, u64);

    /// Returns the value of each place; nothing if the work was cancelled.
    fn values(
        &self,
        model: &Model,
        image: &Prepared<'_>,
        context: &Context<'_>,
        advance: &dyn Fn(u64),
    ) -> Result<Option<Vec<f32>>>;
}

/// An image to explain.
struct Prepared<'a> {
    input: &'a Input,
    /// As the model takes it, `[channels, height, width]`.
    values: Vec<f32>,
    /// What the model makes of it.
    whole: Prediction,
    /// The class to explain.
    class: usize,
}

/// Explains what a model makes of images.
pub struct Explainer<'a> {
    model: &'a Model,
    method: Box<dyn Method + 'a>,
    class: Option<usize>,
    batch_size: Option<usize>,
}

impl<'a> Explainer<'a> {
    /// Checks a request against a model, whose images are to be covered patch by patch.
    ///
    /// # Errors
    ///
    /// A class that the model does not have, or patches that do not fit its images.
    pub fn new(model: &'a Model, request: &ExplainRequest) -> Result<Self, ExplainError> {
        let [_, height, width] = model.preprocessor().shape();
        let patches = Patches::new([height, width], request.patch, request.stride)?;
        let occlusion = Occlusion {
            places: Places::Patches(patches.clone()),
            patches,
            batch_size: request.batch_size,
        };
        let by = Self::by(model, Box::new(occlusion), request.class.as_deref())?;
        Ok(Self {
            batch_size: request.batch_size,
            ..by
        })
    }

    /// Explains the model of a run by gradients: a class of this name or number from 0, or else the predicted
    /// class of each image.
    ///
    /// # Errors
    ///
    /// A class that the model does not have.
    #[cfg(feature = "training")]
    pub fn by_gradients(run: &'a RunGradients, class: Option<&str>) -> Result<Self, ExplainError> {
        Self::by(run.model(), Box::new(Gradients::of(run)), class)
    }

    fn by(
        model: &'a Model,
        method: Box<dyn Method + 'a>,
        class: Option<&str>,
    ) -> Result<Self, ExplainError> {
        let class = class
            .map(|class| find_class(class, model.labels()))
            .transpose()?;
        Ok(Self {
            model,
            method,
            class,
            batch_size: None,
        })
    }

    /// Returns which places have a value.
    pub fn places(&self) -> &Places {
        self.method.places()
    }

    /// Explains all inputs; `each` gets those that can be read, in order. Returns the number of images, or
    /// nothing if the work was cancelled.
    ///
    /// What cannot be read is treated as by [`classify`](crate::evaluate::classify).
    pub fn explain<E: From<Error>>(
        &self,
        inputs: Inputs,
        context: &Context<'_>,
        mut each: impl FnMut(&Input, &Explanation) -> Result<(), E>,
    ) -> Result<Option<u64>, E> {
        let (task, steps) = self.method.task();
        let task = context.task(task, inputs.count.map(|count| count * steps));
        let options = StreamOptions::default().with_batch_size(self.batch_size);
        let summary = run_through(
            self.model,
            inputs,
            &options,
            context,
            |input, classified| {
                let Some(classified) = classified else {
                    task.advance(steps);
                    return Ok(());
                };
                let advance = |done| task.advance(done);
                match self.explain_one(input, classified.prediction(), context, &advance)? {
                    Some(explanation) => each(input, &explanation),
                    None => Ok(()),
                }
            },
        )?;
        let whole = |_: &_| !context.cancel.is_cancelled();
        Ok(summary.filter(whole).map(|summary| summary.images))
    }

    fn explain_one(
        &self,
        input: &Input,
        whole: Prediction,
        context: &Context<'_>,
        advance: &dyn Fn(u64),
    ) -> Result<Option<Explanation>> {
        let preprocessor = self.model.preprocessor();
        let mut values = vec![0.0; preprocessor.len()];
        input.prepare(preprocessor, &mut values)?;
        let index = self.class.unwrap_or(whole.index);
        let image = Prepared {
            input,
            values,
            whole,
            class: index,
        };
        let values = self.method.values(self.model, &image, context, advance)?;
        Ok(values.map(|values| Explanation {
            label: self.model.labels()[index].clone(),
            index,
            probability: image.whole.probabilities[index],
            values,
        }))
    }
}

/// Finds a class by its name, or by its number where no class has that name.
fn find_class(class: &str, labels: &[String]) -> Result<usize, ExplainError> {
    if let Some(index) = labels.iter().position(|label| label == class) {
        return Ok(index);
    }
    if let Some(index) = class.parse().ok().filter(|&index| index < labels.len()) {
        return Ok(index);
    }
    let names: Vec<&str> = labels.iter().map(String::as_str).collect();
    // No number is meant by another.
    let near = match class.parse::<i64>() {
        Ok(_) => None,
        Err(_) => kiln_util::closest(class, &names),
    };
    Err(ExplainError::Class {
        class: class.into(),
        near: near.map(str::to_owned),
        classes: labels.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explanation(drops: &[f32]) -> Explanation {
        Explanation {
            label: "cat".into(),
            index: 0,
            probability: 0.9,
            values: drops.to_vec(),
        }
    }

    #[test]
    fn the_largest_value_is_the_first_of_equals_and_may_be_negative() {
        let patches = Places::Patches(Patches::new([8, 8], Some(4), Some(4)).unwrap());
        assert_eq!(explanation(&[0.1, 0.4, -0.9, 0.4]).largest(), (1, 0.4));
        assert_eq!(explanation(&[0.1, 0.4]).decisive(&patches), Some((1, 0.4)));
        assert_eq!(explanation(&[-0.2, -0.1]).largest(), (1, -0.1));
        assert_eq!(explanation(&[0.0, 0.01]).decisive(&patches), None);
        let cells = Places::Cells(Cells {
            layer: "conv2d".into(),
            height: 8,
            width: 8,
            rows: 1,
            columns: 2,
        });
        assert_eq!(explanation(&[0.0, 0.01]).decisive(&cells), Some((1, 0.01)));
        assert_eq!(explanation(&[0.0, 0.0]).decisive(&cells), None);
    }

    #[test]
    fn a_class_is_named_or_numbered() {
        let labels = ["cat", "dog", "0"].map(str::to_owned);
        let found = |class| find_class(class, &labels).unwrap();
        assert_eq!(
            [found("dog"), found("1"), found("0")],
            [1, 1, 2],
            "names come first"
        );
        for (class, text) in [
            ("dgo", "no class `dgo`: did you mean `dog`?"),
            ("3", "no class `3`"),
            ("-1", "no class `-1`"),
            ("mouse", "no class `mouse`"),
        ] {
            let error = find_class(class, &labels).unwrap_err();
            assert!(error.to_string().ends_with(text), "{error}");
        }
    }
}
