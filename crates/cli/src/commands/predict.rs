//! `kiln predict`.

use std::ffi::OsString;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::bail;
use kiln_inference::{Classified, Model, Prediction, Ranked, StreamOptions};
use kiln_pipeline::evaluate::classify;
use kiln_pipeline::inputs::{self, Input};
use kiln_pipeline::predictions::{LineWriter, PredictionsFile, Row};
use kiln_pipeline::report::Seen;
use kiln_pipeline::runtime::RuntimeRecord;
use kiln_pipeline::{Error, engines};
use kiln_util::{percent, shown};
use serde::Serialize;

use crate::app::{App, Outcome};
use crate::args::{BatchArgs, EngineArgs, ORIGIN, origin, written};
use crate::notes;
use crate::output::Outputs;
use crate::picture;
use crate::terminal::Named;

#[derive(Debug, clap::Args)]
pub struct PredictArgs {
    /// Model file, run directory, or name of a network
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    /// Images, folders (with all that is below), glob patterns, CSV lists with a column path,
    /// Parquet, tar, CIFAR's or IDX files, mnist:test, or `-` for an image on standard input
    #[arg(value_name = "IMAGE", required_unless_present = "list")]
    images: Vec<OsString>,
    /// Classify the images whose paths are in this file, one a line; `-` for standard input
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    batch: BatchArgs,
    /// Draw the first 96 images as the model sees them, with their classes, as PNG or SVG
    #[arg(long, value_name = "FILE.png", conflicts_with = "resume")]
    show: Option<PathBuf>,
    /// Number of classes to show for each image [default: 1; of a model that gives each class a probability by itself
    /// those over the threshold]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(1..))]
    top_k: Option<u16>,
    /// Print one JSON object per line; with --predictions too, for each image that is added there
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV, with the columns of --predictions
    #[arg(long, conflicts_with = "predictions")]
    csv: bool,
}

/// The first line of JSON: what all others were computed on.
#[derive(Serialize)]
struct Header {
    runtime: RuntimeRecord,
}

#[derive(Serialize)]
struct Record<'a> {
    image: &'a str,
    label: &'a str,
    index: usize,
    probability: f32,
    /// The classes that the image has, where it can have several.
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<Vec<&'a str>>,
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
    /// The images as the model sees them.
    seen: Option<Seen>,
}

/// Lines on standard output, for people or as JSON.
struct Lines {
    out: LineWriter<Named<std::io::Stdout>>,
    json: bool,
    top_k: Option<usize>,
    /// Whether an image can have several classes.
    has_several: bool,
}

/// Classifies images, and prints or writes the results as they are known.
pub fn run(args: &PredictArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let (terminal, context) = (app.terminal, &app.context);
    let stdout = Path::new("-");
    let path = args
        .batch
        .predictions
        .as_deref()
        .or_else(|| args.csv.then_some(stdout));
    if args.json && path == Some(stdout) {
        bail!(
            "--json and --predictions cannot both write to standard output: give --predictions a file"
        );
    }
    let path_of_model = engines::model_file(&args.model, context)?;
    let mut read = args.engine.overrides.files(&path_of_model);
    read.extend(args.images.iter().map(PathBuf::from));
    read.extend(args.list.clone());
    let origin = origin(path);
    let show = args.show.as_deref();
    show.map_or(Ok(()), picture::check)?;
    let named = [
        ("--predictions", path),
        (ORIGIN, origin.as_deref()),
        ("--show", show),
    ];
    let outputs = Outputs::check(named, &read)?;
    if !args.batch.resume {
        outputs.announce_replaced(terminal);
    }
    args.batch.check()?;
    let mut images =
        inputs::unlabeled(&args.images, args.list.as_deref(), context)?.shard(args.batch.shard);
    let mut request = args.engine.request(context)?;
    request.flips = args.batch.tta;
    let model_file = engines::open(&path_of_model)?;
    let model = engines::load(&model_file, &request, context)?;
    let header = Header {
        runtime: RuntimeRecord::from(&model),
    };
    if header.runtime.fallback().is_some() {
        notes::runtime(&header.runtime, terminal);
    }
    let seen = show.map(|_| Seen::new(model.preprocessing())).transpose()?;
    let mut output = Output {
        lines: None,
        rows: None,
        seen,
    };
    if let Some(path) = path {
        let (file, left) = args.batch.open(
            path,
            (&model_file, &model),
            images,
            context,
            &mut |_| Ok(()),
        )?;
        images = left;
        output.rows = Some(file);
    }
    if path.is_none() || args.json {
        let out = LineWriter::new(Named::stdout()).flush_every(args.batch.flush_interval());
        let mut lines = Lines {
            out,
            json: args.json,
            top_k: args.top_k.map(usize::from),
            has_several: model.spec().has_several(),
        };
        if args.json {
            lines.write(&header)?;
        }
        output.lines = Some(lines);
    }
    let (source, resumed) = (images.source.clone(), images.resumed());
    let options = StreamOptions::default().with_batch_size(args.batch.batch_size());
    let classified = classify(&model, images, &options, context, |input, classified| {
        output.write(input, classified, &model)
    });
    // Also what was done before an error.
    output.finish()?;
    let Some(summary) = classified? else {
        return Ok(Outcome::Interrupted);
    };
    if let Some(rows) = &mut output.rows {
        rows.complete(summary.failed)?;
    }
    if let Some(path) = path {
        written(path, summary.images + resumed, terminal);
    }
    if let Some(seen) = &output.seen
        && let Some(drawn) = seen.draw()?
        && let Some(path) = show
    {
        picture::write(path, &drawn)?;
        terminal.status(
            "Drew",
            &format!("what the model sees in {}", path.display()),
        );
    }
    if summary.images > 0 {
        notes::assumptions(&model, terminal);
    }
    if summary.images + summary.failed + resumed == 0 {
        let share = args
            .batch
            .shard
            .map_or_else(String::new, |shard| format!("shard {shard} of "));
        let text = format!("to classify: there is no image in {share}{source}");
        terminal.left_out("Nothing", &text, &[]);
    }
    Ok(Outcome::Done)
}

