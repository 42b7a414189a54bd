//! `kiln quantize`: a smaller copy of a model, and whether it may replace the model.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use kiln_inference::Model;
use kiln_metrics::Latency;
use kiln_onnx::ModelFile;
use kiln_pipeline::bench::BenchTarget;
use kiln_pipeline::compare::ComparisonRecord;
use kiln_pipeline::engines::EngineRequest;
use kiln_pipeline::overrides::OverridesRequest;
use kiln_pipeline::quantize::{
    Activations, Calibrated, Gate, JUDGED, Method, Passed, Precision, QuantizeRequest, Quantized,
    Sensitivity, shrink,
};
use kiln_pipeline::runtime::RuntimeRecord;
use kiln_pipeline::{Error, engines, inputs};
use kiln_report::text_table;
use kiln_util::{bytes, counted, thousands, write_atomically};
use serde::Serialize;

use super::compare::{Side, Speeds, report, share};
use crate::app::{App, Outcome};
use crate::args::OneEngineArgs;
use crate::output::{self, Outputs};
use crate::picture;
use crate::terminal::Terminal;

/// Accuracy that may be lost where layers are chosen and nothing else is said.
const MAX_DROP: f64 = 0.005;

/// Most layers that are listed.
const LISTED: usize = 10;

#[derive(Debug, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub struct QuantizeArgs {
    /// Model file, run directory, or name of a network
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    /// Calibration images, without labels: a folder (its training images, where it has subsets), a
    /// glob pattern, a CSV list, Parquet, tar, CIFAR's or IDX files, or mnist
    #[arg(long, value_name = "DATA", required_unless_present_any = ["weights_only", "fp16"])]
    data: Option<String>,
    /// Smaller model to write
    #[arg(short, long, value_name = "FILE.onnx")]
    output: PathBuf,
    /// Calibration images to use, at equal distances in the order of the data
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    images: u32,
    /// How the range of an activation is found: mse, minmax, entropy, or percentile=99.99
    #[arg(long, value_name = "METHOD", default_value = "mse", value_parser = method)]
    method: Method,
    /// Use -127 to 127 without a zero point for activations too, as TensorRT wants it
    #[arg(long)]
    symmetric: bool,
    /// Scale the weights of layers that follow each other, so that small channels lose less
    #[arg(long)]
    equalize: bool,
    /// Leave a layer in float; repeat for several
    #[arg(long, value_name = "LAYER")]
    keep: Vec<String>,
    /// Make the weights alone 8-bit integers, restored before they are used: no images are needed
    #[arg(long, conflicts_with_all = ["fp16", "images", "method", "symmetric", "equalize", "keep", "auto"])]
    weights_only: bool,
    /// Make the weights alone half precision, half of the size: engines compute in float32 as
    /// before
    #[arg(long, conflicts_with_all = ["images", "method", "symmetric", "equalize", "keep", "auto"])]
    fp16: bool,
    /// Held-out images with labels, to measure both models on: what `kiln eval --data` takes
    /// [default: the test images of --data, with --max-drop or --auto]
    #[arg(long, value_name = "DATA")]
    eval: Option<String>,
    /// Write nothing and exit with 1 if more accuracy is lost than this, such as 0.005 for one
    /// image in 200
    #[arg(long, value_name = "SHARE", value_parser = share)]
    max_drop: Option<f64>,
    /// Leave as few layers in float as --max-drop needs [default: 0.005], those that cost most
    #[arg(long)]
    auto: bool,
    /// List what each layer costs in 8 bits, and draw it into a file
    #[arg(long, value_name = "FILE.svg|FILE.png", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["weights_only", "fp16"])]
    sensitivity: Option<PathBuf>,
    #[command(flatten)]
    engine: OneEngineArgs,
    /// Images per batch, at most, where the models are measured
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65536))]
    batch_size: u32,
    /// Specify something about the model, such as `preprocess=torch` or `labels=labels.txt`; the
    /// keys are those of a sidecar
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// File that specifies the same [default: the model's name ending in .toml, where it is there]
    #[arg(long, value_name = "FILE.toml")]
    sidecar: Option<PathBuf>,
    /// Print what was done and measured as JSON, or write it to a file
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
}

