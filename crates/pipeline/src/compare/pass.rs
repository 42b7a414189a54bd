//! Both models over all images: what the first has done with an image goes on to the second.

use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};

use kiln_inference::{Classified, Model, StreamOptions, Unclassified};
use kiln_preprocess::PreprocessError;

use super::collected::{Collected, Said};
use super::{Comparison, check_classes};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::evaluate::{SkippedImages, check_label, evaluator, measured, score_kind};
use crate::event::{Task, TaskGuard};
use crate::inputs::{AllFindings, Input, Inputs};

/// Runs two models over labeled images, in batches of at most `batch_size`. Returns nothing if the
/// work was cancelled.
///
/// Both run at the same time, each as a [`Model::stream`]. Images are read once if both models
/// prepare them alike, else once for each model. What cannot be read is treated as in
/// [`classify`](crate::evaluate::classify).
pub fn compare(
    models: [&Model; 2],
    inputs: Inputs,
    batch_size: usize,
    context: &Context<'_>,
) -> Result<Option<Comparison>> {
    let [first, second] = models;
    check_classes(first.labels(), second.labels())?;
    let (source, findings) = (inputs.source.clone(), inputs.findings.clone());
    inputs.check_one_label()?;
    let _watch = context.cancel.watch();
    let pass = Pass {
        models,
        prepared_alike: first.preprocessing() == second.preprocessing(),
        task: context.task(Task::Compare, inputs.count),
        skipped: Mutex::default(),
        findings: &findings,
        context,
    };
    let evaluators = [evaluator(first)?, evaluator(second)?];
    let collected = Collected::new(evaluators, models.map(score_kind));
    // Few, since each may hold the values of an image.
    let (sender, receiver) = sync_channel(options(second, batch_size).batch_size.unwrap_or(1));
    let (ended, collected) = std::thread::scope(|scope| {
        let pass = &pass;
        let rest = scope.spawn(move || pass.second(receiver, batch_size, collected));
        let ended = pass.first(inputs, batch_size, sender);
        let collected = rest
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (ended, collected)
    });
    let is_done = ended?;
    let collected = collected?;
    let Pass { task, skipped, .. } = pass;
    drop(task);
    findings.tell(context);
    let Some(collected) = collected.filter(|_| is_done && !context.cancel.is_cancelled()) else {
        return Ok(None);
    };
    let skipped = skipped.into_inner().unwrap_or_else(PoisonError::into_inner);
    skipped.settle(&source, collected.images(), 0, context)?;
    Ok(Some(collected.finish()?))
}

/// Why an image has no scores; none where it is the input itself that failed.
type Reason = Unclassified<Option<PreprocessError>>;

/// An image on its way to the first model.
struct Item {
    input: Result<Input>,
    /// What the model gets of it, kept for the second model if that gets the same.
    values: OnceLock<Vec<f32>>,
}

/// An image that the first model has classified.
struct Classed {
    input: Input,
    values: Option<Vec<f32>>,
    predicted: usize,
    scores: Vec<f32>,
    probabilities: Vec<f32>,
}

/// Why a stream ended early.
enum Stop {
    /// The work was cancelled, or the other stream ended.
    Ended,
    Failed(Error),
}

struct Pass<'a> {
    models: [&'a Model; 2],
    prepared_alike: bool,
    task: TaskGuard<'a>,
    skipped: Mutex<SkippedImages>,
    findings: &'a AllFindings,
    context: &'a Context<'a>,
}

