//! `kiln man`.

use std::fs;
use std::path::PathBuf;

use anyhow::anyhow;
use clap::CommandFactory;

use crate::app::{App, Outcome};
use crate::args::Args;

#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Folder to write `kiln.1` and a page for each command into, such as
    /// ~/.local/share/man/man1
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Writes the pages, and prints the folder.
pub fn run(args: &ManArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let folder = &args.folder;
    fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Args::command(), folder))
        .map_err(|error| {
            let folder = folder.display();
            anyhow!("cannot write manual pages into `{folder}`: {error}: name another folder")
        })?;
    let shown = folder.display();
    app.terminal.print(&format!(
        "{shown}: `man {shown}/kiln.1` shows the first page\n"
    ))?;
    Ok(Outcome::Done)
}