impl QuantizeArgs {
    /// The accuracy that may be lost, if that is bounded.
    fn most_lost(&self) -> Option<f64> {
        self.max_drop.or(self.auto.then_some(MAX_DROP))
    }

    /// The picture of the layers' costs, if one is to be written.
    fn picture(&self) -> Option<&Path> {
        let path = self.sensitivity.as_deref()?;
        (!path.as_os_str().is_empty()).then_some(path)
    }
}

/// What was done, and what came of it.
#[derive(Serialize)]
struct QuantizationRecord<'a> {
    kiln: &'static str,
    model: &'a Path,
    /// None where it was not written.
    output: Option<&'a Path>,
    summary: &'a str,
    bytes: [u64; 2],
    /// Layers that were left in float.
    kept: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    layers: Option<&'a [Sensitivity]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comparison: Option<&'a ComparisonRecord<'a>>,
    /// Speed of both models on the other engines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    other_engines: Vec<SpeedRecord<'a>>,
}

/// Speed of the original and the smaller model on an engine.
#[derive(Serialize)]
struct SpeedRecord<'a> {
    runtime: &'a RuntimeRecord,
    /// On random images, one for each batch size.
    speed: [Vec<Latency>; 2],
}

impl<'a> SpeedRecord<'a> {
    fn of(speeds: &'a Speeds) -> Self {
        let targets = speeds.targets();
        Self {
            runtime: targets[0].runtime(),
            speed: targets.each_ref().map(BenchTarget::latencies),
        }
    }
}

/// A smaller model, and what it was found to be.
struct Made {
    quantized: Quantized,
    kept: Vec<String>,
    costs: Option<Vec<Sensitivity>>,
    comparison: Option<kiln_pipeline::compare::Comparison>,
}

