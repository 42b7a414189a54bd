//! `kiln explain`.

use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::bail;
use kiln_inference::Model;
use kiln_pipeline::Error;
use kiln_pipeline::engines;
use kiln_pipeline::explain::{
    Cells, ExplainError, ExplainRequest, Explainer, Explanation, Patches, Places, RunGradients,
};
use kiln_pipeline::inputs::{self, Input, Inputs};
use kiln_pipeline::report::Seen;
use kiln_pipeline::runtime::RuntimeRecord;
use kiln_run::RunDir;
use kiln_util::{percent, shown, thousands};
use serde::Serialize;

use crate::app::{App, Outcome};
use crate::args::EngineArgs;
use crate::notes;
use crate::output::Outputs;
use crate::picture;
use crate::terminal::Terminal;

#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// Model file, run directory, or name of a network
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    /// Images, folders (with all that is below), glob patterns, CSV lists with a column path,
    /// Parquet, tar, CIFAR's or IDX files, mnist:test, or `-` for an image on standard input
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<OsString>,
    /// Class to explain, by its name or its number from 0 [default: the predicted class of each
    /// image]
    #[arg(long, value_name = "NAME|NUMBER", allow_hyphen_values = true)]
    class: Option<String>,
    /// How: occlusion covers the image patch by patch; grad-cam follows the gradients of a run's model
    /// back to its last feature maps, for which MODEL is the run directory
    #[arg(long, value_name = "occlusion|grad-cam", default_value_t = Method::Occlusion)]
    method: Method,
    /// Side of the patch that is covered, in pixels of the model's input [default: an eighth of the
    /// shorter side]
    #[arg(long, value_name = "N")]
    patch: Option<usize>,
    /// Pixels from one patch to the next [default: half of --patch]
    #[arg(long, value_name = "N")]
    stride: Option<usize>,
    /// Draw each image as the model sees it and with its map: into a folder, or the first 48 as one PNG
    /// or SVG
    #[arg(short = 'o', long, value_name = "FOLDER|FILE.png")]
    pictures: Option<PathBuf>,
    #[command(flatten)]
    engine: EngineArgs,
    /// Patches per batch [default: 64, fewer of large images]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    batch_size: Option<u32>,
    /// Print one JSON object per line, with the value of every patch or place
    #[arg(long)]
    json: bool,
}

/// How images are explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Occlusion,
    GradCam,
}

kiln_util::str_enum!(Method { Occlusion = "occlusion", GradCam = "grad-cam" });

impl ExplainArgs {
    /// Refuses what is for patches alone.
    fn check(&self) -> anyhow::Result<()> {
        let options = [
            ("--patch", self.patch.is_some()),
            ("--stride", self.stride.is_some()),
            ("--batch-size", self.batch_size.is_some()),
        ];
        for (option, _) in options.iter().filter(|(_, given)| *given) {
            if self.method == Method::GradCam {
                bail!(
                    "{option} is for patches, which --method grad-cam does not cover: leave it out"
                );
            }
        }
        Ok(())
    }
}

/// The first line of JSON: what all others were computed on, and which places have a value.
#[derive(Serialize)]
struct Header<'a> {
    runtime: RuntimeRecord,
    #[serde(flatten)]
    places: &'a Places,
}

#[derive(Serialize)]
struct Record<'a> {
    image: &'a str,
    label: &'a str,
    index: usize,
    probability: f32,
    largest: Largest,
    /// Of every place, row by row.
    values: &'a [f32],
}

/// The place whose value is the largest.
#[derive(Serialize)]
struct Largest {
    value: f32,
    /// The first and the last row of pixels.
    rows: [usize; 2],
    columns: [usize; 2],
}