impl Pass<'_> {
    /// Runs the first model. Returns whether it went through all images.
    fn first(
        &self,
        inputs: Inputs,
        batch_size: usize,
        sender: SyncSender<Classed>,
    ) -> Result<bool> {
        let model = self.models[0];
        let items = inputs.map(|input| Item {
            input,
            values: OnceLock::new(),
        });
        // The inputs themselves may fail, such as a list halfway: that error comes with the input.
        let prepare = |item: &Item, out: &mut [f32]| {
            let input = item.input.as_ref().map_err(|_| None)?;
            let stays_turned = input.prepare(model.preprocessor(), out).map_err(Some)?;
            self.findings.add_turned(stays_turned);
            if self.prepared_alike {
                item.values.get_or_init(|| out.to_vec());
            }
            Ok(())
        };
        let each = move |item: Item, result: Result<Classified<'_>, Reason>| {
            if self.context.cancel.is_cancelled() {
                return ControlFlow::Break(Stop::Ended);
            }
            let input = item
                .input
                .and_then(|input| check_label(&input, model.labels().len()).map(|()| input));
            let input = match input {
                Ok(input) => input,
                Err(error) => return ControlFlow::Break(Stop::Failed(error)),
            };
            let classified = match result {
                Ok(classified) => classified,
                Err(reason) => {
                    self.skip(&input, reason);
                    return ControlFlow::Continue(());
                }
            };
            let sent = sender.send(Classed {
                input,
                values: item.values.into_inner(),
                predicted: classified.predicted(),
                scores: measured(&classified, model).to_vec(),
                probabilities: classified.probabilities.to_vec(),
            });
            // Nobody receives it where the second model has failed.
            match sent {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(Stop::Ended),
            }
        };
        match model.stream(items, &options(model, batch_size), prepare, each)? {
            ControlFlow::Continue(_) => Ok(true),
            ControlFlow::Break(Stop::Ended) => Ok(false),
            ControlFlow::Break(Stop::Failed(error)) => Err(error),
        }
    }

    /// Runs the second model over what the first has classified, and collects what both say;
    /// nothing if the work was cancelled.
    fn second(
        &self,
        receiver: Receiver<Classed>,
        batch_size: usize,
        mut collected: Collected,
    ) -> Result<Option<Collected>> {
        let model = self.models[1];
        let prepare = |item: &Classed, out: &mut [f32]| {
            if let Some(values) = &item.values {
                out.copy_from_slice(values);
                return Ok(());
            }
            let prepared = item.input.prepare(model.preprocessor(), out);
            // What the first model has not counted.
            prepared
                .map(|stays_turned| {
                    self.findings
                        .add_turned(stays_turned && self.models[0].preprocessing().orientation);
                })
                .map_err(Some)
        };
        let each = |item: Classed, result: Result<Classified<'_>, Unclassified<_>>| {
            if self.context.cancel.is_cancelled() {
                return ControlFlow::Break(Stop::Ended);
            }
            let classified = match result {
                Ok(classified) => classified,
                Err(reason) => {
                    self.skip(&item.input, reason);
                    return ControlFlow::Continue(());
                }
            };
            self.task.advance(1);
            let said = [
                Said {
                    predicted: item.predicted,
                    scores: &item.scores,
                    probabilities: &item.probabilities,
                },
                Said {
                    predicted: classified.predicted(),
                    scores: measured(&classified, model),
                    probabilities: classified.probabilities,
                },
            ];
            match collected.push(&item.input, said) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(Stop::Failed(error)),
            }
        };
        let ended = model.stream(
            receiver.into_iter(),
            &options(model, batch_size),
            prepare,
            each,
        )?;
        match ended {
            ControlFlow::Continue(_) => Ok(Some(collected)),
            ControlFlow::Break(Stop::Ended) => Ok(None),
            ControlFlow::Break(Stop::Failed(error)) => Err(error),
        }
    }

    fn skip(&self, input: &Input, reason: Reason) {
        self.task.advance(1);
        let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        match reason {
            Unclassified::Prepare(Some(reason)) => skipped.push(reason),
            Unclassified::Prepare(None) => {}
            Unclassified::NotFinite(reason) => skipped.push_not_finite(input, reason),
        }
    }
}

