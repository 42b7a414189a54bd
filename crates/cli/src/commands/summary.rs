//! `kiln summary`: the table of Keras's `model.summary()`.

use kiln_model::Model;
use kiln_pipeline::dataset;
use kiln_pipeline::report::{ModelSummary, layer_table};
use kiln_util::thousands;

use crate::app::{App, Outcome};
use crate::args::RecipeArgs;
use crate::output;

#[derive(Debug, clap::Args)]
pub struct SummaryArgs {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Print as JSON
    #[arg(long)]
    json: bool,
    /// List the layers inside of each layer too
    #[arg(long, conflicts_with_all = ["json", "plan"])]
    expand: bool,
    /// Print how the layers run on the CPU instead: which sequences kiln's kernels compute in one
    /// pass
    #[arg(long, conflicts_with = "json")]
    plan: bool,
}

/// Prints the table.
pub fn run(args: &SummaryArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let recipe = args.recipe.read(app)?;
    let model = recipe.model();
    // A recipe can be looked at without its dataset.
    if dataset::missing(&recipe.data.dataset, &app.context).is_none() {
        dataset::check_classes(&recipe, &app.context)?;
    }
    let text = || {
        Ok(if args.plan {
            kiln_trainer::Plan::fused(model.layers()).to_string()
        } else {
            format!("Model: {}\n{}", recipe.name, self::text(model, args.expand))
        })
    };
    output::print(args.json, &ModelSummary::new(model), text, app.terminal)?;
    Ok(Outcome::Done)
}

fn text(model: &Model, expand: bool) -> String {
    let (table, summary) = (
        layer_table(model, expand).to_text(),
        ModelSummary::new(model),
    );
    format!(
        "{table}\nTotal params: {}\nTrainable params: {}\nNon-trainable params: {}\n",
        thousands(summary.total_parameters),
        thousands(summary.trainable_parameters),
        thousands(summary.non_trainable_parameters),
    )
}
