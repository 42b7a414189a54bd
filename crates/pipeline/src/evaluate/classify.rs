//! Any number of images through a model, with those set aside that cannot be read or for which the model
//! gives no number.

use std::ops::ControlFlow;

use kiln_data::FilesError;
use kiln_inference::{
    Classified, Device, Model, NotFinite, RunError, StreamOptions, StreamSummary, Unclassified,
};

use crate::context::Context;
use crate::error::{Error, Result};
use crate::event::{Event, Task};
use crate::inputs::{Input, Inputs, InputsError};

/// Most images that are listed.
const LISTED: usize = 20;

/// Why a stream ended early.
enum Stop<E> {
    Cancelled,
    Failed(E),
}

/// Classifies all inputs; `each` gets those that can be read and have finite scores, in order. Returns
/// nothing if the work was cancelled.
///
/// What cannot be classified is an error, but only when all else is done; with
/// [`Context::skip_unreadable`] it is listed in the context.
///
/// ```no_run
/// use kiln_pipeline::evaluate::classify;
/// use kiln_pipeline::inputs::Inputs;
/// # use kiln_pipeline::{CachedAssets, Context};
///
/// # let (assets, observer) = (CachedAssets::from_env()?, ());
/// # let context = Context::new(&assets, &observer);
/// let model = kiln_inference::Model::open("model.onnx").expect("a model");
/// let paths = Inputs::from_paths("photos", &b"cat.png\ndog.png\n"[..]);
/// classify(&model, paths, &Default::default(), &context, |input, classified| {
///     println!("{}: {}", input.path().unwrap_or_default(), classified.prediction().label);
///     Ok::<_, kiln_pipeline::Error>(())
/// })?;
/// # Ok::<(), kiln_pipeline::Error>(())
/// ```
pub fn classify<E: From<Error>>(
    model: &Model,
    inputs: Inputs,
    options: &StreamOptions,
    context: &Context<'_>,
    mut each: impl FnMut(&Input, &Classified<'_>) -> Result<(), E>,
) -> Result<Option<StreamSummary>, E> {
    let engine = model.runtime().engine.name();
    let task = context.task(Task::Evaluate { engine }, inputs.count);
    let classes = model.labels().len();
    run_through(model, inputs, options, context, |input, classified| {
        task.advance(1);
        check_label(input, classes)?;
        classified.map_or(Ok(()), |classified| each(input, classified))
    })
}

/// Runs all inputs through a model, as [`classify`] does, within the task of the caller; `each` hears
/// of those that cannot be classified too. Labels may be any.
pub(crate) fn run_through<E: From<Error>>(
    model: &Model,
    inputs: Inputs,
    options: &StreamOptions,
    context: &Context<'_>,
    mut each: impl FnMut(&Input, Option<&Classified<'_>>) -> Result<(), E>,
) -> Result<Option<StreamSummary>, E> {
    let (source, resumed) = (inputs.source.clone(), inputs.resumed());
    let findings = inputs.findings.clone();
    // The inputs themselves may fail, such as a list halfway: that error comes with the input and
    // not from preparing it.
    let prepare = |input: &Result<Input, Error>, out: &mut [f32]| match input {
        // Nothing more is computed; `each` is not told of it either.
        _ if context.cancel.is_cancelled() => Err(None),
        Ok(input) => {
            let stays_turned = input.prepare(model.preprocessor(), out);
            stays_turned
                .map_err(Some)
                .map(|stays_turned| findings.add_turned(stays_turned))
        }
        Err(_) => Err(None),
    };
    let mut skipped = SkippedImages::default();
    let mut first_run = {
        let batch = options.batch_size.unwrap_or(model.stream_batch_size()) as u64;
        // A batch for each session, of which there are no more than threads, unless all is a single one.
        let batches = batch.saturating_mul(model.runtime().threads as u64);
        let images = batches.min(inputs.count.unwrap_or(u64::MAX));
        // A GPU's libraries alone take gigabytes.
        let watched = model.runtime().device == Device::Cpu;
        watched.then(|| context.watch("the model's first run", model.total_bytes(), images))
    };
    let mut lossy = 0;
    let watch = context.cancel.watch();
    let options = options.clone().with_cancel(context.cancel.clone());
    let ended = model.stream(inputs, &options, prepare, |input, result| {
        first_run = None;
        if context.cancel.is_cancelled() {
            return ControlFlow::Break(Stop::Cancelled);
        }
        let input = match input {
            Ok(input) => input,
            Err(error) => return ControlFlow::Break(Stop::Failed(error.into())),
        };
        lossy += u64::from(input.is_lossy());
        let heard = match result {
            Ok(classified) => each(&input, Some(&classified)),
            Err(reason) => {
                match reason {
                    Unclassified::Prepare(Some(reason)) => skipped.push(reason),
                    Unclassified::Prepare(None) => {}
                    Unclassified::NotFinite(reason) => skipped.push_not_finite(&input, reason),
                }
                each(&input, None)
            }
        };
        match heard {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(Stop::Failed(error)),
        }
    });
    drop(watch);
    note_lossy(lossy, context);
    findings.tell(context);
    if matches!(ended, Err(RunError::Cancelled)) {
        return Ok(None);
    }
    let summary = match ended.map_err(Error::from)? {
        ControlFlow::Break(Stop::Cancelled) => return Ok(None),
        ControlFlow::Break(Stop::Failed(error)) => return Err(error),
        ControlFlow::Continue(summary) => summary,
    };
    skipped.settle(&source, summary.images, resumed, context)?;
    Ok(Some(summary))
}

/// Refuses a label that is no class of the model.
pub(crate) fn check_label(input: &Input, classes: usize) -> Result<(), Error> {
    match input.label {
        Some(label) if label as usize >= classes => Err(InputsError::Label {
            index: input.index,
            label,
            classes,
        }
        .into()),
        _ => Ok(()),
    }
}

/// Tells of paths that are not UTF-8, if there are any.
fn note_lossy(paths: u64, context: &Context<'_>) {
    if paths > 0 {
        context.emit(&Event::LossyPaths { paths });
    }
}

/// How many images were skipped, and what is wrong with the first of them.
#[derive(Debug, Default)]
pub struct SkippedImages {
    count: u64,
    /// Those among them whose scores are not finite.
    not_finite: u64,
    reasons: Vec<String>,
    /// What is wrong with the first, as it was.
    first: Option<Error>,
}

impl SkippedImages {
    /// Takes note of an image.
    pub fn push(&mut self, reason: impl Into<Error>) {
        let reason = reason.into();
        self.count += 1;
        if self.reasons.len() < LISTED {
            self.reasons.push(reason.to_string());
        }
        self.first.get_or_insert(reason);
    }

    /// Takes note of an image for which the model gives NaN or an infinity.
    pub fn push_not_finite(&mut self, input: &Input, reason: NotFinite) {
        self.not_finite += 1;
        self.push(InputsError::NotFinite {
            image: input.name(),
            reason,
        });
    }

    /// Ends the work, when `read` images of the source could be classified and `resumed` more had their
    /// predictions already: the others are an error, or with [`Context::skip_unreadable`]
    /// listed in the context. That there are none but these is an error in any case.
    pub fn settle(
        self,
        source: &impl ToString,
        read: u64,
        resumed: u64,
        context: &Context<'_>,
    ) -> Result<()> {
        let (name, others) = (source.to_string(), read + resumed);
        let Some(first) = self.first else {
            return Ok(());
        };
        if self.not_finite > 0 {
            if others == 0 && self.not_finite == self.count && self.count > 1 {
                return Err(InputsError::NothingFinite {
                    images: self.count,
                    source_name: name,
                }
                .into());
            }
            if !context.files.skips_unreadable() && self.count > 1 {
                let mut examples = self.reasons;
                examples.truncate(FilesError::EXAMPLES);
                return Err(InputsError::Unclassified {
                    bad: self.count,
                    total: read + self.count,
                    source_name: name,
                    examples,
                }
                .into());
            }
            if !context.files.skips_unreadable() || others == 0 {
                return Err(first);
            }
        }
        if !context.files.skips_unreadable() {
            if (self.count, others) == (1, 0) {
                return Err(first);
            }
            let mut examples = self.reasons;
            examples.truncate(FilesError::EXAMPLES);
            return Err(FilesError::Unreadable {
                name,
                bad: self.count,
                total: read + self.count,
                examples,
            }
            .into());
        }
        if others == 0 {
            return Err(FilesError::NothingReadable {
                name,
                example: first.to_string(),
            }
            .into());
        }
        context.files.skip(self.count, self.reasons);
        Ok(())
    }
}
