//! `kiln predict`.

mod inputs;

use std::fmt::Write;

use kiln_inference::{Model, Prediction};
use serde::Serialize;

use super::Context;
use crate::args::PredictArgs;
use crate::receipt::ReceiptRecord;
use crate::terminal::percent;
use crate::{Outcome, declare, engines, interrupt};
use inputs::Input;

/// Images decoded at a time: enough for the engines to share out, few enough that memory stays flat.
const BATCH: usize = 64;

/// The first line: what all others were computed on.
#[derive(Serialize)]
struct Header {
    runtime: ReceiptRecord,
}

#[derive(Serialize)]
struct Record<'a> {
    image: &'a str,
    label: &'a str,
    index: usize,
    probability: f32,
    top: Vec<Top<'a>>,
}

#[derive(Serialize)]
struct Top<'a> {
    label: &'a str,
    index: usize,
    probability: f32,
}

pub fn run(args: &PredictArgs, context: &Context<'_>) -> anyhow::Result<Outcome> {
    let inputs = inputs::expand(&args.images)?;
    let model = engines::load(&args.model, &args.engine, context.threads, &context.assets.cache)?;
    declare::note_numbers(&model, context.terminal);
    let header = Header { runtime: ReceiptRecord::from(model.receipt()) };
    if header.runtime.fallback().is_some() {
        engines::announce(&header.runtime, context.terminal);
    }
    if args.json {
        context.terminal.print(&format!("{}\n", serde_json::to_string(&header)?))?;
    }
    for batch in inputs.chunks(BATCH) {
        if interrupt::requested() {
            return Ok(Outcome::Interrupted);
        }
        let mut text = String::new();
        for (input, prediction) in batch.iter().zip(classify(&model, batch)?) {
            let top_k = usize::from(args.top_k);
            if args.json {
                writeln!(text, "{}", serde_json::to_string(&record(input.name(), &prediction, top_k))?)?;
            } else {
                writeln!(text, "{}", line(input.name(), &prediction, top_k))?;
            }
        }
        context.terminal.print(&text)?;
    }
    Ok(Outcome::Done)
}

fn classify(model: &Model, batch: &[Input]) -> anyhow::Result<Vec<Prediction>> {
    let images = batch.iter().map(Input::read).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(model.classify_batch(&images)?)
}

/// `digit.png: 7 (99.98 %)`, with more classes after commas.
fn line(image: &str, prediction: &Prediction, top_k: usize) -> String {
    let classes = prediction.top_k(top_k);
    let classes: Vec<String> =
        classes.iter().map(|class| format!("{} ({})", class.label, percent(class.probability.into()))).collect();
    format!("{image}: {}", classes.join(", "))
}

fn record<'a>(image: &'a str, prediction: &'a Prediction, top_k: usize) -> Record<'a> {
    let top = prediction.top_k(top_k).into_iter();
    Record {
        image,
        label: &prediction.label,
        index: prediction.index,
        probability: prediction.probability,
        top: top.map(|class| Top { label: class.label, index: class.index, probability: class.probability }).collect(),
    }
}
