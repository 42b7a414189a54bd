//! `kiln report`.

use kiln_run::{RunDir, RunFile, SweepDir, SweepFile};
use kiln_util::write_atomically;

use super::Context;
use crate::args::ReportArgs;
use crate::output::Outputs;
use crate::record::RunRecord;
use crate::sweep::Results;
use crate::{Outcome, pages, picture};

pub fn run(args: &ReportArgs, context: &Context<'_>) -> anyhow::Result<Outcome> {
    let (page, default, others) = if SweepDir::is_one(&args.folder) {
        let folder = SweepDir::open(&args.folder)?;
        (
            pages::sweep(&Results::read(&folder)?, args.output.is_none())?,
            folder.file(SweepFile::Report),
            vec![
                folder.file(SweepFile::Record),
                folder.file(SweepFile::Results),
            ],
        )
    } else {
        let run = RunDir::open(&args.folder)?;
        let (path, others) = (run.file(RunFile::Report), run.files_but(RunFile::Report));
        (pages::run(&RunRecord::read(run)?, context)?, path, others)
    };
    let path = args.output.clone().unwrap_or(default);
    Outputs::check([("--output", Some(path.as_path()))], &others)?;
    write_atomically(&path, page.to_html().as_bytes())?;
    let mut written = vec![path];
    if let Some(folder) = &args.pictures {
        picture::prepare_folder(folder)?;
        written.extend(picture::write_all(
            folder,
            page.pictures()?
                .iter()
                .map(|(name, picture)| (*name, picture)),
        )?);
    }
    for path in &written {
        context.terminal.print(&format!("{}\n", path.display()))?;
    }
    Ok(Outcome::Done)
}
