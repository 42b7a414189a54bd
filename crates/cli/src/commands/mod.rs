//! One module per command, with its arguments.

mod bench;
mod compare;
mod completions;
mod data;
mod describe;
mod doctor;
mod embed;
mod eval;
mod explain;
mod export;
mod fetch;
mod find_lr;
mod init;
mod man;
mod merge;
mod plan;
mod predict;
mod probe;
mod quantize;
mod report;
mod run;
mod serve;
mod summary;
mod sweep;
mod train;
mod verify;

pub use bench::BenchArgs;
pub use compare::CompareArgs;
pub use completions::CompletionsArgs;
pub use data::DataArgs;
pub use describe::DescribeArgs;
pub use doctor::DoctorArgs;
pub use embed::EmbedArgs;
pub use eval::EvalArgs;
pub use explain::ExplainArgs;
pub use export::ExportArgs;
pub use fetch::FetchArgs;
pub use init::InitArgs;
pub use man::ManArgs;
pub use merge::MergeArgs;
pub use predict::PredictArgs;
pub use probe::ProbeArgs;
pub use quantize::QuantizeArgs;
pub use report::ReportArgs;
pub use run::RunArgs;
pub use serve::{ServeArgs, verbatim};
pub use summary::SummaryArgs;
pub use sweep::SweepArgs;
pub use train::TrainArgs;
pub use verify::VerifyArgs;

use crate::app::{App, Outcome};
use crate::args::Command;

/// Runs a command.
pub fn run(command: &Command, app: &App<'_>) -> anyhow::Result<Outcome> {
    match command {
        Command::Init(args) => init::run(args, app),
        Command::Run(args) => run::run(args, app),
        Command::Probe(args) => probe::run(args, app),
        Command::Train(args) => train::run(args, app),
        Command::Sweep(args) => sweep::run(args, app),
        Command::Report(args) => report::run(args, app),
        Command::Export(args) => export::run(args, app),
        Command::Verify(args) => verify::run(args, app),
        Command::Eval(args) => eval::run(args, app),
        Command::Predict(args) => predict::run(args, app),
        Command::Merge(args) => merge::run(args, app),
        Command::Explain(args) => explain::run(args, app),
        Command::Serve(args) => serve::run(args, app),
        Command::Embed(args) => embed::run(args, app),
        Command::Describe(args) => describe::run(args, app),
        Command::Bench(args) => bench::run(args, app),
        Command::Compare(args) => compare::run(args, app),
        Command::Quantize(args) => quantize::run(args, app),
        Command::Data(args) => data::run(args, app),
        Command::Summary(args) => summary::run(args, app),
        Command::Fetch(args) => fetch::run(args, app),
        Command::Doctor(args) => doctor::run(args, app),
        Command::Man(args) => man::run(args, app),
        Command::Completions(args) => completions::run(args, app),
    }
}
