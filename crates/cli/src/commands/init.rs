//! `kiln init`: a recipe for a folder of images.

use std::path::{Path, PathBuf};

use anyhow::bail;
use kiln_pipeline::init::{Draft, draft};
use kiln_util::shown;

use crate::app::{App, Outcome};
use crate::args::is_slow;
use crate::output::{self, Outputs, is_stdout, quoted};

#[derive(Debug, clap::Args)]
pub struct InitArgs {
    /// Images: a folder with a folder for each class, or with such in train, val and test; or a CSV
    /// list with the columns path and label
    #[arg(value_name = "FOLDER|LIST")]
    data: PathBuf,
    /// Recipe to write; - for standard output
    #[arg(
        short = 'o',
        long,
        value_name = "FILE.toml",
        default_value = "recipe.toml"
    )]
    write: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    force: bool,
}

/// Looks at the images, writes the recipe, and prints what was found.
pub fn run(args: &InitArgs, app: &App<'_>) -> anyhow::Result<Outcome> {
    let file = &args.write;
    if !args.force && !is_stdout(file) && file.exists() {
        bail!(
            "`{}` is already there: replace it with --force, or write another file with -o",
            file.display()
        );
    }
    let outputs = Outputs::check([("--write", Some(file.as_path()))], &[&args.data])?;
    let draft = draft(&args.data, &app.context)?;
    outputs.announce_replaced(app.terminal);
    let text = format!("{}{}", header(&args.data, file), draft.text);
    output::write(file, text.into_bytes(), app.terminal)?;
    for note in draft.found.notes() {
        app.terminal.status("Note", &note);
    }
    if !is_stdout(file) {
        app.terminal.print(&printed(&draft, args, app)?)?;
    }
    Ok(Outcome::Done)
}

/// The first lines of the file.
fn header(data: &Path, file: &Path) -> String {
    let train = if is_stdout(file) {
        String::new()
    } else {
        format!(
            "; `kiln run {}` trains it",
            quoted(&file.display().to_string())
        )
    };
    // A path may hold line breaks, a comment may not.
    let command = shown(
        &format!("`kiln init {}`{train}", quoted(&data.display().to_string())),
        1000,
    );
    format!("# Made by {command}. docs/recipes.md lists all keys. Found:\n")
}

/// What was found and chosen, and what to do next.
fn printed(draft: &Draft, args: &InitArgs, app: &App<'_>) -> anyhow::Result<String> {
    let mut lines = vec![format!("{}:", args.data.display())];
    lines.extend(draft.found.lines().iter().map(|line| format!("  {line}")));
    lines.push(String::new());
    let file = args.write.display();
    lines.push(format!("{file}: {}", draft.choice.describe()));
    lines.push(String::new());
    let run = format!("kiln run {}", quoted(&args.write.display().to_string()));
    if is_slow(draft, app)? {
        lines.push(
            "Next: kiln fetch onnxruntime, which computes features many times as fast".into(),
        );
        lines.push(format!("      {run}"));
    } else {
        lines.push(format!("Next: {run}"));
    }
    Ok(lines.join("\n") + "\n")
}
