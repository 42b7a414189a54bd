//! Any number of images through a model, with progress, with those that cannot be read set aside.

use std::ops::ControlFlow;

use kiln_inference::{Classified, Model, StreamOptions, StreamSummary};

use crate::commands::Context;
use crate::inputs::{Input, Inputs};
use crate::interrupt::{self, Polling};
use crate::sign_of_life::SignOfLife;
use crate::unreadable::Unreadable;
use kiln_util::counted;

/// What was done.
pub enum Ended {
    /// Every image was delivered, or set aside.
    Done(StreamSummary),
    /// The user stopped it.
    Interrupted,
}

/// Why the stream broke off.
enum Stop {
    Interrupted,
    Failed(anyhow::Error),
}

/// Runs the model over all inputs; `each` gets those that can be read, in order.
///
/// What cannot be read is counted and, with `--skip-bad`, listed when the command ends; without, it
/// is an error, but only when all else is done.
pub fn run(
    model: &Model,
    inputs: Inputs,
    options: &StreamOptions,
    context: &Context<'_>,
    mut each: impl FnMut(&Input, &Classified<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<Ended> {
    let (source, resumed) = (inputs.source.clone(), inputs.resumed);
    let engine = model.runtime().engine;
    let bar = context
        .terminal
        .progress(&format!("  Evaluating {engine}"), inputs.count);
    // The inputs themselves may fail, such as a list halfway: that error comes with the input and
    // not from preparing it.
    let prepare = |input: &anyhow::Result<Input>, out: &mut [f32]| match input {
        Ok(input) => input.prepare(model.preprocessor(), out).map_err(Some),
        Err(_) => Err(None),
    };
    let mut sign_of_life = SignOfLife::new();
    let mut unreadable = Unreadable::default();
    let mut lossy = 0;
    let polling = Polling::begin();
    let ended = model.stream(inputs, options, prepare, |input, result| {
        if interrupt::requested() {
            return ControlFlow::Break(Stop::Interrupted);
        }
        bar.inc(1);
        sign_of_life.follow(&bar, context.terminal);
        let input = match input {
            Ok(input) => input,
            Err(error) => return ControlFlow::Break(Stop::Failed(error)),
        };
        lossy += u64::from(input.is_lossy());
        match result {
            Ok(classified) => match each(&input, &classified) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => ControlFlow::Break(Stop::Failed(error)),
            },
            Err(reason) => {
                if let Some(reason) = reason {
                    unreadable.push(&reason);
                }
                ControlFlow::Continue(())
            }
        }
    });
    drop(polling);
    bar.finish_and_clear();
    if lossy > 0 {
        let text = format!(
            "{} not in UTF-8: the results have � for what is not",
            counted(lossy, "path")
        );
        context.terminal.status("Note", &text);
    }
    let summary = match ended? {
        ControlFlow::Break(Stop::Interrupted) => return Ok(Ended::Interrupted),
        ControlFlow::Break(Stop::Failed(error)) => return Err(error),
        ControlFlow::Continue(summary) => summary,
    };
    unreadable.settle(&source, summary.images, resumed, context)?;
    Ok(Ended::Done(summary))
}