/// Writes the smaller model, and prints what it is like beside the original.
pub fn run(args: &QuantizeArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let (terminal, context) = (app.terminal, &app.context);
    let path = engines::model_file(&args.model, context)?;
    engines::check_name(&args.output).map_err(Error::from)?;
    let mut read = vec![path.clone()];
    read.extend(args.data.iter().chain(&args.eval).map(PathBuf::from));
    let named = [
        ("--output", Some(args.output.as_path())),
        ("--sensitivity", args.picture()),
        ("--json", args.json.as_deref()),
    ];
    args.picture().map_or(Ok(()), picture::check)?;
    let outputs = Outputs::check(named, &read)?;
    outputs.announce_replaced(terminal);
    let mut request = args.engine.request();
    request.overrides = OverridesRequest::parse("--set", &args.settings).map_err(Error::from)?;
    request.overrides.sidecar.clone_from(&args.sidecar);
    let gate_data = match (&args.eval, &args.data) {
        (Some(data), _) => Some(data),
        (None, Some(data)) if args.most_lost().is_some() => Some(data),
        (None, None) if args.max_drop.is_some() => {
            anyhow::bail!("--max-drop needs images to measure the models on: name them with --eval")
        }
        _ => None,
    };
    let original = engines::open(&path)?;
    let Some(made) = make(args, &path, &original, gate_data, &request, app)? else {
        terminal.status("Stopped", "before the model was written");
        return Ok(Outcome::Interrupted);
    };
    let weigh = [&original, &made.quantized.file].map(ModelFile::total_bytes);
    let mut text = String::new();
    writeln!(
        text,
        "{} → {}: {}, {} → {} ({:.0} %)",
        path.display(),
        args.output.display(),
        made.quantized.summary,
        bytes(weigh[0]),
        bytes(weigh[1]),
        100.0 * weigh[1] as f64 / weigh[0].max(1) as f64,
    )?;
    if let Some(costs) = &made.costs {
        text += &layers(costs, &made.kept)?;
        if let Some(path) = args.picture() {
            picture::write(path, &Sensitivity::plot(costs, &made.kept)?)?;
        }
    }
    let mut passed = true;
    let mut speeds = None;
    if let Some(comparison) = &made.comparison {
        let sides = [
            Side::new(&path, &original),
            Side::new(&args.output, &made.quantized.file),
        ];
        let batch_size = args.batch_size as usize;
        let Some(measured) = Speeds::measure(&sides, batch_size, &request, context)? else {
            terminal.status("Stopped", "before the model was written");
            return Ok(Outcome::Interrupted);
        };
        speeds = Some((sides, measured, comparison));
    }
    let mut others = Vec::new();
    if let Some((sides, ..)) = &speeds {
        for engine in engines::present(context)? {
            if engine == request.engine {
                continue;
            }
            let mut request = request.clone();
            request.engine = engine;
            let batch_size = args.batch_size as usize;
            let Some(measured) = Speeds::measure(sides, batch_size, &request, context)? else {
                terminal.status("Stopped", "before the model was written");
                return Ok(Outcome::Interrupted);
            };
            others.push(measured);
        }
    }
    let data = gate_data.map_or("", String::as_str);
    let record = speeds.as_ref().map(|(sides, measured, comparison)| {
        ComparisonRecord::new(
            data,
            args.most_lost(),
            sides.each_ref().map(|side| (side.path, side.file)),
            measured.targets(),
            comparison,
        )
    });
    if let (Some(record), Some((sides, measured, comparison))) = (&record, &speeds) {
        passed = record.passed != Some(false);
        text.push('\n');
        text += &report(sides, measured, comparison, record, 0)?;
        for other in &others {
            writeln!(text, "{}", other.line())?;
        }
    }
    if passed {
        write_atomically(&args.output, made.quantized.file.bytes())?;
    }
    if let Some(json) = &args.json {
        let record = QuantizationRecord {
            kiln: kiln_util::VERSION,
            model: &path,
            output: passed.then_some(args.output.as_path()),
            summary: &made.quantized.summary,
            bytes: weigh,
            kept: &made.kept,
            layers: made.costs.as_deref(),
            comparison: record.as_ref(),
            other_engines: others.iter().map(SpeedRecord::of).collect(),
        };
        output::write_json(json, &record, terminal)?;
    }
    if !outputs.take_stdout() {
        terminal.print(&text)?;
    }
    notes(args, gate_data.is_some(), passed, terminal);
    Ok(if passed {
        Outcome::Done
    } else {
        Outcome::CheckFailed
    })
}

/// Says what was not done.
fn notes(args: &QuantizeArgs, measured: bool, passed: bool, terminal: &Terminal) {
    if !passed {
        let output = args.output.display();
        let more = if args.auto || args.weights_only || args.fp16 {
            ""
        } else {
            ": `--auto` finds the layers to leave in float"
        };
        terminal.status("Note", &format!("{output} was not written{more}"));
    } else if !measured {
        terminal.status(
            "Note",
            "what it costs was not measured: --eval DATA or --max-drop 0.005 does so",
        );
    }
}

