//! `kiln eval`.

use std::path::PathBuf;

use anyhow::bail;
use kiln_inference::{Classified, Model, StreamSummary};
use kiln_metrics::{Evaluation, SeveralEvaluation};
use kiln_pipeline::evaluate::{AnyEvaluated, AnyTally, EvaluateOptions, Mistake, Throughput};
use kiln_pipeline::inputs::{self, Input, Inputs};
use kiln_pipeline::predictions::{PredictionsFile, Row};
use kiln_pipeline::report::evaluation_figures;
use kiln_pipeline::runtime::RuntimeRecord;
use kiln_pipeline::{Context, Error, dataset, engines};
use kiln_report::{MAX_LABEL, classification_report, confusion_table, several_report, text_table};
use kiln_run::RunDir;
use kiln_util::{counted, percent, shown, thousands};

use crate::app::{App, Outcome};
use crate::args::{BatchArgs, EngineArgs, ORIGIN, origin, written};
use crate::output::{self, Outputs};
use crate::{notes, picture};

#[derive(Debug, clap::Args)]
pub struct EvalArgs {
    /// Model file, run directory, or name of a network
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    /// Dataset: mnist:test, mnist:train, a folder of images for each class, a glob pattern of
    /// images in such folders, a CSV file with the columns path and label, or labels of several classes
    /// with `|` between them (`-` for standard input), or Parquet, tar, CIFAR's or IDX files: one, a pattern, or a folder of them [default: a run's test images]
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    batch: BatchArgs,
    /// Report accuracy among the K most probable classes too
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(1..))]
    top_k: Option<u16>,
    /// Number of most confident errors to list
    #[arg(long, value_name = "N", default_value_t = 5)]
    mistakes: u16,
    /// Draw the confusion matrix and the reliability diagram, each as PNG and SVG, into this folder
    #[arg(long, value_name = "DIR")]
    pictures: Option<PathBuf>,
    /// Print the figures as JSON in place of the tables, or write them to a file
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
}

impl EvalArgs {
    /// Finds the images, and returns what they are called: those of `--data`, else a run's test
    /// images.
    fn images(&self, model: &Model, context: &Context<'_>) -> anyhow::Result<(String, Inputs)> {
        if let Some(data) = &self.data {
            let images = inputs::labeled(data, model.labels(), context)?;
            return Ok((data.clone(), images));
        }
        if !self.model.is_dir() {
            bail!(
                "{} is evaluated on the images of --data, which is missing; a run directory is \
                 evaluated on its test images without it",
                self.model.display()
            );
        }
        let recipe = RunDir::open(&self.model)?.recipe(kiln_trainer::bases())?;
        let images = Inputs::of_view(&dataset::test_images(&recipe, context)?);
        Ok((dataset::test_name(&recipe), images))
    }

    /// Refuses what is for images with one class each.
    fn check_several(&self) -> anyhow::Result<()> {
        let given = [
            ("--top-k", self.top_k.is_some()),
            ("--pictures", self.pictures.is_some()),
        ];
        if let Some((option, _)) = given.iter().find(|(_, given)| *given) {
            bail!("{option} is for images with one label each: leave it out");
        }
        Ok(())
    }

    fn options(&self) -> EvaluateOptions {
        let mut options = EvaluateOptions::default();
        options.batch_size = self.batch.batch_size();
        options.top_k = self.top_k.map(usize::from);
        options.mistakes = self.mistakes.into();
        options
    }
}

