//! `kiln compare`: whether one model may replace another.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln_metrics::Latency;
use kiln_onnx::ModelFile;
use kiln_pipeline::bench::{BenchLength, BenchPlan, BenchTarget, measure};
use kiln_pipeline::compare::{
    ChoiceRecord, Comparison, ComparisonRecord, DifferenceRecord, check_classes, compare,
    p_value_text,
};
use kiln_pipeline::engines::EngineRequest;
use kiln_pipeline::{Context, Error, engines, inputs};
use kiln_report::{MAX_LABEL, text_table};
use kiln_util::{bytes, percent, shown, thousands};

use crate::app::{App, Outcome};
use crate::args::EngineArgs;
use crate::notes;
use crate::output::{self, Outputs};

/// How long the runs of each model take together at a batch size.
const LENGTH: BenchLength = BenchLength::Time(Duration::from_secs(1));

#[derive(Debug, clap::Args)]
pub struct CompareArgs {
    /// The model in use: its file, run directory, or name of a network
    #[arg(value_name = "A.onnx")]
    first: PathBuf,
    /// The model that may replace it
    #[arg(value_name = "B.onnx")]
    second: PathBuf,
    /// Dataset: what `kiln eval --data` takes
    #[arg(long, value_name = "DATA")]
    data: String,
    #[command(flatten)]
    engine: EngineArgs,
    /// Images per batch, at most, and those of the batches whose speed is measured beside single
    /// images
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=65536))]
    batch_size: u32,
    /// Number of images to show for which the models predict different classes
    #[arg(long, value_name = "N", default_value_t = 10)]
    show: usize,
    /// Exit with 1 if B's accuracy is lower than A's by more than this, such as 0.001 for one image
    /// in a thousand
    #[arg(long, value_name = "SHARE", value_parser = share)]
    max_drop: Option<f64>,
    /// Print all of it as JSON, every image on which the models differ included, or write it to a
    /// file
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
}

/// Compares two models, and prints or writes the figures.
pub fn run(args: &CompareArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let (terminal, context) = (app.terminal, &app.context);
    let files = [
        engines::model_file(&args.first, context)?,
        engines::model_file(&args.second, context)?,
    ];
    let mut read: Vec<PathBuf> = files
        .iter()
        .flat_map(|file| args.engine.overrides.files(file))
        .collect();
    read.push(args.data.as_str().into());
    let outputs = Outputs::check([("--json", args.json.as_deref())], &read)?;
    outputs.announce_replaced(terminal);
    let request = args.engine.request(context)?;
    let model_files = [engines::open(&files[0])?, engines::open(&files[1])?];
    let sides = [0, 1].map(|at| Side::new(&files[at], &model_files[at]));
    let mut speeds = Speeds::load(&sides, args.batch_size as usize, &request, context)?;
    let [a, b] = speeds.targets();
    check_classes(a.model().labels(), b.model().labels()).map_err(Error::from)?;
    let images = inputs::labeled(&args.data, a.model().labels(), context)?;
    images.check_one_label()?;
    notes::runtime(a.runtime(), terminal);
    let batch_size = args.batch_size as usize;
    let comparison = compare([a.model(), b.model()], images, batch_size, context)?;
    let is_done = comparison.is_some() && speeds.run(context)?;
    let Some(comparison) = comparison.filter(|_| is_done) else {
        terminal.status(
            "Stopped",
            "before the models were compared: nothing was written",
        );
        return Ok(Outcome::Interrupted);
    };
    let record = ComparisonRecord::new(
        &args.data,
        args.max_drop,
        sides.each_ref().map(|side| (side.path, side.file)),
        speeds.targets(),
        &comparison,
    );
    if let Some(path) = &args.json {
        output::write_json(path, &record, terminal)?;
    }
    if !outputs.take_stdout() {
        terminal.print(&report(&sides, &speeds, &comparison, &record, args.show)?)?;
    }
    Ok(if record.passed == Some(false) {
        Outcome::CheckFailed
    } else {
        Outcome::Done
    })
}

/// A model, and what it is called.
pub struct Side<'a> {
    pub path: &'a Path,
    pub file: &'a ModelFile,
}

impl<'a> Side<'a> {
    pub const fn new(path: &'a Path, file: &'a ModelFile) -> Self {
        Self { path, file }
    }
}

/// How fast both models are with single images and with batches.
pub struct Speeds {
    targets: [BenchTarget; 2],
    batch_size: usize,
}

