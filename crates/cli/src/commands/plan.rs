//! `--dry-run`: what would be trained.

use std::fmt::Write;

use kiln_data::Decoding;
use kiln_pipeline::plan::{Plan, PlannedPhase, plan};
use kiln_pipeline::recipe::RecipeText;
use kiln_pipeline::train::TrainRequest;
use kiln_util::{bytes, counted, thousands};

use crate::app::{App, Outcome};
use crate::output;

/// Prints what training a recipe would do.
pub fn run(
    recipe: &RecipeText,
    overrides: &[String],
    request: &TrainRequest,
    json: bool,
    app: &App<'_>,
) -> anyhow::Result<Outcome> {
    // Counting needs no pixels; that all images can be read is found out.
    app.context.files.set_decoding(Decoding::Verify);
    let plan = plan(recipe, overrides, request, &app.context)?;
    output::print(json, &plan, || Ok(text(&plan)), app.terminal)?;
    Ok(Outcome::Done)
}

fn text(plan: &Plan) -> String {
    let mut text = format!("{}: a dry run, nothing is written\n", plan.recipe);
    let mut line = |title: &str, words: String| {
        let _ = writeln!(text, "  {title:<10}{words}");
    };
    line(
        "data",
        format!("{}, {}", plan.data, counted(plan.classes as u64, "class")),
    );
    line(
        "images",
        match plan.images {
            Some(images) => format!(
                "{} to train on, {} to validate on, {} to test on",
                thousands(images.train),
                thousands(images.validation),
                thousands(images.test)
            ),
            None => "not known before they are fetched".into(),
        },
    );
    line(
        "model",
        match plan.model {
            Some(model) => {
                let [channels, height, width] = model.input;
                format!(
                    "{}, {channels} x {height} x {width} pixels",
                    counted(model.parameters as u64, "parameter")
                )
            }
            None => "not known before its backbone is fetched".into(),
        },
    );
    for (at, phase) in plan.phases.iter().enumerate() {
        let title = match plan.phases.len() {
            1 => "training".into(),
            _ => format!("phase {}", at + 1),
        };
        line(&title, self::phase(phase, plan.batch_size));
    }
    line("device", plan.device.clone());
    line("run", plan.run.display().to_string());
    for asset in &plan.fetch {
        let (name, size, license) = (&asset.name, bytes(asset.bytes), &asset.license);
        line("fetch", format!("{name}, {size} ({license})"));
    }
    text
}

/// `10 epochs of 96 steps of 32 images, adam at 0.001, 12,810 parameters`.
fn phase(phase: &PlannedPhase, batch_size: usize) -> String {
    let epochs = counted(phase.epochs as u64, "epoch");
    let mut text = match (phase.steps, phase.learning_rate) {
        (Some(steps), _) => {
            let steps = counted(steps as u64, "step");
            format!("{epochs} of {steps} of {batch_size} images")
        }
        (None, Some(_)) => format!("{epochs} in batches of {batch_size} images"),
        (None, None) => format!("{} of all images", counted(phase.epochs as u64, "fit")),
    };
    let _ = write!(text, ", {}", phase.optimizer);
    if let Some(rate) = phase.learning_rate {
        let _ = write!(text, " at {rate}");
    }
    if let Some(trained) = phase.trained {
        let trained = counted(trained as u64, "parameter");
        let _ = write!(text, ", {trained} trained");
    }
    text
}
