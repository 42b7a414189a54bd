//! The `kiln` command line: it turns arguments into requests, and events and results into text.
//!
//! What kiln does is in `kiln-pipeline`; nothing is computed here. Results go to standard output,
//! progress and errors to standard error. Exit codes: 0 done; 1 a check ran and failed; 2 wrong usage
//! or bad input; 130 interrupted by Ctrl-C.
//!
//! | to find | look in |
//! | --- | --- |
//! | a command with its arguments | `commands` |
//! | arguments that several commands share | `args` |
//! | how events look on a terminal | `observer`, `live` |
//! | what to do about an error | `hints` |

#![forbid(unsafe_code)]

mod app;
mod args;
mod commands;
mod hints;
mod image_notes;
mod live;
mod notes;
mod observer;
mod output;
mod picture;
mod terminal;

use std::ffi::OsString;
use std::io::ErrorKind;
use std::process::ExitCode;

use clap::Parser;
use kiln_pipeline::{CachedAssets, CancelToken, Context};

use app::{App, Outcome};
use args::Args;
use observer::TerminalObserver;
use terminal::Terminal;

/// Runs the command line and returns the exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(commands::verbatim(args)) {
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
    match execute(&args, &terminal) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::CheckFailed) => ExitCode::from(1),
        Ok(Outcome::Interrupted) => ExitCode::from(130),
        // Whoever read images' results one by one has stopped reading, as `head` does: nothing is
        // wrong.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            terminal.error(&hints::message(&error));
            if let Some(help) = hints::help(&error) {
                terminal.help(&help);
            }
            ExitCode::from(2)
        }
    }
}

fn execute(args: &Args, terminal: &Terminal) -> anyhow::Result<Outcome> {
    let global = &args.global;
    let cancel = CancelToken::new();
    listen(cancel.clone());
    if let Some(threads) = global.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads.into())
            .build_global()?;
    }
    let assets = CachedAssets::from_env()?.offline(global.offline);
    let observer = TerminalObserver::new(terminal);
    let mut context = Context::new(&assets, &observer).skip_unreadable(global.skip_bad);
    context.limits = Some(global.limits.limits(terminal));
    context.cancel = cancel;
    context.threads = global.threads.map(usize::from);
    let app = App {
        terminal,
        assets: &assets,
        context,
    };
    let outcome = commands::run(&args.command, &app);
    terminal.skipped(&app.context.files.skipped());
    outcome
}

/// Begins to listen to Ctrl-C: the first one stops work that watches the token after its current
/// step; without such work, and the second time, it ends the program at once. Where the system does
/// not allow it, Ctrl-C just ends the program.
fn listen(token: CancelToken) {
    let _ = ctrlc::set_handler(move || {
        if token.is_cancelled() || !token.is_watched() {
            std::process::exit(130);
        }
        token.cancel();
    });
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut causes = error.chain();
    causes.any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
    })
}
