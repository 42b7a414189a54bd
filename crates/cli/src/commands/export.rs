//! `kiln export`.

use std::path::PathBuf;

use kiln_pipeline::export::{ExportForm, ExportRequest, export_run};
use kiln_pipeline::web::export_web;
use kiln_run::RunDir;

use crate::app::{App, Outcome};
use crate::output::Outputs;

#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// Run directory, such as runs/quickstart
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// File to write [default: model.onnx in the run directory, model-softmax.onnx,
    /// model-sigmoid.onnx, model-uint8.onnx, head.onnx, or model-no-golden.onnx]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write a folder with a page that runs the model in the browser, for any web server to serve; ONNX Runtime Web is fetched
    #[arg(long, value_name = "DIR", conflicts_with_all = ["output", "softmax", "sigmoid", "head_only", "uint8_input"])]
    web: Option<PathBuf>,
    #[command(flatten)]
    form: FormArgs,
    /// Leave test images and their scores out of the file: `kiln verify` then cannot check it
    #[arg(long)]
    no_golden: bool,
}

/// What the exported graph begins and ends with.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
#[derive(Debug, clap::Args)]
struct FormArgs {
    /// End the graph in a softmax: probabilities in place of logits
    #[arg(long, conflicts_with = "sigmoid")]
    softmax: bool,
    /// The same of a model that is trained with a binary loss: end it in a sigmoid
    #[arg(long)]
    sigmoid: bool,
    /// Export only the layers after the frozen prefix: the input, `features`, is the output of the
    /// last frozen layer
    #[arg(long)]
    head_only: bool,
    /// Put the preprocessing into the graph: uint8 pixels NHWC in, probabilities out
    #[arg(long, conflicts_with = "head_only")]
    uint8_input: bool,
}

impl FormArgs {
    const fn form(&self) -> ExportForm {
        match *self {
            Self {
                head_only: true, ..
            } => ExportForm::HeadOnly,
            Self {
                uint8_input: true, ..
            } => ExportForm::Uint8Input,
            _ => ExportForm::Model,
        }
    }
}

/// Exports, and prints the file.
pub fn run(args: &ExportArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let run = RunDir::open(&args.run)?;
    if let Some(folder) = &args.web {
        let page = export_web(&run, folder, !args.no_golden, &app.context)?;
        app.terminal.print(&format!("{}\n", page.display()))?;
        return Ok(Outcome::Done);
    }
    let mut request = ExportRequest::default();
    request.form = args.form.form();
    request.softmax = args.form.softmax;
    request.sigmoid = args.form.sigmoid;
    request.golden = !args.no_golden;
    request.output.clone_from(&args.output);
    let default = request.default_file(&run.recipe(kiln_trainer::bases())?);
    let path = args.output.clone().unwrap_or_else(|| run.file(default));
    let named = [("--output", Some(path.as_path()))];
    let outputs = Outputs::check(named, &run.files_but(default))?;
    // The run's own file is made to be replaced.
    if args.output.is_some() {
        outputs.announce_replaced(app.terminal);
    }
    let path = export_run(&run, &request, &app.context)?;
    app.terminal.print(&format!("{}\n", path.display()))?;
    Ok(Outcome::Done)
}