/// Makes the smaller model, and measures it where there are images for that. Returns nothing if interrupted.
fn make(
    args: &QuantizeArgs,
    path: &Path,
    original: &ModelFile,
    gate_data: Option<&String>,
    engine: &EngineRequest,
    app: &App<'_>,
) -> anyhow::Result<Option<Made>> {
    let context = &app.context;
    let model = match gate_data {
        Some(_) => Some(engines::load(original, engine, context)?),
        None => None,
    };
    let held_out = || {
        let labels = model.as_ref().map_or(&[][..], Model::labels);
        inputs::labeled(gate_data.map_or("", String::as_str), labels, context)
    };
    let gate = model.as_ref().map(|model| Gate {
        model,
        engine,
        images: &held_out,
        max_drop: args.most_lost(),
        batch_size: args.batch_size as usize,
    });
    let precision = match (args.fp16, args.weights_only) {
        (true, _) => Some(Precision::Float16),
        (_, true) => Some(Precision::Int8),
        _ => None,
    };
    let measure = |quantized: Quantized, kept: &[String]| -> anyhow::Result<Option<Made>> {
        let kept = kept.to_vec();
        let Some(gate) = &gate else {
            return Ok(Some(Made {
                quantized,
                kept,
                costs: None,
                comparison: None,
            }));
        };
        Ok(gate.measure(quantized, &kept, context)?.map(Made::from))
    };
    if let Some(precision) = precision {
        return measure(shrink(path, precision, engine, context)?, &[]);
    }
    let mut request = QuantizeRequest::new(engine.clone());
    request.images = args.images as usize;
    request.method = args.method;
    request.keep.clone_from(&args.keep);
    request.settings.equalize = args.equalize;
    if args.symmetric {
        request.settings.activations = Activations::Symmetric;
    }
    let data = args.data.as_deref().unwrap_or_default();
    let images = || inputs::calibration(data, context);
    let Some(calibrated) = Calibrated::open(path, &request, images, context)? else {
        return Ok(None);
    };
    let costs = if args.auto || args.sensitivity.is_some() {
        let Some(costs) = calibrated.sensitivities(JUDGED, context)? else {
            return Ok(None);
        };
        Some(costs)
    } else {
        None
    };
    let made = match (&gate, &costs) {
        (Some(gate), Some(costs)) if args.auto => calibrated
            .fewest_in_float(costs, &args.keep, gate, context)?
            .map(Made::from),
        _ => measure(calibrated.quantize(&args.keep, context)?, &args.keep)?,
    };
    Ok(made.map(|made| Made { costs, ..made }))
}

impl From<Passed> for Made {
    fn from(passed: Passed) -> Self {
        Self {
            quantized: passed.quantized,
            kept: passed.kept,
            costs: None,
            comparison: Some(passed.comparison),
        }
    }
}

/// What the most costly layers cost.
fn layers(costs: &[Sensitivity], kept: &[String]) -> anyhow::Result<String> {
    let rows = costs.iter().take(LISTED).map(|cost| {
        let stays = kept.contains(&cost.layer);
        [
            cost.layer.clone(),
            format!("{:.2e}", cost.noise),
            if stays { "float" } else { "" }.to_owned(),
        ]
    });
    let header = ["layer", "noise alone in 8 bits", ""].map(str::to_owned);
    let mut text = format!("\n{}\n", text_table(header, rows, 1));
    if let Some(more) = costs.len().checked_sub(LISTED).filter(|more| *more > 0) {
        writeln!(text, "and {} that cost less", counted(more as u64, "layer"))?;
    }
    if !kept.is_empty() {
        writeln!(
            text,
            "{} of {} layers in float",
            thousands(kept.len()),
            thousands(costs.len())
        )?;
    }
    Ok(text)
}

/// Reads how ranges are found.
fn method(text: &str) -> Result<Method, String> {
    let percent = |text: &str| {
        let share = text
            .parse::<f64>()
            .ok()
            .filter(|it| (50.0..=100.0).contains(it));
        share.map(|share| Method::Percentile(share / 100.0))
    };
    let found = match text.split_once('=') {
        None if text == "mse" => Some(Method::Mse),
        None if text == "minmax" => Some(Method::MinMax),
        None if text == "entropy" => Some(Method::Entropy),
        Some(("percentile", share)) => percent(share),
        _ => None,
    };
    found.ok_or_else(|| {
        "expected `mse`, `minmax`, `entropy`, or `percentile=` with a number from 50 to 100, such as `percentile=99.99`".into()
    })
}
