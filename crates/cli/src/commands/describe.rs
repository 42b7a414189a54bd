//! `kiln describe`: what a model's file says, for people, or in other forms.

use std::path::{Path, PathBuf};

use kiln_pipeline::describe::{
    ConversionNote, Described, Description, SegmentList, TritonFiles, huggingface, timm, triton,
    with_metadata,
};
use kiln_pipeline::overrides::{OverridesRequest, Specifier};
use kiln_pipeline::{Error, engines};
use kiln_util::{bytes, write_atomically};

use crate::app::{App, Outcome};
use crate::hints;
use crate::output::{self, Outputs, same_file};
use crate::terminal::Terminal;

/// What to know about a file that keeps its weights in others.
const EXTERNAL: &str = "the model keeps weights in other files: \
     `--output FILE.onnx` writes a copy with them inside";

#[derive(Debug, clap::Args)]
pub struct DescribeArgs {
    /// Model file, run directory, or name of a network
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    /// Specify something about the model, such as `preprocess=torch`, `labels=labels.txt` or
    /// `layout=nhwc`; the keys are those of a sidecar
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// File that specifies the same [default: the model's name ending in .toml, where it is there]
    #[arg(long, value_name = "FILE.toml")]
    sidecar: Option<PathBuf>,
    /// Write a copy whose metadata say all of it; never the model itself
    #[arg(short, long, value_name = "FILE.onnx")]
    output: Option<PathBuf>,
    /// Write the preprocessing for Hugging Face's transformers, as `preprocessor_config.json`
    #[arg(long, value_name = "FILE.json")]
    huggingface: Option<PathBuf>,
    /// Write the preprocessing for timm, as `config.json`
    #[arg(long, value_name = "FILE.json")]
    timm: Option<PathBuf>,
    /// Write the model's configuration for NVIDIA Triton, as config.pbtxt, and the labels beside it
    /// as labels.txt
    #[arg(long, value_name = "FILE.pbtxt")]
    triton: Option<PathBuf>,
    /// List the segments of the graph in place of the rest, to choose where a backbone ends
    #[arg(long, conflicts_with_all = ["output", "huggingface", "timm", "triton"])]
    segments: bool,
    /// Print as JSON
    #[arg(long, conflicts_with_all = ["output", "huggingface", "timm", "triton"])]
    json: bool,
}

/// Prints what a model's file says and what is specified about it, or writes that in other forms.
pub fn run(args: &DescribeArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let file = engines::model_file(&args.model, &app.context)?;
    let named = [
        ("--output", args.output.as_deref()),
        ("--huggingface", args.huggingface.as_deref()),
        ("--timm", args.timm.as_deref()),
        ("--triton", args.triton.as_deref()),
    ];
    for (_, output) in named {
        output.map_or(Ok(()), |output| refuse_model(&file, output))?;
    }
    if let Some(output) = &args.output {
        engines::check_name(output).map_err(Error::from)?;
    }
    let sidecar = args.sidecar.clone();
    let read = sidecar
        .clone()
        .unwrap_or_else(|| file.with_extension("toml"));
    let outputs = Outputs::check(named, &[read])?;
    let mut request = OverridesRequest::parse("--set", &args.settings).map_err(Error::from)?;
    request.sidecar = sidecar;
    let described = Described::open(&file, &request, &app.context)?;
    if named.iter().any(|(_, output)| output.is_some()) {
        return write(args, &file, described, &outputs, app.terminal);
    }
    if args.segments {
        let segments = SegmentList::new(&described)?;
        output::print(
            args.json,
            &segments,
            || Ok(segments.to_text()),
            app.terminal,
        )?;
    } else {
        let description = Description::new(&file, &described, &name, &problem);
        let text = || Ok(description.to_text(&bytes(description.bytes as u64)));
        output::print(args.json, &description, text, app.terminal)?;
    }
    if described.has_external_data() {
        app.terminal.status("Note", EXTERNAL);
    }
    Ok(Outcome::Done)
}

