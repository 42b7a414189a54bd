//! `kiln serve`: hands over to `kiln-serve`, a program of its own, as cargo does with its subcommands. So building `kiln`
//! takes nothing of what a server needs.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};
use kiln_assets::Asset;
use kiln_pipeline::AssetProvider;

use crate::app::{App, Outcome};

/// The program.
const PROGRAM: &str = "kiln-serve";
/// The variable that names ONNX Runtime's library.
const LIBRARY: &str = "KILN_ORT_LIB";

#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct ServeArgs {
    /// Models and options of the server; `kiln serve --help` lists them
    #[arg(
        value_name = "ARGS",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    args: Vec<OsString>,
}

/// Puts `--` after `serve` where that is the first argument, so that all others reach the server as they are: some of
/// its options have the names of kiln's own.
pub fn verbatim(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    if args.get(1).is_some_and(|command| command == "serve") {
        args.insert(2, "--".into());
    }
    args
}

/// Starts the server in the place of this process, or waits for it where the system has no such thing.
pub fn run(args: &ServeArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let Some(program) = find() else {
        bail!(
            "`{PROGRAM}` is neither beside `kiln` nor in PATH: build it with `cargo build --release --workspace`, or install it \
             with `cargo install --path crates/serve`"
        );
    };
    let mut command = Command::new(&program);
    if let Some(threads) = app.context.threads {
        command.args(["--threads", &threads.to_string()]);
    }
    command.args(&args.args);
    // The server knows no cache.
    let cached = Asset::named("onnxruntime")
        .ok()
        .and_then(|asset| app.assets.lookup(&asset)?.into_iter().next());
    if let (None, Some(library)) = (std::env::var_os(LIBRARY), cached) {
        command.env(LIBRARY, library);
    }
    hand_over(command).with_context(|| format!("cannot run `{}`", program.display()))
}

/// Finds the program beside this one, or in PATH.
fn find() -> Option<PathBuf> {
    let name = format!("{PROGRAM}{}", std::env::consts::EXE_SUFFIX);
    let own = std::env::current_exe().ok();
    let beside = own.and_then(|path| Some(path.parent()?.to_path_buf()));
    let path = std::env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(&name))
        .find(|file| file.is_file())
}

#[cfg(unix)]
fn hand_over(mut command: Command) -> std::io::Result<Outcome> {
    use std::os::unix::process::CommandExt;

    Err(command.exec())
}

#[cfg(not(unix))]
fn hand_over(mut command: Command) -> std::io::Result<Outcome> {
    let status = command.status()?;
    std::process::exit(status.code().unwrap_or(2));
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    #[test]
    fn options_of_the_server_reach_it_though_kiln_has_them_too() {
        let typed = ["kiln", "serve", "--threads", "2", "m.onnx", "--help"].map(OsString::from);
        let args = Args::try_parse_from(verbatim(typed)).unwrap();
        assert_eq!(args.global.threads, None);
        let Command::Serve(args) = args.command else {
            panic!("another command");
        };
        assert_eq!(args.args, ["--threads", "2", "m.onnx", "--help"]);
        let others = ["kiln", "run", "serve"].map(OsString::from);
        assert_eq!(verbatim(others.clone()), others);
    }
}
