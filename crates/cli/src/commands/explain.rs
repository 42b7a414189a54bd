//! `kiln explain`.

use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

use kiln_inference::Model;
use kiln_pipeline::explain::{ExplainRequest, Explainer, Explanation, Patches};
use kiln_pipeline::inputs::{self, Input};
use kiln_pipeline::report::Seen;
use kiln_pipeline::runtime::RuntimeRecord;
use kiln_pipeline::{Error, engines};
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
    /// Images, folders (with all that is below), glob patterns, CSV lists with a column path, IDX
    /// files, mnist:test, or `-` for an image on standard input
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<OsString>,
    /// Class to explain, by its name or its number from 0 [default: the predicted class of each
    /// image]
    #[arg(long, value_name = "NAME|NUMBER", allow_hyphen_values = true)]
    class: Option<String>,
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
    /// Print one JSON object per line, with the drop of every patch
    #[arg(long)]
    json: bool,
}

/// The first line of JSON: what all others were computed on, and where the patches lie.
#[derive(Serialize)]
struct Header<'a> {
    runtime: RuntimeRecord,
    #[serde(flatten)]
    patches: &'a Patches,
}

#[derive(Serialize)]
struct Record<'a> {
    image: &'a str,
    label: &'a str,
    index: usize,
    probability: f32,
    largest: Largest,
    /// Of every patch, row by row.
    drops: &'a [f32],
}

/// The patch whose drop is the largest.
#[derive(Serialize)]
struct Largest {
    drop: f32,
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

/// Covers the images patch by patch, and prints and draws what that changes.
pub fn run(args: &ExplainArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let (terminal, context) = (app.terminal, &app.context);
    let path_of_model = engines::model_file(&args.model, context)?;
    let mut read = args.engine.overrides.files(&path_of_model);
    read.extend(args.images.iter().map(PathBuf::from));
    let file = args.pictures.as_deref().filter(|path| !is_folder(path));
    file.map_or(Ok(()), picture::check)?;
    Outputs::check([("--pictures", file)], &read)?.announce_replaced(terminal);
    let images = inputs::unlabeled(&args.images, None, context)?;
    let model_file = engines::open(&path_of_model)?;
    let model = engines::load(&model_file, &args.engine.request(context)?, context)?;
    let mut request = ExplainRequest::default();
    request.class.clone_from(&args.class);
    request.patch = args.patch;
    request.stride = args.stride;
    request.batch_size = args.batch_size.map(|size| size as usize);
    let explainer = Explainer::new(&model, &request).map_err(Error::from)?;
    let patches = explainer.patches();
    let mut pictures = Pictures::new(args.pictures.as_deref(), &model)?;
    let header = Header {
        runtime: RuntimeRecord::from(&model),
        patches,
    };
    notes::runtime(&header.runtime, terminal);
    terminal.status("Covering", &covering(patches));
    if args.json {
        print_json(&header, terminal)?;
    }
    let source = images.source.clone();
    let ended = explainer.explain(images, context, |input, explanation| {
        let name = name(input);
        if args.json {
            print_json(&record(&name, explanation, patches), terminal)?;
        } else {
            terminal.print(&line(&name, explanation, patches))?;
        }
        pictures.add(input, explanation, patches, &model)
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
    notes::assumptions(&model, terminal);
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

fn name(input: &Input) -> String {
    let path = input.path().map(std::borrow::Cow::into_owned);
    path.unwrap_or_else(|| input.index.to_string())
}

/// `cat.jpg: cat (98.10 %), which drops by 94.90 points when rows 84 to 111 and columns 70 to 97 are covered`.
fn line(image: &str, explanation: &Explanation, patches: &Patches) -> String {
    let what = match explanation.decisive() {
        Some((patch, drop)) => {
            let [rows, columns] = patches.place(patch).map(ends);
            format!(
                "which drops by {:.2} points when rows {} to {} and columns {} to {} are covered",
                100.0 * drop,
                rows[0],
                rows[1],
                columns[0],
                columns[1],
            )
        }
        None => format!(
            "which no patch lowers by more than {} point: no single place decides",
            100.0 * Explanation::NEGLIGIBLE
        ),
    };
    format!(
        "{}: {} ({}), {what}\n",
        shown(image, usize::MAX),
        shown(&explanation.label, usize::MAX),
        percent(explanation.probability.into()),
    )
}

fn record<'a>(image: &'a str, explanation: &'a Explanation, patches: &Patches) -> Record<'a> {
    let (patch, drop) = explanation.largest();
    let [rows, columns] = patches.place(patch).map(ends);
    Record {
        image,
        label: &explanation.label,
        index: explanation.index,
        probability: explanation.probability,
        largest: Largest {
            drop,
            rows,
            columns,
        },
        drops: &explanation.drops,
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
        patches: &Patches,
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
            Self::File(_, seen) => seen.push_explained(input, &caption, explanation, patches)?,
            Self::Folder(folder) => {
                let mut seen = Seen::new(model.preprocessing())?;
                seen.push_explained(input, &caption, explanation, patches)?;
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
