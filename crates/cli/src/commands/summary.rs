//! `kiln summary`: the table of Keras's `model.summary()`.

use kiln_model::Model;
use kiln_pipeline::dataset;
use kiln_pipeline::report::layer_table;
use kiln_util::thousands;
use serde::Serialize;

use crate::app::{App, Outcome};
use crate::args::RecipeArgs;

#[derive(Debug, clap::Args)]
pub struct SummaryArgs {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Print as JSON
    #[arg(long)]
    json: bool,
    /// Print how the layers run on the CPU instead: which sequences kiln's kernels compute in one
    /// pass
    #[arg(long, conflicts_with = "json")]
    plan: bool,
}

#[derive(Serialize)]
struct Summary<'a> {
    layers: Vec<Row<'a>>,
    total_parameters: usize,
    trainable_parameters: usize,
    non_trainable_parameters: usize,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    r#type: &'a str,
    /// Without the batch.
    output_shape: Vec<usize>,
    parameters: usize,
    frozen: bool,
}

/// Prints the table.
pub fn run(args: &SummaryArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let recipe = args.recipe.read()?;
    let model = recipe.model();
    // A recipe can be looked at without its dataset.
    if dataset::missing(&recipe.data.dataset, &app.context).is_none() {
        dataset::check_classes(&recipe, &app.context)?;
    }
    let text = if args.plan {
        kiln_trainer::Plan::fused(model.layers()).to_string()
    } else if args.json {
        format!("{}\n", serde_json::to_string_pretty(&summary(model))?)
    } else {
        format!("Model: {}\n{}", recipe.name, self::text(model))
    };
    app.terminal.print(&text)?;
    Ok(Outcome::Done)
}

fn summary(model: &Model) -> Summary<'_> {
    let counts = model.counts();
    let rows = model.layers().iter().map(|layer| Row {
        name: &layer.name,
        r#type: layer.kind.type_name(),
        output_shape: layer.output.dims(),
        parameters: layer.count(),
        frozen: layer.frozen,
    });
    Summary {
        layers: rows.collect(),
        total_parameters: counts.total(),
        trainable_parameters: counts.trainable,
        non_trainable_parameters: counts.non_trainable,
    }
}

fn text(model: &Model) -> String {
    let (table, summary) = (layer_table(model).to_text(), summary(model));
    format!(
        "{table}\nTotal params: {}\nTrainable params: {}\nNon-trainable params: {}\n",
        thousands(summary.total_parameters),
        thousands(summary.trainable_parameters),
        thousands(summary.non_trainable_parameters),
    )
}