impl Speeds {
    fn load(
        sides: &[Side<'_>; 2],
        batch_size: usize,
        request: &EngineRequest,
        context: &Context<'_>,
    ) -> kiln_pipeline::Result<Self> {
        let load = |title, side: &Side<'_>| BenchTarget::load(title, side.file, request, context);
        Ok(Self {
            targets: [load("A", &sides[0])?, load("B", &sides[1])?],
            batch_size,
        })
    }

    /// Returns whether both were measured, rather than interrupted.
    fn run(&mut self, context: &Context<'_>) -> kiln_pipeline::Result<bool> {
        let mut batch_sizes = vec![1, self.batch_size];
        batch_sizes.dedup();
        for batch_size in batch_sizes {
            let plan = BenchPlan::new(batch_size, LENGTH);
            if !measure(&mut self.targets, &plan, context)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Loads both models and measures them in turns; nothing if interrupted.
    pub fn measure(
        sides: &[Side<'_>; 2],
        batch_size: usize,
        request: &EngineRequest,
        context: &Context<'_>,
    ) -> kiln_pipeline::Result<Option<Self>> {
        let mut speeds = Self::load(sides, batch_size, request, context)?;
        Ok(speeds.run(context)?.then_some(speeds))
    }

    pub const fn targets(&self) -> &[BenchTarget; 2] {
        &self.targets
    }

    /// Writes the images/s of both models in one line: `ONNX Runtime 1.27, cpu: 1,234 → 2,345 images/s at 1, ...`.
    pub fn line(&self) -> String {
        let [a, b] = self.targets.each_ref().map(BenchTarget::latencies);
        let rate = |latency: &Latency| thousands(latency.images_per_second.round() as usize);
        let rates = a.iter().zip(&b).map(|(a, b)| {
            let batch = a.batch;
            format!("{} → {} images/s at {batch}", rate(a), rate(b))
        });
        let rates: Vec<String> = rates.collect();
        format!(
            "{}: {}",
            self.targets[0].runtime().title(),
            rates.join(", ")
        )
    }
}

/// Writes a comparison for people, with the first `show` images on which the models differ.
pub fn report(
    sides: &[Side<'_>; 2],
    speeds: &Speeds,
    comparison: &Comparison,
    record: &ComparisonRecord<'_>,
    show: usize,
) -> anyhow::Result<String> {
    let (targets, batch_size) = (&speeds.targets, speeds.batch_size);
    let mut text = String::new();
    writeln!(text, "{}\n", targets[0].runtime().line())?;
    let at = |target: &BenchTarget, batch: u64| {
        let mut latencies = target.latencies().into_iter();
        let found = latencies.find(|latency| latency.batch == batch);
        found.map_or(String::new(), |latency| {
            thousands(latency.images_per_second.round() as usize)
        })
    };
    let rows = targets
        .iter()
        .zip(sides)
        .zip(&record.models)
        .zip(&comparison.evaluations);
    let largest = (batch_size > 1).then_some(batch_size as u64);
    let rows = rows.map(|(((target, side), model), evaluation)| {
        let cells = [
            format!("{} {}", target.title(), side.path.display()),
            percent(evaluation.accuracy),
            format!("{:.4}", evaluation.loss),
            evaluation
                .calibration
                .as_ref()
                .map_or_else(String::new, |calibration| percent(calibration.ece)),
            bytes(model.bytes),
            at(target, 1),
        ];
        let largest = largest.map(|size| at(target, size));
        cells.into_iter().chain(largest).collect::<Vec<_>>()
    });
    let header = [
        "",
        "accuracy",
        "loss",
        "calibration error",
        "file",
        "images/s at 1",
    ]
    .map(str::to_owned);
    let largest = largest.map(|size| format!("at {size}"));
    let header: Vec<String> = header.into_iter().chain(largest).collect();
    writeln!(text, "{}\n", text_table(header, rows, 1))?;
    let paired = &comparison.paired;
    let count = |n: u64| thousands(n as usize);
    writeln!(
        text,
        "{} images: both right {}, only A {}, only B {}, both wrong {}; the same class for {}",
        count(paired.images()),
        count(paired.both_right),
        count(paired.only_first),
        count(paired.only_second),
        count(paired.both_wrong),
        percent(paired.agreement()),
    )?;
    writeln!(
        text,
        "B's accuracy less A's: {:+.2} points; McNemar's exact test of equal accuracy: {}",
        record.accuracy_change * 100.0,
        p_value_text(record.p_value),
    )?;
    if let (Some(passed), Some(most)) = (record.passed, record.max_drop) {
        let verdict = if passed { "passed" } else { "FAILED" };
        writeln!(
            text,
            "{verdict}: at most {:.2} points may be lost",
            most * 100.0
        )?;
    }
    text += &differences(&record.differences, show);
    Ok(text)
}

/// Writes the first `show` images for which the models predict different classes as a table with a
/// heading.
fn differences(all: &[DifferenceRecord<'_>], show: usize) -> String {
    let first = &all[..show.min(all.len())];
    if first.is_empty() {
        return String::new();
    }
    let rows = first.iter().map(|difference| {
        let cells = |choice: &ChoiceRecord<'_>| {
            let right = if choice.predicted == difference.label {
                "right"
            } else {
                ""
            };
            [
                shown(choice.predicted, MAX_LABEL),
                format!("{:.4}", choice.margin),
                right.to_owned(),
            ]
        };
        let image = difference
            .path
            .map_or_else(|| difference.index.to_string(), str::to_owned);
        let [[a, a_margin, a_right], [b, b_margin, b_right]] =
            [cells(&difference.first), cells(&difference.second)];
        [
            image,
            shown(difference.label, MAX_LABEL),
            a,
            a_right,
            b,
            b_right,
            a_margin,
            b_margin,
        ]
    });
    let header = ["image", "label", "A", "", "B", "", "margin of A", "of B"];
    let table = text_table(header, rows, 6);
    let of = if first.len() == all.len() {
        String::new()
    } else {
        format!("the first {} of ", thousands(first.len()))
    };
    format!(
        "\nDifferent classes: {of}{} images, the most confident first\n\n{table}\n",
        thousands(all.len())
    )
}

/// Reads a share of images.
pub fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a number from 0 to 1, such as 0.001 for one image in a thousand".into()),
    }
}
