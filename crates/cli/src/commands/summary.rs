//! `kiln summary`: the table of Keras's `model.summary()`.

use kiln_model::Model;
use kiln_report::Table;
use serde::Serialize;

use super::Context;
use crate::args::SummaryArgs;
use crate::{Outcome, recipe};
use kiln_util::thousands;

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

pub fn run(args: &SummaryArgs, context: &Context<'_>) -> anyhow::Result<Outcome> {
    let recipe = recipe::read(&args.recipe)?;
    let model = recipe.model();
    let text = if args.plan {
        kiln_trainer::Plan::fused(model.layers()).to_string()
    } else if args.json {
        format!("{}\n", serde_json::to_string_pretty(&summary(&model))?)
    } else {
        format!("Model: {}\n{}", recipe.name, self::text(&model))
    };
    context.terminal.print(&text)?;
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

/// One line per layer; what is frozen has a column of its own where anything is.
pub fn layer_table(model: &Model) -> Table {
    let summary = summary(model);
    // As with Keras's `show_trainable`, but only where it says something.
    let any_frozen = summary.layers.iter().any(|row| row.frozen);
    let rows = summary.layers.iter().map(|row| {
        let dims: Vec<String> = row.output_shape.iter().map(ToString::to_string).collect();
        let name = format!("{} ({})", row.name, row.r#type);
        let frozen = any_frozen.then(|| {
            if row.frozen {
                "frozen".into()
            } else {
                String::new()
            }
        });
        let numbers = [
            format!("[batch, {}]", dims.join(", ")),
            thousands(row.parameters),
        ];
        std::iter::once(name)
            .chain(frozen)
            .chain(numbers)
            .collect::<Vec<_>>()
    });
    let header = ["Layer (type)"]
        .into_iter()
        .chain(any_frozen.then_some("Frozen"))
        .chain(["Output shape", "Param #"]);
    Table::new(header, rows, if any_frozen { 3 } else { 2 })
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
