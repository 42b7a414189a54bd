//! Where a model looks: how much the probability of a class drops when a patch of the image is covered,
//! patch by patch.
//!
//! Occlusion, as in Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014. It
//! needs nothing of a model but its scores, so it works for any file on any engine.

use std::ops::Range;

use kiln_inference::{
    Device, Model, NotFinite, Picture, Prediction, Preprocessor, RunError, StreamOptions,
};
use kiln_preprocess::PreprocessError;
use serde::Serialize;

use crate::context::Context;
pub use crate::error::models::ExplainError;
use crate::error::{Error, Result};
use crate::evaluate::run_through;
use crate::event::Task;
use crate::inputs::{Input, Inputs, InputsError};

/// The default patch has this share of the image's shorter side.
const SHARE: usize = 8;

/// What is explained, and how finely.
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

/// The squares of an image that are covered, one after the other. Together they cover every pixel: the
/// last row and column of patches lie flush with the image's edge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Patches {
    /// Height of the model's input in pixels.
    pub height: usize,
    /// Its width in pixels.
    pub width: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Pixels from one patch to the next, but for the last.
    pub stride: usize,
    /// The first row of pixels of each row of patches.
    pub rows: Vec<usize>,
    /// The first column of pixels of each column of patches.
    pub columns: Vec<usize>,
}

impl Patches {
    /// Lays patches over an image of `[height, width]` pixels, of the default size and stride where those are
    /// not given.
    ///
    /// # Errors
    ///
    /// A patch of no pixels or larger than the image, or a stride that is 0 or would leave pixels between
    /// patches.
    pub fn new(
        [height, width]: [usize; 2],
        patch: Option<usize>,
        stride: Option<usize>,
    ) -> Result<Self, ExplainError> {
        let shorter = height.min(width);
        let patch = patch.unwrap_or_else(|| shorter.div_ceil(SHARE));
        if patch == 0 || patch > shorter {
            return Err(ExplainError::Patch {
                patch,
                height,
                width,
            });
        }
        let stride = stride.unwrap_or_else(|| (patch / 2).max(1));
        if stride == 0 || stride > patch {
            return Err(ExplainError::Stride { stride, patch });
        }
        let starts = |side: usize| {
            let last = side - patch;
            (0..last).step_by(stride).chain([last]).collect()
        };
        Ok(Self {
            height,
            width,
            patch,
            stride,
            rows: starts(height),
            columns: starts(width),
        })
    }

    /// Returns the number of patches, at least 1.
    pub const fn count(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    /// Returns the rows and columns of pixels of a patch, by its number from 0, counted row by row.
    pub fn place(&self, number: usize) -> [Range<usize>; 2] {
        let across = self.columns.len();
        let starts = [self.rows[number / across], self.columns[number % across]];
        starts.map(|start| start..start + self.patch)
    }

    /// Returns the mean drop of the patches that cover each pixel, `[height, width]`, from the drop of each
    /// patch.
    pub fn map(&self, drops: &[f32]) -> Vec<f32> {
        let mut sums = vec![(0.0_f64, 0_u32); self.height * self.width];
        for (number, &drop) in drops.iter().enumerate() {
            let [rows, columns] = self.place(number);
            for row in rows {
                for (sum, count) in &mut sums[row * self.width..][columns.clone()] {
                    *sum += f64::from(drop);
                    *count += 1;
                }
            }
        }
        let mean = |(sum, count): (f64, u32)| (sum / f64::from(count.max(1))) as f32;
        sums.into_iter().map(mean).collect()
    }
}

/// How the probability of a class depends on the places of an image.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// Name of the class.
    pub label: String,
    /// Its place among the labels, from 0.
    pub index: usize,
    /// Its probability for the whole image, 0 to 1.
    pub probability: f32,
    /// What is subtracted from the probability by covering each patch, -1 to 1: negative where covering
    /// it makes the class more probable. In the order of [`Patches::place`].
    pub drops: Vec<f32>,
}

impl Explanation {
    /// A drop of no more than this is not told from none.
    pub const NEGLIGIBLE: f32 = 0.01;

    /// Returns the number and the drop of the patch whose drop is the largest, the first of equals.
    pub fn largest(&self) -> (usize, f32) {
        let first = (0, self.drops.first().copied().unwrap_or_default());
        let drops = self.drops.iter().copied().enumerate();
        drops.fold(
            first,
            |most, found| {
                if found.1 > most.1 { found } else { most }
            },
        )
    }

    /// Returns the same, if the drop is not [negligible](Self::NEGLIGIBLE): else no single place decides, and what
    /// the other places show suffices for the class.
    pub fn decisive(&self) -> Option<(usize, f32)> {
        Some(self.largest()).filter(|(_, drop)| *drop > Self::NEGLIGIBLE)
    }
}

/// Explains what a model makes of images.
pub struct Explainer<'a> {
    model: &'a Model,
    patches: Patches,
    class: Option<usize>,
    batch_size: Option<usize>,
}

