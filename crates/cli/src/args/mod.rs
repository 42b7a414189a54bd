//! The command line as typed: what all commands share. Each command's own arguments are beside it.

mod batch;
mod engine;
mod limits;
mod overrides;
mod recipe;

use clap::{Parser, Subcommand};

pub use batch::{BatchArgs, ORIGIN, origin, shard, written};
pub use engine::{EngineArgs, EnginesArgs, OneEngineArgs};
pub use limits::LimitsArgs;
pub use overrides::{OverridesArgs, PreprocessArgs};
pub use recipe::{RecipeArgs, TrainingArgs, is_slow, open_quietly, recipe_text};

use crate::commands::{
    BenchArgs, CompareArgs, CompletionsArgs, DataArgs, DescribeArgs, DoctorArgs, EmbedArgs,
    EvalArgs, ExplainArgs, ExportArgs, FetchArgs, InitArgs, ManArgs, MergeArgs, PredictArgs,
    ProbeArgs, QuantizeArgs, ReportArgs, RunArgs, ServeArgs, SummaryArgs, SweepArgs, TrainArgs,
    VerifyArgs,
};

/// Train image classifiers, export them as ONNX, and run them.
#[derive(Debug, Parser)]
#[command(name = "kiln", version, arg_required_else_help = true)]
pub struct Args {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Print results and errors only
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Use only what is in the cache (or set `KILN_OFFLINE=1`)
    #[arg(long, global = true)]
    pub offline: bool,
    /// Skip images that cannot be read, and list them at the end
    #[arg(long, global = true)]
    pub skip_bad: bool,
    /// Number of threads [default: one per core]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    #[command(flatten)]
    pub limits: LimitsArgs,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a recipe that suits a folder of images
    Init(InitArgs),
    /// Train, export, verify and evaluate a recipe
    #[command(
        override_usage = "kiln run [OPTIONS] <RECIPE|FOLDER>\n       kiln run [OPTIONS] --resume <RUN>"
    )]
    Run(RunArgs),
    /// Train a recipe
    #[command(
        override_usage = "kiln train [OPTIONS] <RECIPE|FOLDER>\n       kiln train [OPTIONS] --resume <RUN>"
    )]
    Train(TrainArgs),
    /// Fit a classifier of images on a pretrained network's features, in one go
    Probe(ProbeArgs),
    /// Run every combination of a recipe's `[sweep]` and compare them
    Sweep(SweepArgs),
    /// Write a run or a sweep as one HTML page
    Report(ReportArgs),
    /// Write a run's best weights as ONNX
    Export(ExportArgs),
    /// Replay the golden vectors inside a model file on each engine
    Verify(VerifyArgs),
    /// Measure a model on a dataset
    Eval(EvalArgs),
    /// Classify images
    Predict(PredictArgs),
    /// Serve models over HTTP and gRPC, with a page to try them
    Serve(ServeArgs),
    /// Put the predictions of all shards together, with the figures of the whole
    Merge(MergeArgs),
    /// Show where a model looks: what covering parts of an image does to a class
    Explain(ExplainArgs),
    /// Write the feature vectors of images, for NumPy
    Embed(EmbedArgs),
    /// Show a model's inputs, operators, outputs and preprocessing, and write them into a copy
    Describe(DescribeArgs),
    /// Measure a model's latency and throughput
    Bench(BenchArgs),
    /// Compare two models on a dataset, to decide whether one may replace the other
    Compare(CompareArgs),
    /// Make a model smaller, and measure what it costs
    Quantize(QuantizeArgs),
    /// Count a dataset's images by class, and draw samples
    Data(DataArgs),
    /// Show a recipe's layers, output shapes and parameters
    Summary(SummaryArgs),
    /// Download datasets, weights and libraries into the cache
    Fetch(FetchArgs),
    /// Show what this machine can do, what is missing, and how to get it
    Doctor(DoctorArgs),
    /// Print a script that completes kiln's commands and options in a shell
    Completions(CompletionsArgs),
    /// Write manual pages
    Man(ManArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Args;

    /// The options below each heading of a command's help, without the global ones.
    fn help(name: &str) -> Vec<(String, Vec<String>)> {
        let mut command = Args::command();
        let text = command
            .find_subcommand_mut(name)
            .expect("a command")
            .render_help()
            .to_string();
        let mut sections = Vec::new();
        for line in text.lines() {
            if line.ends_with(':') && !line.starts_with(' ') {
                sections.push((line.trim_end_matches(':').to_owned(), Vec::new()));
            } else if let (Some(option), Some((_, options))) = (
                line.split_whitespace().find(|word| word.starts_with("--")),
                sections.last_mut(),
            ) && line.trim_start().starts_with('-')
            {
                let (name, _) = option.split_once('[').unwrap_or((option, ""));
                options.push(name.to_owned());
            }
        }
        sections
    }

    #[test]
    fn a_recipe_and_a_run_to_resume_are_two_usages() {
        for command in ["run", "train"] {
            let args = ["kiln", command, "--resume", "runs/x", "recipe.toml"];
            let message = Args::command()
                .try_get_matches_from(args)
                .unwrap_err()
                .to_string();
            assert!(message.contains("cannot be used with"), "{message}");
            assert!(
                message.contains(&format!(
                    "Usage: kiln {command} [OPTIONS] <RECIPE|FOLDER>\n"
                )),
                "{message}"
            );
            assert!(!message.contains("<RUN> [RECIPE]"), "{message}");
        }
    }

    #[test]
    fn only_what_is_said_about_a_model_stands_under_its_heading() {
        let expected = "--preprocess --size --channels --orientation --background --resize --resize-to --crop-pct --filter \
            --antialias --arithmetic --padding --crop-rounding --reducing-gap --scale --mean --std --layout --sidecar --labels --output --output-name \
            --threshold";
        for (name, own) in [
            ("eval", "--mistakes"),
            ("predict", "--csv"),
            ("explain", "--patch"),
            ("compare", "--max-drop"),
            ("bench", "--plot"),
        ] {
            let sections = help(name);
            let below = |title: &str| {
                let found = sections
                    .iter()
                    .find(|(heading, _)| heading.starts_with(title));
                found
                    .map(|(_, options)| options.join(" "))
                    .unwrap_or_default()
            };
            assert_eq!(below("Models of other exporters"), expected, "{name}");
            assert!(
                below("Options").split(' ').any(|option| option == own),
                "{name}: {sections:?}"
            );
        }
    }
}
