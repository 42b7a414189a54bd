//! The values of activations on calibration images.

use std::collections::BTreeMap;

use kiln_inference::{Model, NamedTensor};
use kiln_onnx::ModelFile;
use kiln_quantize::{Observer, Prepared};
use rayon::prelude::*;

use super::{Judged, QuantizeRequest, load};
use crate::context::Context;
use crate::error::Result;
use crate::error::models::QuantizeModelError;
use crate::evaluate::SkippedImages;
use crate::event::Task;
use crate::inputs::{Input, Inputs};

/// Images that the model is run on at once.
const BATCH: usize = 8;

/// Images that layers are judged by, at most.
pub const JUDGED: usize = 64;

/// What was observed.
pub struct Observed {
    pub observers: BTreeMap<String, Observer>,
    pub judged: Judged,
    /// Images that were read.
    pub images: usize,
}

/// Runs a prepared model on images. Returns nothing if the work was cancelled.
pub fn observe(
    prepared: &Prepared,
    inputs: Inputs,
    request: &QuantizeRequest,
    context: &Context<'_>,
) -> Result<Option<Observed>> {
    let (proto, names) = prepared.observable();
    let file = ModelFile::from_bytes(kiln_onnx::encode(&proto));
    let model = load(&file, &request.engine, context)?;
    let source = inputs.source.clone();
    let images = chosen(inputs, request.images)?;
    let mut collected = Collected {
        observers: BTreeMap::new(),
        judged: Judged {
            pixels: Vec::new(),
            scores: Vec::new(),
            images: 0,
        },
        images: 0,
        skipped: SkippedImages::default(),
    };
    let task = context.task(Task::Calibrate, Some(images.len() as u64));
    let watch = context.cancel.watch();
    for batch in images.chunks(BATCH) {
        if context.cancel.is_cancelled() {
            return Ok(None);
        }
        collected.batch(&model, batch, prepared, &names)?;
        task.advance(batch.len() as u64);
    }
    drop(watch);
    let images = collected.images as u64;
    collected.skipped.settle(&source, images, 0, context)?;
    if images == 0 {
        let data = source.to_string();
        return Err(QuantizeModelError::NoImages { data }.into());
    }
    Ok(Some(Observed {
        images: collected.images,
        observers: collected.observers,
        judged: collected.judged,
    }))
}

/// At most so many images, at equal distances in the order of the source, so that all classes of a folder are among
/// them.
fn chosen(inputs: Inputs, most: usize) -> Result<Vec<Input>> {
    let count = inputs.count.map(|count| count as usize);
    let Some(count) = count.filter(|count| *count > most) else {
        return inputs.take(most).collect();
    };
    let mut next = 0;
    let mut taken = Vec::with_capacity(most);
    for (at, input) in inputs.enumerate() {
        if at == next * count / most && next < most {
            taken.push(input?);
            next += 1;
        }
    }
    Ok(taken)
}

struct Collected {
    observers: BTreeMap<String, Observer>,
    judged: Judged,
    images: usize,
    skipped: SkippedImages,
}

impl Collected {
    fn batch(
        &mut self,
        model: &Model,
        batch: &[Input],
        prepared: &Prepared,
        names: &[String],
    ) -> Result<()> {
        let preprocessor = model.preprocessor();
        let size = preprocessor.len();
        let read: Vec<_> = batch
            .par_iter()
            .map(|input| {
                let mut values = vec![0.0; size];
                input.prepare(preprocessor, &mut values).map(|_| values)
            })
            .collect();
        let mut pixels = Vec::with_capacity(batch.len() * size);
        let mut images = 0;
        for values in read {
            match values {
                Ok(values) => {
                    pixels.extend(values);
                    images += 1;
                }
                Err(reason) => self.skipped.push(reason),
            }
        }
        if images == 0 {
            return Ok(());
        }
        let outputs = model.run_named(&pixels, images)?;
        let scores = &outputs[0];
        if self.judged.images < JUDGED {
            let more = images.min(JUDGED - self.judged.images);
            let each = scores.data.len() / images;
            self.judged.pixels.extend_from_slice(&pixels[..more * size]);
            self.judged
                .scores
                .extend_from_slice(&scores.data[..more * each]);
            self.judged.images += more;
        }
        self.images += images;
        let [channels, ..] = preprocessor.shape();
        let [_, height, width] = preprocessor.shape();
        let shape = vec![images, channels, height, width];
        let input = NamedTensor {
            name: String::new(),
            shape,
            data: pixels,
        };
        self.observe(prepared, &outputs, names, &input)
    }

    fn observe(
        &mut self,
        prepared: &Prepared,
        outputs: &[NamedTensor],
        names: &[String],
        input: &NamedTensor,
    ) -> Result<()> {
        let own = outputs.len() - names.len();
        let further: BTreeMap<&str, &NamedTensor> = names
            .iter()
            .map(String::as_str)
            .zip(&outputs[own..])
            .collect();
        for name in prepared.observed() {
            // The graph's own input is not among its outputs.
            let value = further.get(name.as_str()).copied().unwrap_or(input);
            let (channels, inner) = channels(&value.shape);
            let new = || Observer::new(channels, inner);
            self.observers.entry(name).or_insert_with(new);
        }
        let pushed = self.observers.par_iter_mut().map(|(name, observer)| {
            let value = further.get(name.as_str()).copied().unwrap_or(input);
            observer.push(name, &value.data)
        });
        pushed
            .collect::<Result<(), _>>()
            .map_err(QuantizeModelError::Quantize)?;
        Ok(())
    }
}

/// The channels of a value, and the axes behind them: feature maps have the channels first, vectors and tokens last.
fn channels(shape: &[usize]) -> (usize, &[usize]) {
    match shape {
        [_, channels, inner @ ..] if shape.len() >= 4 => (*channels, inner),
        [.., channels] => (*channels, &[]),
        [] => (1, &[]),
    }
}