impl<'a> Explainer<'a> {
    /// Checks a request against a model.
    ///
    /// # Errors
    ///
    /// A class that the model does not have, or patches that do not fit its images.
    pub fn new(model: &'a Model, request: &ExplainRequest) -> Result<Self, ExplainError> {
        let [_, height, width] = model.preprocessor().shape();
        let class = request.class.as_deref();
        Ok(Self {
            model,
            patches: Patches::new([height, width], request.patch, request.stride)?,
            class: class
                .map(|class| find_class(class, model.labels()))
                .transpose()?,
            batch_size: request.batch_size,
        })
    }

    /// Returns where patches are put on every image.
    pub const fn patches(&self) -> &Patches {
        &self.patches
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
        let patches = self.patches.count() as u64;
        let task = context.task(Task::Explain, inputs.count.map(|count| count * patches));
        let options = StreamOptions::default().with_batch_size(self.batch_size);
        let summary = run_through(
            self.model,
            inputs,
            &options,
            context,
            |input, classified| {
                let Some(classified) = classified else {
                    task.advance(patches);
                    return Ok(());
                };
                let whole = classified.prediction();
                match self.cover(input, &whole, context, |done| task.advance(done))? {
                    Some(explanation) => each(input, &explanation),
                    None => Ok(()),
                }
            },
        )?;
        let whole = |_: &_| !context.cancel.is_cancelled();
        Ok(summary.filter(whole).map(|summary| summary.images))
    }

    /// Covers the patches of an image one after the other. Returns nothing if the work was cancelled.
    fn cover(
        &self,
        input: &Input,
        whole: &Prediction,
        context: &Context<'_>,
        advance: impl Fn(u64),
    ) -> Result<Option<Explanation>> {
        let model = self.model;
        let index = self.class.unwrap_or(whole.index);
        let probability = whole.probabilities[index];
        let mut values = vec![0.0; model.preprocessor().len()];
        input.prepare(model.preprocessor(), &mut values)?;
        let color = mean_color(&values, self.patches.height * self.patches.width);
        let covered = |number| Covered {
            values: &values,
            color: &color,
            place: self.patches.place(number),
            width: self.patches.width,
        };
        let batch = self.batch_size.unwrap_or(model.stream_batch_size());
        let mut drops = Vec::with_capacity(self.patches.count());
        while drops.len() < self.patches.count() {
            if context.cancel.is_cancelled() {
                return Ok(None);
            }
            let end = (drops.len() + batch).min(self.patches.count());
            let images: Vec<_> = (drops.len()..end).map(covered).collect();
            // What a model takes for a batch is not known from the first run, of fewer images.
            let watched = drops.is_empty() && model.runtime().device == Device::Cpu;
            let work = "the model's first batch";
            let watch =
                watched.then(|| context.watch(work, model.total_bytes(), images.len() as u64));
            let predictions = model
                .classify_batch(&images)
                .map_err(|error| name_image(error, input))?;
            drop(watch);
            drops.extend(
                predictions
                    .iter()
                    .map(|covered| probability - covered.probabilities[index]),
            );
            advance(images.len() as u64);
        }
        Ok(Some(Explanation {
            label: model.labels()[index].clone(),
            index,
            probability,
            drops,
        }))
    }
}

/// The mean of each plane of `area` values.
fn mean_color(values: &[f32], area: usize) -> Vec<f32> {
    let mean = |plane: &[f32]| {
        let sum: f64 = plane.iter().copied().map(f64::from).sum();
        (sum / area as f64) as f32
    };
    values.chunks_exact(area).map(mean).collect()
}

