//! `kiln report`.

use std::path::{Path, PathBuf};

use kiln_eval::Page;
use kiln_run::{RunDir, RunFile, SweepDir, SweepFile, check_writable, write_atomically};

use super::Context;
use crate::args::ReportArgs;
use crate::record::RunRecord;
use crate::sweep::Results;
use crate::{Outcome, pages};

pub fn run(args: &ReportArgs, context: &Context<'_>) -> anyhow::Result<Outcome> {
    let (page, default) = if SweepDir::is_one(&args.folder) {
        let folder = SweepDir::open(&args.folder)?;
        (pages::sweep(&Results::read(&folder)?, args.output.is_none())?, folder.file(SweepFile::Report))
    } else {
        let run = RunDir::open(&args.folder)?;
        let path = run.file(RunFile::Report);
        (pages::run(&RunRecord::read(run)?, context)?, path)
    };
    let path = args.output.clone().unwrap_or(default);
    check_writable(&path)?;
    write_atomically(&path, page.to_html().as_bytes())?;
    let pictures = args.pictures.as_ref().map(|folder| write_pictures(&page, folder)).transpose()?;
    for path in [path].iter().chain(pictures.iter().flatten()) {
        context.terminal.print(&format!("{}\n", path.display()))?;
    }
    Ok(Outcome::Done)
}

/// Writes each picture twice, and gives the files.
fn write_pictures(page: &Page, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder)
        .map_err(|error| anyhow::anyhow!("cannot write {}: {error}: name another folder", folder.display()))?;
    let mut written = Vec::new();
    for (name, picture) in page.pictures()? {
        for (ending, bytes) in [("png", picture.to_png()?), ("svg", picture.to_svg().into_bytes())] {
            let path = folder.join(format!("{name}.{ending}"));
            write_atomically(&path, &bytes)?;
            written.push(path);
        }
    }
    Ok(written)
}
