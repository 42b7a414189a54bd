//! Golden vectors of an exported file: test images with the scores that Burn computes for them.

use std::borrow::Cow;

use kiln_data::View;
use kiln_metrics::{argmax, softmax};
use kiln_model::Preprocessing;
use kiln_onnx::{Golden, GoldenVector};
use kiln_preprocess::{Preprocessor, RawImage, to_pixels};
use kiln_trainer::{Device, Predictor};

use crate::error::Result;
use crate::error::training::ExportRunError;
use crate::export::TrainedModel;
use crate::tolerance::tolerance;

/// Most images of a file: one of each class where there are not more.
const MOST: usize = 10;

/// Longest side in pixels; of larger images the middle is taken.
const SIDE: u32 = 256;

/// Most bytes of pixels in a file, a third more as base64, beyond the first image.
const BYTES: usize = 2 * 3 * (SIDE * SIDE) as usize;

/// Computes the golden vectors of a model as it will be exported, from the first test image of each
/// class.
pub fn vectors(trained: &TrainedModel, images: &View, data: &str) -> Result<Golden> {
    let device = Device::cpu();
    let burn = Predictor::new(&trained.model, &trained.weights, &device)?;
    let preparation = Preparation::new(trained)?;
    let tolerance = tolerance(&trained.model);
    let mut vectors: Vec<GoldenVector> = Vec::new();
    let mut bytes = 0;
    for index in first_of_each_class(images) {
        let image = images.dataset().image(index as usize)?;
        let (image, cut) = middle(image.as_raw());
        bytes += image.pixels.len();
        if bytes > BYTES && !vectors.is_empty() {
            break;
        }
        let logits = burn.logits(&preparation.run(image.borrow())?)?;
        // The logarithm of a probability is a logit less a sum of logits' exponentials: it moves by
        // both.
        let (tolerance, scores) = match (tolerance.of(&logits), trained.recipe.export.softmax) {
            (tolerance, true) => (2.0 * tolerance, softmax(&logits)),
            (tolerance, false) => (tolerance, logits),
        };
        let best = argmax(&scores).ok_or(ExportRunError::NotFinite)?;
        vectors.push(GoldenVector {
            source: format!(
                "{data}, image {index}{}",
                if cut { ", its middle" } else { "" }
            ),
            height: image.height,
            width: image.width,
            channels: image.channels,
            pixels: image.pixels.into_owned(),
            label: trained.labels[best].clone(),
            tolerance,
            scores,
        });
    }
    Ok(Golden {
        computed_by: format!("kiln {}, Burn, {device}", kiln_util::VERSION),
        vectors,
    })
}

/// Numbers in the dataset of the first image of each class, in the view's order.
fn first_of_each_class(images: &View) -> Vec<u32> {
    let mut seen = vec![false; images.dataset().classes().len()];
    let pairs = images.indices().iter().zip(images.labels());
    let first = pairs.filter(|&(_, label)| !std::mem::replace(&mut seen[label as usize], true));
    first.map(|(&index, _)| index).take(MOST).collect()
}

/// From pixels to the model's input.
struct Preparation {
    model: Preprocessor,
    /// For a graph of pixels: what makes them.
    pixels: Option<Preprocessor>,
}

impl Preparation {
    fn new(trained: &TrainedModel) -> Result<Self> {
        let record: &Preprocessing = trained.model.preprocessing();
        let pixels = trained
            .uint8_input
            .then(|| Preprocessor::new(record.pixels_only()))
            .transpose()?;
        Ok(Self {
            model: Preprocessor::new(record.clone())?,
            pixels,
        })
    }

    fn run(&self, image: RawImage<'_>) -> Result<Vec<f32>> {
        let mut input = vec![0.0; self.model.len()];
        let Some(preprocessor) = &self.pixels else {
            self.model.raw(image, &mut input)?;
            return Ok(input);
        };
        // What goes into the graph has 8 bits, rounded after resizing; the model's own
        // preprocessing does the rest.
        let mut resized = vec![0.0; preprocessor.len()];
        preprocessor.raw(image, &mut resized)?;
        let pixels = to_pixels(&resized, preprocessor.shape());
        let [channels, height, width] = preprocessor.shape().map(|size| size as u32);
        self.model.raw(
            RawImage {
                pixels: &pixels,
                height,
                width,
                channels,
            },
            &mut input,
        )?;
        Ok(input)
    }
}

/// An image or a part of one.
struct Part<'a> {
    pixels: Cow<'a, [u8]>,
    height: u32,
    width: u32,
    channels: u32,
}

impl Part<'_> {
    fn borrow(&self) -> RawImage<'_> {
        let Self {
            pixels,
            height,
            width,
            channels,
        } = self;
        RawImage {
            pixels,
            height: *height,
            width: *width,
            channels: *channels,
        }
    }
}

/// The middle of an image, at most `SIDE` pixels high and wide, and whether that is not all of it.
fn middle(image: RawImage<'_>) -> (Part<'_>, bool) {
    let RawImage {
        pixels, channels, ..
    } = image;
    let [height, width] = [image.height, image.width].map(|size| size.min(SIDE));
    if (height, width) == (image.height, image.width) {
        return (
            Part {
                pixels: Cow::Borrowed(pixels),
                height,
                width,
                channels,
            },
            false,
        );
    }
    let [top, left] =
        [(image.height - height) / 2, (image.width - width) / 2].map(|skipped| skipped as usize);
    let channels_of = |pixels: u32| pixels as usize * channels as usize;
    let rows = pixels
        .chunks_exact(channels_of(image.width))
        .skip(top)
        .take(height as usize);
    let row = |row: &'_ [u8]| row[left * channels as usize..][..channels_of(width)].to_vec();
    let pixels: Vec<u8> = rows.flat_map(row).collect();
    (
        Part {
            pixels: Cow::Owned(pixels),
            height,
            width,
            channels,
        },
        true,
    )
}

#[cfg(test)]
mod tests;
