//! `kiln embed`.

use std::ffi::OsString;
use std::path::PathBuf;

use kiln_pipeline::embed::{EmbedRequest, Embedder, check_name, table_beside};
use kiln_pipeline::runtime::RuntimeRecord;
use kiln_pipeline::{Error, engines, inputs};

use crate::app::{App, Outcome};
use crate::args::{OneEngineArgs, PreprocessArgs};
use crate::notes;
use crate::output::{self, Outputs};

#[derive(Debug, clap::Args)]
pub struct EmbedArgs {
    /// Model file, run directory, or name of a network
    #[arg(value_name = "MODEL.onnx")]
    model: PathBuf,
    /// Images: a folder (with all that is below), a glob pattern, a CSV list with a column path,
    /// Parquet, tar, CIFAR's or IDX files, mnist:test, or an image
    #[arg(long, value_name = "DATA")]
    data: OsString,
    /// File to write, `[images, features]` of float32 in NumPy's format; which image each row is goes
    /// into a file beside it that ends in .csv
    #[arg(short = 'o', long, value_name = "FILE.npy")]
    vectors: PathBuf,
    /// Segment, node or value of the graph that gives the vectors (`kiln describe --segments` lists
    /// them) [default: what the classifier takes]
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    #[command(flatten)]
    engine: OneEngineArgs,
    /// Images per batch; every thread works on one of its own [default: 64, fewer of large images]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    batch_size: Option<u32>,
    /// Print what was written as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    preprocess: PreprocessArgs,
}

/// Writes the vectors, and prints where they are.
pub fn run(args: &EmbedArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let context = &app.context;
    check_name(&args.vectors).map_err(Error::from)?;
    let file = engines::model_file(&args.model, context)?;
    let table = table_beside(&args.vectors);
    let mut read = args.preprocess.files(&file);
    read.push(args.data.clone().into());
    let named = [
        ("--vectors", Some(args.vectors.as_path())),
        ("the .csv file beside --vectors", Some(&table)),
    ];
    Outputs::check(named, &read)?.announce_replaced(app.terminal);
    let mut request = EmbedRequest::new(args.engine.request());
    request.engine.overrides = args.preprocess.request();
    request.output.clone_from(&args.output);
    request.batch_size = args.batch_size.map(|size| size as usize);
    let embedder = Embedder::open(&file, &request, context)?;
    notes::runtime(&RuntimeRecord::from(embedder.model()), app.terminal);
    let (images, classes) = inputs::known(&args.data, context)?;
    let Some(written) = embedder.write(images, &classes, &args.vectors, context)? else {
        app.terminal.status(
            "Stopped",
            "before all images had vectors: nothing was written",
        );
        return Ok(Outcome::Interrupted);
    };
    output::print(args.json, &written, || Ok(written.to_text()), app.terminal)?;
    Ok(Outcome::Done)
}
