//! `kiln report`.

use std::path::PathBuf;

use kiln_pipeline::report::{run_page, sweep_page};
use kiln_pipeline::run_record::RunRecord;
use kiln_pipeline::sweep::Results;
use kiln_run::{RunDir, RunFile, SweepDir, SweepFile};
use kiln_util::write_atomically;

use crate::app::{App, Outcome};
use crate::output::Outputs;
use crate::picture;

#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// Run directory or sweep, such as runs/quickstart or runs/report-sweep
    #[arg(value_name = "RUN")]
    folder: PathBuf,
    /// File to write [default: report.html in the folder]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Also write every picture of the page into this folder, as PNG and as SVG
    #[arg(long, value_name = "DIR")]
    pictures: Option<PathBuf>,
}

/// Writes the page, and prints the files.
pub fn run(args: &ReportArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let (page, default, others) = if SweepDir::is_one(&args.folder) {
        let folder = SweepDir::open(&args.folder)?;
        (
            sweep_page(&Results::read(&folder)?, args.output.is_none())?,
            folder.file(SweepFile::Report),
            vec![
                folder.file(SweepFile::Record),
                folder.file(SweepFile::Results),
            ],
        )
    } else {
        let run = RunDir::open(&args.folder)?;
        let path = run.file(RunFile::Report);
        let others = run.files_but(RunFile::Report);
        (
            run_page(&RunRecord::read(run)?, &app.context)?,
            path,
            others,
        )
    };
    let path = args.output.clone().unwrap_or(default);
    let outputs = Outputs::check([("--output", Some(path.as_path()))], &others)?;
    // The page of a run is made to be replaced.
    if args.output.is_some() {
        outputs.announce_replaced(app.terminal);
    }
    write_atomically(&path, page.to_html().as_bytes())?;
    let mut written = vec![path];
    if let Some(folder) = &args.pictures {
        picture::prepare_folder(folder)?;
        let pictures = page.pictures()?;
        let pictures = pictures.iter().map(|(name, picture)| (*name, picture));
        written.extend(picture::write_all(folder, pictures)?);
    }
    for path in &written {
        app.terminal.print(&format!("{}\n", path.display()))?;
    }
    Ok(Outcome::Done)
}