/// Where pictures go.
enum Pictures<'a> {
    None,
    /// One of each image.
    Folder(&'a Path),
    /// All in one.
    File(&'a Path, Seen),
}

/// Explains the images, and prints and draws what was found.
pub fn run(args: &ExplainArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    args.check()?;
    let (terminal, context) = (app.terminal, &app.context);
    let model = match args.method {
        Method::Occlusion => engines::model_file(&args.model, context)?,
        Method::GradCam => args.model.clone(),
    };
    let mut read = args.engine.overrides.files(&model);
    read.extend(args.images.iter().map(PathBuf::from));
    let file = args.pictures.as_deref().filter(|path| !is_folder(path));
    file.map_or(Ok(()), picture::check)?;
    Outputs::check([("--pictures", file)], &read)?.announce_replaced(terminal);
    let images = inputs::unlabeled(&args.images, None, context)?;
    let engine = args.engine.request(context)?;
    match args.method {
        Method::Occlusion => {
            let model = engines::load(&engines::open(&model)?, &engine, context)?;
            let mut request = ExplainRequest::default();
            request.class.clone_from(&args.class);
            request.patch = args.patch;
            request.stride = args.stride;
            request.batch_size = args.batch_size.map(|size| size as usize);
            let explainer = Explainer::new(&model, &request).map_err(Error::from)?;
            explain(args, images, &model, &explainer, app)
        }
        Method::GradCam => {
            let run = open_run(&args.model)?;
            let gradients = RunGradients::open(&run, &engine, context)?;
            let explainer = Explainer::by_gradients(&gradients, args.class.as_deref());
            let explainer = explainer.map_err(Error::from)?;
            explain(args, images, gradients.model(), &explainer, app)
        }
    }
}

/// Opens the run whose layers gradients go through.
fn open_run(path: &Path) -> anyhow::Result<RunDir> {
    if path.is_file() {
        let path = path.to_path_buf();
        return Err(Error::from(ExplainError::NoRun { path }).into());
    }
    Ok(RunDir::open(path)?)
}

fn explain(
    args: &ExplainArgs,
    images: Inputs,
    model: &Model,
    explainer: &Explainer<'_>,
    app: &App<'_>,
) -> anyhow::Result<Outcome> {
    let (terminal, context) = (app.terminal, &app.context);
    let places = explainer.places();
    let mut pictures = Pictures::new(args.pictures.as_deref(), model)?;
    let header = Header {
        runtime: RuntimeRecord::from(model),
        places,
    };
    notes::runtime(&header.runtime, terminal);
    match places {
        Places::Patches(patches) => terminal.status("Covering", &covering(patches)),
        Places::Cells(cells) => terminal.status("Following", &following(cells)),
        _ => {}
    }
    if args.json {
        print_json(&header, terminal)?;
    }
    let source = images.source.clone();
    let ended = explainer.explain(images, context, |input, explanation| {
        let name = name(input);
        if args.json {
            print_json(&record(&name, explanation, places), terminal)?;
        } else {
            terminal.print(&line(&name, explanation, places))?;
        }
        pictures.add(input, explanation, places, model)
    });
    // Also of what was done before an error.
    pictures.finish()?;
    let Some(images) = ended? else {
        return Ok(Outcome::Interrupted);
    };
    if images == 0 {
        let text = format!("to explain: there is no image in {source}");
        terminal.left_out("Nothing", &text, &[]);
        return Ok(Outcome::Done);
    }
    if let Some(path) = &args.pictures {
        let text = format!("where the model looks in {}", path.display());
        terminal.status("Drew", &text);
    }
    notes::assumptions(model, terminal);
    Ok(Outcome::Done)
}

/// Whether pictures go into a folder of this name: one that is there, or whose name has no ending.
fn is_folder(path: &Path) -> bool {
    let text = path.as_os_str().to_string_lossy();
    path.is_dir() || path.extension().is_none() || text.ends_with(std::path::is_separator)
}

/// `169 patches of 4 x 4 pixels in 28 x 28, one after the other, with the image's mean color`.
fn covering(patches: &Patches) -> String {
    let Patches {
        patch,
        height,
        width,
        ..
    } = patches;
    let count = thousands(patches.count());
    let noun = if patches.count() == 1 {
        "patch"
    } else {
        "patches"
    };
    format!(
        "{count} {noun} of {patch} x {patch} pixels in {height} x {width}, one after the other, with the image's mean color"
    )
}

/// `gradients of the class's score to conv2d_2: 7 x 7 places in 28 x 28 pixels`.
fn following(cells: &Cells) -> String {
    let Cells {
        layer,
        rows,
        columns,
        height,
        width,
        ..
    } = cells;
    format!(
        "the gradients of the class's score to `{layer}`: {rows} x {columns} places in {height} x {width} pixels"
    )
}

fn name(input: &Input) -> String {
    let path = input.path().map(std::borrow::Cow::into_owned);
    path.unwrap_or_else(|| input.index.to_string())
}

/// `cat.jpg: cat (98.10 %), which drops by 94.90 points when rows 84 to 111 and columns 70 to 97 are covered`.
fn line(image: &str, explanation: &Explanation, places: &Places) -> String {
    let what = match (places, explanation.decisive(places)) {
        (Places::Cells(_), Some((number, _))) => {
            format!("for which {} speak most", pixels(places, number))
        }
        (Places::Cells(_), None) => "for which no place speaks".into(),
        (_, Some((number, drop))) => format!(
            "which drops by {:.2} points when {} are covered",
            100.0 * drop,
            pixels(places, number)
        ),
        (_, None) => format!(
            "which no patch lowers by more than {} point: no single place decides",
            100.0 * places.negligible()
        ),
    };
    format!(
        "{}: {} ({}), {what}\n",
        shown(image, usize::MAX),
        shown(&explanation.label, usize::MAX),
        percent(explanation.probability.into()),
    )
}

/// `rows 84 to 111 and columns 70 to 97`.
fn pixels(places: &Places, number: usize) -> String {
    let [rows, columns] = places.place(number).map(ends);
    format!(
        "rows {} to {} and columns {} to {}",
        rows[0], rows[1], columns[0], columns[1]
    )
}

fn record<'a>(image: &'a str, explanation: &'a Explanation, places: &Places) -> Record<'a> {
    let (number, value) = explanation.largest();
    let [rows, columns] = places.place(number).map(ends);
    Record {
        image,
        label: &explanation.label,
        index: explanation.index,
        probability: explanation.probability,
        largest: Largest {
            value,
            rows,
            columns,
        },
        values: &explanation.values,
    }
}

/// The first and the last of a range.
fn ends(range: Range<usize>) -> [usize; 2] {
    [range.start, range.end - 1]
}

fn print_json(value: &impl Serialize, terminal: &Terminal) -> anyhow::Result<()> {
    Ok(terminal.print(&(serde_json::to_string(value)? + "\n"))?)
}

impl<'a> Pictures<'a> {
    fn new(output: Option<&'a Path>, model: &Model) -> anyhow::Result<Self> {
        Ok(match output {
            None => Self::None,
            Some(folder) if is_folder(folder) => {
                picture::prepare_folder(folder)?;
                Self::Folder(folder)
            }
            Some(file) => Self::File(file, Seen::new(model.preprocessing())?),
        })
    }

    /// Draws an image and its map, at once or with all others.
    fn add(
        &mut self,
        input: &Input,
        explanation: &Explanation,
        places: &Places,
        model: &Model,
    ) -> anyhow::Result<()> {
        let name = name(input);
        let path = Path::new(&name);
        let file_name = path.file_name().unwrap_or_default().to_string_lossy();
        let caption = format!(
            "{file_name}\n{}\n{}",
            explanation.label,
            percent(explanation.probability.into())
        );
        match self {
            Self::None => {}
            Self::File(_, seen) => seen.push_explained(input, &caption, explanation, places)?,
            Self::Folder(folder) => {
                let mut seen = Seen::new(model.preprocessing())?;
                seen.push_explained(input, &caption, explanation, places)?;
                // Images of several folders may have one name.
                let file = match (input.path(), path.file_stem()) {
                    (Some(_), Some(stem)) => format!("{}-{}.png", input.index, stem.display()),
                    _ => format!("{}.png", input.index),
                };
                if let Some(drawn) = seen.draw()? {
                    picture::write(&folder.join(file), &drawn)?;
                }
            }
        }
        Ok(())
    }

    /// Writes what is in one picture.
    fn finish(&self) -> anyhow::Result<()> {
        if let Self::File(file, seen) = self
            && let Some(drawn) = seen.draw()?
        {
            picture::write(file, &drawn)?;
        }
        Ok(())
    }
}
