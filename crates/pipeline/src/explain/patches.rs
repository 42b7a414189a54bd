//! Occlusion: how much the probability of a class drops when a patch of the image is covered, patch by
//! patch.
//!
//! As in Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014. It needs nothing
//! of a model but its scores, so it works for any file on any engine.

use std::ops::Range;

use kiln_inference::{Device, Model, NotFinite, Picture, Preprocessor, RunError};
use kiln_preprocess::PreprocessError;
use serde::Serialize;

use super::{ExplainError, Method, Places, Prepared};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::event::Task;
use crate::inputs::{Input, InputsError};

/// The default patch has this share of the image's shorter side.
const SHARE: usize = 8;

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
    /// A drop of no more than this is not told from none.
    pub const NEGLIGIBLE: f32 = 0.01;

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

/// Covers patches of an image.
pub(super) struct Occlusion {
    pub places: Places,
    pub patches: Patches,
    pub batch_size: Option<usize>,
}

impl Method for Occlusion {
    fn places(&self) -> &Places {
        &self.places
    }

    fn task(&self) -> (Task<'static>, u64) {
        (Task::Explain, self.patches.count() as u64)
    }

    /// Covers the patches of an image one after the other.
    fn values(
        &self,
        model: &Model,
        image: &Prepared<'_>,
        context: &Context<'_>,
        advance: &dyn Fn(u64),
    ) -> Result<Option<Vec<f32>>> {
        let patches = &self.patches;
        let probability = image.whole.probabilities[image.class];
        let color = mean_color(&image.values, patches.height * patches.width);
        let covered = |number| Covered {
            values: &image.values,
            color: &color,
            place: patches.place(number),
            width: patches.width,
        };
        let batch = self.batch_size.unwrap_or(model.stream_batch_size());
        let mut drops = Vec::with_capacity(patches.count());
        while drops.len() < patches.count() {
            if context.cancel.is_cancelled() {
                return Ok(None);
            }
            let end = (drops.len() + batch).min(patches.count());
            let images: Vec<_> = (drops.len()..end).map(covered).collect();
            // What a model takes for a batch is not known from the first run, of fewer images.
            let watched = drops.is_empty() && model.runtime().device == Device::Cpu;
            let work = "the model's first batch";
            let watch =
                watched.then(|| context.watch(work, model.total_bytes(), images.len() as u64));
            let predictions = model
                .classify_batch(&images)
                .map_err(|error| name_image(error, image.input))?;
            drop(watch);
            drops.extend(
                predictions
                    .iter()
                    .map(|covered| probability - covered.probabilities[image.class]),
            );
            advance(images.len() as u64);
        }
        Ok(Some(drops))
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