/// Evaluates a model, and prints or writes the figures.
pub fn run(args: &EvalArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let (terminal, context) = (app.terminal, &app.context);
    let file = engines::model_file(&args.model, context)?;
    let predictions = args.batch.predictions.as_deref();
    let origin = origin(predictions);
    let mut read = args.engine.overrides.files(&file);
    read.extend(args.data.iter().map(PathBuf::from));
    let named = [
        ("--json", args.json.as_deref()),
        ("--predictions", predictions),
        (ORIGIN, origin.as_deref()),
    ];
    let outputs = Outputs::check(named, &read)?;
    if !args.batch.resume {
        outputs.announce_replaced(terminal);
    }
    args.batch.check()?;
    args.pictures
        .as_deref()
        .map_or(Ok(()), picture::prepare_folder)?;
    let mut request = args.engine.request(context)?;
    request.flips = args.batch.tta;
    let model_file = engines::open(&file)?;
    let model = engines::load(&model_file, &request, context)?;
    let (data, images) = args.images(&model, context)?;
    let mut images = images.shard(args.batch.shard);
    if images.has_several {
        args.check_several()?;
    }
    let classes = model.labels().len();
    if let Some(k) = args.top_k.filter(|&k| usize::from(k) >= classes) {
        let classes = counted(classes as u64, "class");
        let text = format!("top-{k} accuracy is left out: with {classes} it is always 1");
        terminal.status("Note", &text);
    }
    let mut tally = AnyTally::new(&model, &args.options(), &images)?;
    notes::runtime(&RuntimeRecord::from(&model), terminal);
    let mut rows = None;
    if let Some(path) = predictions {
        let (opened, left) =
            args.batch
                .open(path, (&model_file, &model), images, context, &mut |row| {
                    tally.resume(row)
                })?;
        images = left;
        rows = Some(opened);
    }
    let each = |input: &Input, classified: &Classified<'_>| {
        if let Some(rows) = &mut rows {
            rows.write(&Row::new(input, classified, &model))?;
        }
        Ok::<_, Error>(())
    };
    let evaluated = tally.evaluate(images, context, each);
    // Also what was done before an error.
    rows.as_mut()
        .map_or(Ok(()), PredictionsFile::finish)
        .map_err(Error::from)?;
    let Some(evaluated) = evaluated? else {
        let left = match predictions {
            Some(path) if !output::is_stdout(path) => {
                format!(": `--resume` completes {}", path.display())
            }
            _ => ": there are no figures".to_owned(),
        };
        terminal.status(
            "Stopped",
            &format!("before all images were evaluated{left}"),
        );
        return Ok(Outcome::Interrupted);
    };
    if let Some(rows) = &mut rows {
        rows.complete(evaluated.skipped())?;
    }
    if let Some(path) = predictions {
        written(path, evaluated.images(), terminal);
    }
    if let Some(path) = &args.json {
        output::write_json(path, &evaluated.record(&data), terminal)?;
    }
    if let (Some(folder), AnyEvaluated::One(one)) = (&args.pictures, &evaluated) {
        let figures = evaluation_figures(&one.evaluation)?;
        let figures = figures
            .iter()
            .map(|figure| (figure.name.as_str(), &figure.picture));
        let written = picture::write_all(folder, figures)?;
        terminal.status(
            "Wrote",
            &format!("{} pictures to {}", written.len(), folder.display()),
        );
    }
    if !outputs.take_stdout() {
        terminal.print(&match &evaluated {
            AnyEvaluated::One(one) => {
                let end = speed(&one.summary, one.throughput());
                let mistakes = (one.mistakes.as_slice(), one.wrong);
                report_one(&one.evaluation, mistakes, model.labels(), &end)?
            }
            AnyEvaluated::Several(several) => {
                let end = speed(&several.summary, several.throughput());
                report_several(&several.evaluation, &end)
            }
        })?;
    }
    notes::assumptions(&model, terminal);
    Ok(Outcome::Done)
}

/// Returns the tables and figures of images with any number of classes, followed by a text.
pub(super) fn report_several(evaluation: &SeveralEvaluation, end: &str) -> String {
    let precision = evaluation.mean_average_precision;
    let precision = precision.map_or_else(String::new, |precision| {
        format!("mean average precision {}, ", percent(precision))
    });
    format!(
        "{}\n\n{precision}F1 {} (micro), exactly right {} of {} images, loss {:.4}{}\n",
        several_report(evaluation).trim_end(),
        percent(evaluation.micro_average.f1),
        percent(evaluation.exact_matches),
        thousands(evaluation.images as usize),
        evaluation.loss,
        end,
    )
}

/// Returns the tables and figures of images with one class each, followed by a text; `mistakes` are the most confident
/// errors and the number of all.
pub(super) fn report_one(
    evaluation: &Evaluation,
    mistakes: (&[Mistake], u64),
    classes: &[String],
    end: &str,
) -> anyhow::Result<String> {
    let calibration = evaluation.calibration.as_ref().map_or(String::new(), |c| {
        format!(", calibration error {:.4}", c.ece)
    });
    Ok(format!(
        "{}\n\n{}\n{}\naccuracy {} ({} of {} images), loss {:.4}{calibration}{}\n",
        classification_report(evaluation).trim_end(),
        confusion_table(&evaluation.confusion, classes)?.trim_end(),
        mistake_table(mistakes),
        percent(evaluation.accuracy),
        thousands(evaluation.confusion.correct() as usize),
        thousands(evaluation.images as usize),
        evaluation.loss,
        end,
    ))
}

/// Returns how fast it was, after a comma; nothing where all images had their predictions already.
fn speed(summary: &StreamSummary, throughput: Throughput) -> String {
    if summary.images == 0 {
        return String::new();
    }
    let rates = [
        throughput.images_per_second,
        throughput.model_images_per_second,
    ];
    let [all, model] = rates.map(|rate| thousands(rate.round() as usize));
    format!(", {all} images/s ({model} in the model)")
}

/// Returns a table of the most confident errors between empty lines; nothing where there are none.
fn mistake_table((mistakes, wrong): (&[Mistake], u64)) -> String {
    if mistakes.is_empty() {
        return String::new();
    }
    let rows = mistakes.iter().map(|mistake| {
        let name = mistake
            .path
            .clone()
            .unwrap_or_else(|| format!("image {}", mistake.index));
        let probability = percent(mistake.probability.into());
        [
            name,
            shown(&mistake.label, MAX_LABEL),
            shown(&mistake.predicted, MAX_LABEL),
            probability,
        ]
    });
    let header = [
        format!("most confident of {} errors", thousands(wrong as usize)),
        "true".into(),
        "predicted".into(),
        "probability".into(),
    ];
    format!("\n{}\n", text_table(header, rows, 3).trim_end())
}