/// Writes the files asked for: all of them are made before any of them is written.
fn write(
    args: &DescribeArgs,
    model_file: &Path,
    described: Described,
    outputs: &Outputs<'_>,
    terminal: &Terminal,
) -> anyhow::Result<Outcome> {
    let (file, spec) = described.into_parts()?;
    let proto = file.proto()?;
    let mut files = Vec::new();
    let mut notes = Vec::new();
    if let Some(output) = &args.output {
        let copy = with_metadata(file.bytes(), proto, &spec).map_err(Error::from)?;
        notes.extend(copy.notes);
        files.push((output.clone(), copy.bytes));
    }
    if let Some(output) = &args.huggingface {
        let config = huggingface(&spec).map_err(Error::from)?;
        notes.extend(config.notes);
        files.push((output.clone(), config.bytes));
    }
    if let Some(output) = &args.timm {
        let config = timm(&spec).map_err(Error::from)?;
        notes.extend(config.notes);
        files.push((output.clone(), config.bytes));
    }
    if let Some(output) = &args.triton {
        let made = triton(proto, &spec);
        files.push((output.clone(), made.config));
        if let Some(labels) = made.labels {
            let beside = output.with_file_name(TritonFiles::LABELS);
            refuse_other(&beside, &labels)?;
            files.push((beside, labels));
        }
    }
    outputs.announce_replaced(terminal);
    for (file, bytes) in files {
        refuse_model(model_file, &file)?;
        write_atomically(&file, &bytes)?;
        terminal.print(&format!("{}\n", file.display()))?;
    }
    for text in notes.into_iter().filter_map(note) {
        terminal.status("Note", text);
    }
    Ok(Outcome::Done)
}

/// Returns what people call one who specifies something.
fn name(specifier: &Specifier<'_>) -> String {
    match specifier {
        Specifier::Request(key) => format!("--set {key}"),
        Specifier::Sidecar(path) => path.display().to_string(),
        Specifier::Config(found) => found.describe(),
        Specifier::Metadata => "metadata".into(),
        Specifier::Graph => "graph".into(),
        Specifier::Values => "test images".into(),
        Specifier::Default => "default".into(),
        // One that is newer than this text.
        _ => "elsewhere".into(),
    }
}

/// Returns an error with what to do about it.
fn problem(error: &Error) -> String {
    match hints::of(error) {
        Some(help) => format!("{error}: {help}"),
        None => error.to_string(),
    }
}

fn note(note: ConversionNote) -> Option<&'static str> {
    Some(match note {
        ConversionNote::GoldenVectorsDropped => {
            "the golden vectors are left out: they were made with other preprocessing or labels"
        }
        ConversionNote::AssumedLogits => {
            "nobody specifies what the output is: it is written as logits (--set output=probabilities)"
        }
        ConversionNote::Antialiased => {
            "Pillow antialiases when an image shrinks, this model does not: such images differ slightly"
        }
        ConversionNote::CropShifted => {
            "where an odd number of pixels is cropped, the other tool's crop is one pixel from this model's"
        }
        ConversionNote::NotReduced => {
            "this model divides large images before it resizes them, the other tool does not: such images differ slightly"
        }
        ConversionNote::ChannelsFirst => {
            "this model takes channels last, the other tool returns them first: transpose its output"
        }
        // A note that is newer than this text.
        _ => return None,
    })
}

/// A file that nobody named is not replaced.
fn refuse_other(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    match std::fs::read(file) {
        Ok(found) if found != bytes => {
            anyhow::bail!(
                "`{}` is there already and holds something else: move it, or write to another folder",
                file.display()
            )
        }
        _ => Ok(()),
    }
}

/// Files that are named are replaced, as everywhere; the model that is described is not.
fn refuse_model(model: &Path, output: &Path) -> anyhow::Result<()> {
    if same_file(model, output) {
        anyhow::bail!(
            "`{}` is the model itself, which is never changed in place: write to another file",
            output.display()
        );
    }
    Ok(())
}