/// Names the image that a number that is not finite is of, rather than its place in a batch of patches.
fn name_image(error: RunError, input: &Input) -> Error {
    match error {
        RunError::OutputValue { name, value, .. } => {
            let reason = NotFinite {
                output: name,
                value: value.to_string(),
            };
            let image = format!("{} with a part of it covered", input.name());
            InputsError::NotFinite { image, reason }.into()
        }
        error => error.into(),
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

/// A prepared image with a patch in one color.
struct Covered<'a> {
    /// `[channels, height, width]`.
    values: &'a [f32],
    /// A value for each channel.
    color: &'a [f32],
    /// Rows and columns.
    place: [Range<usize>; 2],
    width: usize,
}

impl Picture for Covered<'_> {
    fn prepare(&self, _: &Preprocessor, out: &mut [f32]) -> Result<(), PreprocessError> {
        out.copy_from_slice(self.values);
        let area = out.len() / self.color.len();
        let [rows, columns] = &self.place;
        for (plane, color) in out.chunks_exact_mut(area).zip(self.color) {
            for row in plane
                .chunks_exact_mut(self.width)
                .skip(rows.start)
                .take(rows.len())
            {
                row[columns.clone()].fill(*color);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn explanation(drops: &[f32]) -> Explanation {
        Explanation {
            label: "cat".into(),
            index: 0,
            probability: 0.9,
            drops: drops.to_vec(),
        }
    }

    #[test]
    fn patches_are_an_eighth_of_the_shorter_side_and_overlap_by_half() {
        let patches = Patches::new([224, 320], None, None).unwrap();
        assert_eq!((patches.patch, patches.stride), (28, 14));
        assert_eq!((patches.rows.len(), patches.columns.len()), (15, 22));
        // The last column is flush with the edge, nearer to the one before it than the stride.
        assert_eq!(patches.columns[20..], [280, 292]);
        assert_eq!(patches.place(21), [0..28, 292..320]);
        assert_eq!(patches.place(22), [14..42, 0..28]);
        let digits = Patches::new([28, 28], None, None).unwrap();
        assert_eq!((digits.patch, digits.stride, digits.count()), (4, 2, 169));
        let tiny = Patches::new([1, 1], None, None).unwrap();
        assert_eq!((tiny.patch, tiny.stride, tiny.count()), (1, 1, 1));
    }

    #[test]
    fn patches_that_do_not_fit_or_leave_gaps_are_refused() {
        let error = |patch, stride| {
            let error = Patches::new([28, 40], patch, stride).unwrap_err();
            (error.to_string(), error.hint().is_some())
        };
        for (patch, stride, text) in [
            (Some(29), None, "29 x 29 pixels does not fit into 28 x 40"),
            (Some(0), None, "0 x 0 pixels"),
            (Some(4), Some(5), "a stride of 5 pixels"),
            (None, Some(0), "a stride of 0 pixels"),
        ] {
            let (message, has_hint) = error(patch, stride);
            assert!(message.contains(text) && has_hint, "{message}");
        }
        assert_eq!(
            Patches::new([28, 40], Some(28), Some(28)).unwrap().count(),
            2
        );
    }

    #[test]
    fn a_pixel_has_the_mean_of_the_patches_over_it() {
        // Patches at columns 0 and 1 of three: the middle pixel is below both.
        let patches = Patches::new([2, 3], Some(2), Some(1)).unwrap();
        assert_eq!(patches.map(&[0.5, -0.25]), [0.5, 0.125, -0.25].repeat(2));
    }

    #[test]
    fn the_largest_drop_is_the_first_of_equals_and_may_be_negative() {
        assert_eq!(explanation(&[0.1, 0.4, -0.9, 0.4]).largest(), (1, 0.4));
        assert_eq!(explanation(&[0.1, 0.4]).decisive(), Some((1, 0.4)));
        assert_eq!(explanation(&[-0.2, -0.1]).largest(), (1, -0.1));
        assert_eq!(explanation(&[0.0, 0.01]).decisive(), None);
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

    #[test]
    fn a_patch_has_the_mean_color_of_its_channel() {
        let values: Vec<f32> = (0..18).map(|value| value as f32).collect();
        let color = mean_color(&values, 9);
        assert_eq!(color, [4.0, 13.0]);
        let covered = Covered {
            values: &values,
            color: &color,
            place: [1..3, 0..2],
            width: 3,
        };
        let record = kiln_model::Preprocessing::unit(3, 3, kiln_model::Channels::Gray);
        let mut out = vec![0.0; 18];
        covered
            .prepare(&Preprocessor::new(record).unwrap(), &mut out)
            .unwrap();
        let expected = [
            0.0, 1.0, 2.0, 4.0, 4.0, 5.0, 4.0, 4.0, 8.0, //
            9.0, 10.0, 11.0, 13.0, 13.0, 14.0, 13.0, 13.0, 17.0,
        ];
        assert_eq!(out, expected);
    }

    fn sizes() -> impl Strategy<Value = (Patches, [usize; 2])> {
        let sides = (1_usize..24, 1_usize..24);
        sides
            .prop_flat_map(|(height, width)| {
                let patch = 1..=height.min(width);
                (Just([height, width]), patch, 0..height, 0..width)
            })
            .prop_flat_map(|(size, patch, row, column)| {
                (1..=patch).prop_map(move |stride| {
                    let patches = Patches::new(size, Some(patch), Some(stride)).unwrap();
                    (patches, [row, column])
                })
            })
    }

    proptest! {
        /// The score depends on one pixel only: covering it takes all of it.
        #[test]
        fn the_map_of_one_pixel_is_positive_exactly_below_the_patches_over_it((patches, [row, column]) in sizes()) {
            let covers = |number: usize, [row, column]: [usize; 2]| {
                let [rows, columns] = patches.place(number);
                rows.contains(&row) && columns.contains(&column)
            };
            let pixel = [row, column];
            let drops: Vec<f32> = (0..patches.count()).map(|number| f32::from(u8::from(covers(number, pixel)))).collect();
            prop_assert!(drops.contains(&1.0), "every pixel is covered");
            let map = patches.map(&drops);
            prop_assert!((map[row * patches.width + column] - 1.0).abs() < 1e-6, "only patches over it count");
            for (at, value) in map.iter().enumerate() {
                let other = [at / patches.width, at % patches.width];
                let shared = (0..patches.count()).any(|number| covers(number, pixel) && covers(number, other));
                prop_assert_eq!(*value > 0.0, shared, "{:?} by {:?}", other, pixel);
                prop_assert!((0.0..=1.0).contains(value));
            }
        }
    }
}
