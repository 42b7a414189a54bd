//! `kiln report`.

use std::path::{Path, PathBuf};

use anyhow::bail;
use kiln_pipeline::report::{comparison_page, run_page, sweep_page};
use kiln_pipeline::run_record::RunRecord;
use kiln_pipeline::sweep::Results;
use kiln_report::Page;
use kiln_run::{RunDir, RunFile, SweepDir, SweepFile};
use kiln_util::write_atomically;

use crate::app::{App, Outcome};
use crate::output::Outputs;
use crate::picture;

#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// Run directory or sweep, such as runs/quickstart or runs/report-sweep; or two to six runs to compare, the first with
    /// each of the others
    #[arg(value_name = "RUN", required = true)]
    folders: Vec<PathBuf>,
    /// File to write [default: report.html in the folder; of several runs compare.html here]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Also write every picture of the page into this folder, as PNG and as SVG
    #[arg(long, value_name = "DIR")]
    pictures: Option<PathBuf>,
}

/// File for the page of several runs.
const COMPARISON: &str = "compare.html";

/// A page with the file that it is written to by default.
struct Made {
    page: Page,
    default: PathBuf,
    /// Files that it must not replace.
    others: Vec<PathBuf>,
    /// Whether that file is made to be replaced.
    is_own: bool,
}

fn make(args: &ReportArgs, app: &App<'_>) -> anyhow::Result<Made> {
    if let [folder] = args.folders.as_slice() {
        return of_one(folder, args.output.is_none(), app);
    }
    if let Some(sweep) = args.folders.iter().find(|folder| SweepDir::is_one(folder)) {
        bail!(
            "{} is a sweep, whose runs have a page of their own: name runs to compare",
            sweep.display()
        );
    }
    let runs: Vec<RunDir> = args
        .folders
        .iter()
        .map(|folder| RunDir::open(folder))
        .collect::<Result<_, _>>()?;
    let others = runs.iter().flat_map(|run| {
        let report = run.file(RunFile::Report);
        run.files_but(RunFile::Report).into_iter().chain([report])
    });
    let others = others.collect();
    let records = runs
        .into_iter()
        .map(RunRecord::read)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Made {
        page: comparison_page(&records, &app.context)?,
        default: COMPARISON.into(),
        others,
        is_own: false,
    })
}

/// The page of a run or a sweep; `inside` is whether it lies in its folder.
fn of_one(folder: &Path, inside: bool, app: &App<'_>) -> anyhow::Result<Made> {
    if SweepDir::is_one(folder) {
        let folder = SweepDir::open(folder)?;
        return Ok(Made {
            page: sweep_page(&Results::read(&folder)?, inside)?,
            default: folder.file(SweepFile::Report),
            others: vec![
                folder.file(SweepFile::Record),
                folder.file(SweepFile::Results),
            ],
            is_own: true,
        });
    }
    let run = RunDir::open(folder)?;
    let default = run.file(RunFile::Report);
    let others = run.files_but(RunFile::Report);
    Ok(Made {
        page: run_page(&RunRecord::read(run)?, &app.context)?,
        default,
        others,
        is_own: true,
    })
}

/// Writes the page, and prints the files.
pub fn run(args: &ReportArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let Made {
        page,
        default,
        others,
        is_own,
    } = make(args, app)?;
    let path = args.output.clone().unwrap_or(default);
    let outputs = Outputs::check([("--output", Some(path.as_path()))], &others)?;
    // The page of a run is made to be replaced.
    if args.output.is_some() || !is_own {
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
