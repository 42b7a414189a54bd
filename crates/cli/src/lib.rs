//! The `kiln` command line: arguments, progress, exit codes.
//!
//! Results go to standard output, progress and errors to standard error. Exit codes: 0 done; 1 a
//! check ran and failed; 2 wrong usage or bad input; 130 stopped by Ctrl-C.

#![forbid(unsafe_code)]

mod args;
mod assets;
mod batch;
mod commands;
mod dataset;
mod declare;
mod engines;
mod golden;
mod hints;
mod inputs;
mod interrupt;
mod named;
mod output;
mod pages;
mod parity;
mod picture;
mod predictions;
mod receipt;
mod recipe;
mod record;
mod sign_of_life;
mod speed;
mod sweep;
mod terminal;
mod unreadable;

use std::ffi::OsString;
use std::io::ErrorKind;
use std::process::ExitCode;

use clap::Parser;

use args::Args;
use terminal::Terminal;

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It did what was asked.
    Done,
    /// It checked something, which was not so.
    CheckFailed,
    /// It was stopped by Ctrl-C.
    Interrupted,
}

/// Runs the command line and says how it ended.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            // Help and version are no errors: clap knows which stream and which code.
            let code = error.exit_code();
            return match error.print() {
                Err(error) if error.kind() != ErrorKind::BrokenPipe => ExitCode::from(2),
                _ => ExitCode::from(code as u8),
            };
        }
    };
    let terminal = Terminal::new(args.global.quiet);
    match commands::run(args, &terminal) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::CheckFailed) => ExitCode::from(1),
        Ok(Outcome::Interrupted) => ExitCode::from(130),
        // Whoever read images' results one by one has stopped reading, as `head` does: nothing is
        // wrong.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            terminal.error(&error.to_string());
            if let Some(help) = hints::help(&error) {
                terminal.help(&help);
            }
            ExitCode::from(2)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
