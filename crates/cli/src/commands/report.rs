//! `kiln report`.

use std::path::PathBuf;

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

/// What the page is about.
enum Subject {
    Sweep(SweepDir),
    Run(RunDir),
    /// Several, to be compared.
    Runs(Vec<RunDir>),
}

impl Subject {
    fn open(folders: &[PathBuf]) -> anyhow::Result<Self> {
        if let [folder] = folders {
            return Ok(if SweepDir::is_one(folder) {
                Self::Sweep(SweepDir::open(folder)?)
            } else {
                Self::Run(RunDir::open(folder)?)
            });
        }
        if let Some(sweep) = folders.iter().find(|folder| SweepDir::is_one(folder)) {
            bail!(
                "{} is a sweep, whose runs have a page of their own: name runs to compare",
                sweep.display()
            );
        }
        let runs = folders.iter().map(|folder| RunDir::open(folder));
        Ok(Self::Runs(runs.collect::<Result<_, _>>()?))
    }

    /// The file that its page is written to unless another is named.
    fn default_file(&self) -> PathBuf {
        match self {
            Self::Sweep(folder) => folder.file(SweepFile::Report),
            Self::Run(run) => run.file(RunFile::Report),
            Self::Runs(_) => COMPARISON.into(),
        }
    }

    /// The files that its page must not replace.
    fn others(&self) -> Vec<PathBuf> {
        match self {
            Self::Sweep(folder) => vec![
                folder.file(SweepFile::Record),
                folder.file(SweepFile::Results),
            ],
            Self::Run(run) => run.files_but(RunFile::Report),
            Self::Runs(runs) => {
                let files = runs.iter().flat_map(|run| {
                    let report = run.file(RunFile::Report);
                    run.files_but(RunFile::Report).into_iter().chain([report])
                });
                files.collect()
            }
        }
    }

    /// Makes the page; `inside` is whether it lies in the folder that it is about.
    fn page(self, inside: bool, app: &App<'_>) -> anyhow::Result<Page> {
        Ok(match self {
            Self::Sweep(folder) => sweep_page(&Results::read(&folder)?, inside)?,
            Self::Run(run) => run_page(&RunRecord::read(run)?, &app.context)?,
            Self::Runs(runs) => {
                let records = runs.into_iter().map(RunRecord::read);
                comparison_page(&records.collect::<Result<Vec<_>, _>>()?, &app.context)?
            }
        })
    }
}

/// Writes the page, and prints the files.
pub fn run(args: &ReportArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let subject = Subject::open(&args.folders)?;
    let is_own = args.output.is_none() && !matches!(subject, Subject::Runs(_));
    let path = args.output.clone();
    let path = path.unwrap_or_else(|| subject.default_file());
    let outputs = Outputs::check([("--output", Some(path.as_path()))], &subject.others())?;
    // The page of a run is made to be replaced.
    if !is_own {
        outputs.announce_replaced(app.terminal);
    }
    let page = subject.page(args.output.is_none(), app)?;
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