impl Output {
    fn write(
        &mut self,
        input: &Input,
        classified: &Classified<'_>,
        model: &Model,
    ) -> anyhow::Result<()> {
        if let Some(rows) = &mut self.rows {
            rows.write(&Row::new(input, classified, model))
                .map_err(Error::from)?;
        }
        if let Some(lines) = &mut self.lines {
            lines.image(input, &classified.prediction())?;
        }
        if let Some(seen) = &mut self.seen {
            let prediction = classified.prediction();
            let chosen = classes(&prediction, None, model.spec().has_several());
            let name = input.path().map_or_else(String::new, |path| {
                let name = Path::new(path.as_ref()).file_name();
                name.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
            });
            let lines: Vec<String> = chosen
                .iter()
                .flat_map(|class| [class.label.to_owned(), percent(class.probability.into())])
                .collect();
            seen.push(input, &format!("{name}\n{}", lines.join("\n")))?;
        }
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        if let Some(rows) = &mut self.rows {
            rows.finish().map_err(Error::from)?;
        }
        if let Some(lines) = &mut self.lines {
            lines.out.flush()?;
        }
        Ok(())
    }
}

impl Lines {
    fn image(&mut self, input: &Input, prediction: &Prediction) -> std::io::Result<()> {
        let name = input
            .path()
            .unwrap_or_else(|| input.index.to_string().into());
        if self.json {
            self.write(&record(&name, prediction, self.top_k, self.has_several))
        } else {
            let text = line(&name, &classes(prediction, self.top_k, self.has_several));
            self.out.line(|out| out.write_all(text.as_bytes()))
        }
    }

    /// Writes a JSON object.
    fn write(&mut self, value: &impl Serialize) -> std::io::Result<()> {
        let write = |out: &mut BufWriter<_>| Ok(serde_json::to_writer(out, value)?);
        self.out.line(write)
    }
}

/// The classes to show: so many as are asked for, else those that the image has.
fn classes(prediction: &Prediction, top_k: Option<usize>, has_several: bool) -> Vec<Ranked<'_>> {
    match top_k {
        Some(k) => prediction.top_k(k),
        None if has_several => prediction.chosen(),
        None => prediction.top_k(1),
    }
}

/// `digit.png: 7 (99.98 %)`, with more classes after commas.
fn line(image: &str, classes: &[Ranked<'_>]) -> String {
    let whole = |text: &str| shown(text, usize::MAX);
    if classes.is_empty() {
        return format!("{}: none of the classes", whole(image));
    }
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

fn record<'a>(
    image: &'a str,
    prediction: &'a Prediction,
    top_k: Option<usize>,
    has_several: bool,
) -> Record<'a> {
    let top = prediction.top_k(top_k.unwrap_or(1)).into_iter();
    let labels = || {
        prediction
            .chosen()
            .iter()
            .map(|class| class.label)
            .collect()
    };
    Record {
        image,
        label: &prediction.label,
        index: prediction.index,
        probability: prediction.probability,
        labels: has_several.then(labels),
        top: top
            .map(|class| Top {
                label: class.label,
                index: class.index,
                probability: class.probability,
            })
            .collect(),
    }
}
