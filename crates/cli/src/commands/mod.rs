//! One module per command.

mod bench;
mod compare;
mod data;
mod describe;
mod doctor;
mod eval;
mod export;
mod fetch;
mod predict;
mod report;
mod run;
mod summary;
mod sweep;
mod train;
mod verify;

pub use eval::MeasuredRecord;
pub use export::{Trained, behind_layer};
pub use summary::layer_table;
pub use train::curves;

use crate::args::{Args, Command};
use crate::assets::Assets;
use crate::dataset::FileSets;
use crate::terminal::Terminal;
use crate::{Outcome, interrupt};

/// What every command gets.
pub struct Context<'a> {
    pub terminal: &'a Terminal,
    pub assets: Assets<'a>,
    /// The number of threads asked for.
    pub threads: Option<u16>,
    /// Data sets of files that were read.
    pub files: FileSets,
}

pub fn run(args: Args, terminal: &Terminal) -> anyhow::Result<Outcome> {
    interrupt::listen();
    if let Some(threads) = args.global.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads.into())
            .build_global()?;
    }
    let context = Context {
        terminal,
        assets: Assets::new(&args.global, terminal)?,
        threads: args.global.threads,
        files: FileSets::new(args.global.skip_bad),
    };
    let outcome = match args.command {
        Command::Run(args) => run::run(&args, &context),
        Command::Train(args) => train::run(&args, &context),
        Command::Sweep(args) => sweep::run(&args, &context),
        Command::Report(args) => report::run(&args, &context),
        Command::Export(args) => export::run(&args, &context),
        Command::Verify(args) => verify::run(&args, &context),
        Command::Eval(args) => eval::run(&args, &context),
        Command::Predict(args) => predict::run(&args, &context),
        Command::Describe(args) => describe::run(&args, &context),
        Command::Bench(args) => bench::run(&args, &context),
        Command::Compare(args) => compare::run(&args, &context),
        Command::Data(args) => data::run(&args, &context),
        Command::Summary(args) => summary::run(&args, &context),
        Command::Fetch(args) => fetch::run(&args, &context),
        Command::Doctor(args) => doctor::run(&args, &context),
    };
    context.files.list_skipped(terminal);
    outcome
}
