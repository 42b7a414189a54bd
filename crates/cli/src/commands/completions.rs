//! `kiln completions`.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::app::{App, Outcome};
use crate::args::Args;

#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// Shell to complete in
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Prints the script.
pub fn run(args: &CompletionsArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "kiln", &mut script);
    app.terminal.print(&String::from_utf8(script)?)?;
    Ok(Outcome::Done)
}