/// Batches as a stream chooses them, unless smaller ones are asked for: every thread has one of its
/// own.
fn options(model: &Model, batch_size: usize) -> StreamOptions {
    // A graph whose batch size is fixed runs at that size.
    let fixed = model.spec().batch;
    let chosen = fixed.unwrap_or_else(|| model.stream_batch_size().min(batch_size.max(1)));
    StreamOptions::default().with_batch_size(chosen)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use kiln_inference::image::{DynamicImage, GrayImage};
    use kiln_inference::{Channels, ModelOverrides, Options, OutputKind, Preprocessing};
    use kiln_onnx::{Dim, GraphBuilder};

    use super::*;
    use crate::assets::CachedAssets;
    use crate::evaluate::{EvaluateOptions, evaluate};
    use crate::inputs::MemoryImage;

    /// Number of images: several batches, the last of which is short.
    const IMAGES: u8 = 200;

    /// A model whose scores are the two pixels of an image, times a factor.
    fn model(scale: f32) -> Model {
        let record = Preprocessing {
            scale,
            ..Preprocessing::raw(1, 2, Channels::Gray)
        };
        let mut graph = GraphBuilder::new("pixels");
        graph
            .input("x", Dim::batched(record.shape()))
            .output("y", Dim::batched([2]));
        graph.node("Flatten", "flatten", &["x"], "y");
        let bytes = kiln_onnx::encode(&graph.finish().unwrap());
        let declared = ModelOverrides {
            output: Some(OutputKind::Logits),
            ..record.into()
        };
        let options = Options::default().with_threads(2).with_declared(declared);
        Model::from_bytes(&bytes, &options).unwrap()
    }

    /// Images of which two in three have their class's pixel brighter, and two cannot be read.
    fn images() -> Inputs {
        let image = |at: u8| -> (MemoryImage, Option<u32>) {
            let label = u32::from(at % 2);
            if at == 70 || at == 150 {
                return (b"nothing".to_vec().into(), Some(label));
            }
            let bright = if at.is_multiple_of(3) {
                1 - label
            } else {
                label
            };
            let pixels = [at + u8::from(bright == 0), at + u8::from(bright == 1)];
            let image = GrayImage::from_raw(2, 1, pixels.to_vec()).unwrap();
            (DynamicImage::ImageLuma8(image).into(), Some(label))
        };
        Inputs::from_images("mine", (0..IMAGES).map(image))
    }

    fn with_context<R>(skip: bool, work: impl FnOnce(&Context<'_>) -> R) -> R {
        let folder = tempfile::tempdir().unwrap();
        let assets = CachedAssets::new(kiln_assets::Cache::at(folder.path()), true);
        work(&Context::new(&assets, &()).skip_unreadable(skip))
    }

    #[test]
    fn figures_are_those_of_each_model_alone() {
        with_context(true, |context| {
            let (same, opposite) = (model(1.0), model(-1.0));
            let alone = |model: &Model| {
                let options = EvaluateOptions::default();
                evaluate(
                    model,
                    images(),
                    &options,
                    context,
                    |_, _| Ok::<_, Error>(()),
                )
                .unwrap()
                .unwrap()
                .evaluation
            };
            for (models, differing) in [
                ([&same, &same], 0),
                ([&same, &opposite], u64::from(IMAGES) - 2),
            ] {
                let comparison = compare(models, images(), 16, context).unwrap().unwrap();
                assert_eq!(comparison.evaluations, models.map(alone));
                assert_eq!(comparison.paired.images(), u64::from(IMAGES) - 2);
                assert_eq!(comparison.differences.len() as u64, differing);
            }
        });
    }

    #[test]
    fn what_cannot_be_read_is_an_error_or_skipped() {
        let both = [&model(1.0), &model(-1.0)];
        let message = with_context(false, |context| {
            compare(both, images(), 16, context)
                .unwrap_err()
                .to_string()
        });
        assert!(message.contains("2 of 200 images of `mine`"), "{message}");
        let skipped = with_context(true, |context| {
            compare(both, images(), 16, context).unwrap();
            context.files.skipped()
        });
        assert_eq!(skipped.count, 2);
    }

    #[test]
    fn a_list_that_fails_halfway_and_a_cancellation_end_both_models() {
        let both = [&model(1.0), &model(-1.0)];
        with_context(false, |context| {
            let lines: Vec<String> = (0..500).map(|at| format!("{at}.png,0\n")).collect();
            let list = format!("path,label\n{}no.png,2\n", lines.concat());
            let classes = both[0].labels();
            let list = std::io::Cursor::new(list);
            let inputs = Inputs::from_list("list", list, Path::new(""), classes).unwrap();
            let message = compare(both, inputs, 16, context).unwrap_err().to_string();
            assert!(message.contains("has the class `2`"), "{message}");
            context.cancel.cancel();
            assert!(compare(both, images(), 16, context).unwrap().is_none());
        });
    }
}
