//! `kiln predict`.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::bail;
use kiln_inference::{Classified, Model, Prediction, StreamOptions};
use kiln_util::shown;
use serde::Serialize;

use super::Context;
use crate::args::PredictArgs;
use crate::batch::{self, Ended};
use crate::inputs::{self, Input};
use crate::named::Named;
use crate::output::Outputs;
use crate::predictions::{self, ORIGIN, Origin, PredictionsFile, Row};
use crate::receipt::ReceiptRecord;
use crate::{Outcome, declare, engines};
use kiln_util::percent;

/// The first line of JSON: what all others were computed on.
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

/// Where results go: one of these, or both.
struct Output {
    lines: Option<Lines>,
    /// Rows of predictions.
    rows: Option<PredictionsFile>,
}

/// Lines on standard output, for people or as JSON.
struct Lines {
    out: BufWriter<Named<std::io::Stdout>>,
    json: bool,
    top_k: usize,
    waiting: u32,
    flush_every: u32,
}

pub fn run(args: &PredictArgs, context: &Context<'_>) -> anyhow::Result<Outcome> {
    let stdout = PathBuf::from("-");
    let path = args
        .batch
        .predictions
        .as_ref()
        .or_else(|| args.csv.then_some(&stdout));
    if args.json && path == Some(&stdout) {
        bail!(
            "--json and --predictions cannot both write to standard output: give --predictions a file"
        );
    }
    let read = args
        .images
        .iter()
        .map(PathBuf::from)
        .chain(args.list.clone());
    let read: Vec<_> = declare::files(&args.model, &args.engine.declared)
        .into_iter()
        .chain(read)
        .collect();
    let (predictions, origin) = (
        path.map(PathBuf::as_path),
        Origin::beside(path.map(PathBuf::as_path)),
    );
    Outputs::check(
        [("--predictions", predictions), (ORIGIN, origin.as_deref())],
        &read,
    )?;
    args.batch.check()?;
    let mut inputs =
        inputs::unlabelled(&args.images, args.list.as_deref(), context)?.shard(args.batch.shard);
    let model_file = engines::open(&args.model)?;
    let model = engines::load(
        &model_file,
        &args.engine,
        context.threads,
        &context.assets.cache,
    )?;
    declare::note_defaults(&model, context.terminal);
    let header = Header {
        runtime: ReceiptRecord::from(model.runtime()),
    };
    if header.runtime.fallback().is_some() {
        engines::announce(&header.runtime, context.terminal);
    }
    let mut output = Output {
        lines: None,
        rows: None,
    };
    if let Some(path) = path {
        let made_with = (&model_file, &model);
        let (file, left) =
            predictions::begin(path, made_with, inputs, &args.batch, context, &mut |_| {
                Ok(())
            })?;
        inputs = left;
        output.rows = Some(file);
    }
    let flush_every = args.batch.flush_every();
    if path.is_none() || args.json {
        let mut out = BufWriter::with_capacity(1 << 16, Named::stdout());
        if args.json {
            writeln!(out, "{}", serde_json::to_string(&header)?)?;
        }
        output.lines = Some(Lines {
            out,
            json: args.json,
            top_k: args.top_k.into(),
            waiting: 0,
            flush_every,
        });
    }
    let (source, resumed) = (inputs.source.clone(), inputs.resumed);
    let options = StreamOptions::default()
        .with_batch_size(args.batch.batch_size.map(|size| size as usize))
        .with_warm_up(false);
    let write =
        |input: &Input, classified: &Classified<'_>| output.write(input, classified, &model);
    let ended = batch::run(&model, inputs, &options, context, write);
    // Also what was done before an error.
    output.finish()?;
    Ok(match ended? {
        Ended::Done(summary) => {
            if summary.images + summary.failed + resumed == 0 {
                let share = args
                    .batch
                    .shard
                    .map_or_else(String::new, |shard| format!("shard {shard} of "));
                let text = format!("to classify: there is no image in {share}{source}");
                context.terminal.left_out("Nothing", &text, &[]);
            }
            Outcome::Done
        }
        Ended::Interrupted => Outcome::Interrupted,
    })
}

impl Output {
    fn write(
        &mut self,
        input: &Input,
        classified: &Classified<'_>,
        model: &Model,
    ) -> anyhow::Result<()> {
        if let Some(file) = &mut self.rows {
            file.write(&Row::new(input, classified, model))?;
        }
        if let Some(lines) = &mut self.lines {
            lines.write(input, &classified.prediction())?;
        }
        Ok(())
    }

    fn finish(&mut self) -> std::io::Result<()> {
        self.rows.as_mut().map_or(Ok(()), PredictionsFile::finish)?;
        self.lines
            .as_mut()
            .map_or(Ok(()), |lines| lines.out.flush())
    }
}

impl Lines {
    fn write(&mut self, input: &Input, prediction: &Prediction) -> std::io::Result<()> {
        let name = input
            .path()
            .unwrap_or_else(|| input.index.to_string().into());
        if self.json {
            serde_json::to_writer(&mut self.out, &record(&name, prediction, self.top_k))?;
            self.out.write_all(b"\n")?;
        } else {
            writeln!(self.out, "{}", line(&name, prediction, self.top_k))?;
        }
        self.waiting += 1;
        if self.waiting >= self.flush_every {
            self.waiting = 0;
            self.out.flush()?;
        }
        Ok(())
    }
}

/// `digit.png: 7 (99.98 %)`, with more classes after commas.
fn line(image: &str, prediction: &Prediction, top_k: usize) -> String {
    let classes = prediction.top_k(top_k);
    let whole = |text: &str| shown(text, usize::MAX);
    let classes: Vec<String> = classes
        .iter()
        .map(|class| {
            format!(
                "{} ({})",
                whole(class.label),
                percent(class.probability.into())
            )
        })
        .collect();
    format!("{}: {}", whole(image), classes.join(", "))
}

fn record<'a>(image: &'a str, prediction: &'a Prediction, top_k: usize) -> Record<'a> {
    let top = prediction.top_k(top_k).into_iter();
    Record {
        image,
        label: &prediction.label,
        index: prediction.index,
        probability: prediction.probability,
        top: top
            .map(|class| Top {
                label: class.label,
                index: class.index,
                probability: class.probability,
            })
            .collect(),
    }
}
