//! Predictions and the images that they still lack.

use std::path::Path;

use anyhow::bail;
use kiln_inference::{Model, ModelFile};

use super::{Origin, PredictionsFile, Row};
use crate::args::BatchArgs;
use crate::commands::Context;
use crate::inputs::Inputs;
use kiln_util::counted;

/// Opens the predictions of a model, of its file and loaded, on some images: anew or, with
/// `--resume`, behind the lines that are there, each of which must be of the image that has its
/// place, and of which `each` hears. Returns the images that have no line yet.
pub fn begin(
    path: &Path,
    (file, model): (&ModelFile, &Model),
    mut inputs: Inputs,
    args: &BatchArgs,
    context: &Context<'_>,
    each: &mut dyn FnMut(&Row<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<(PredictionsFile, Inputs)> {
    if args.resume && path == Path::new("-") {
        bail!("--resume needs a file to resume: give --predictions one in place of `-`");
    }
    let origin = Origin::new((file, model), &inputs, args.shard)?;
    let mut last = 0;
    let mut follow = |row: &Row<'_>| {
        same_image(row, &mut inputs, model.labels())?;
        last = row.index;
        each(row)
    };
    let (opened, lines) = PredictionsFile::open(path, &origin, args.resume, &mut follow)?;
    let opened = opened.flush_every(args.flush_every());
    if lines > 0 {
        if inputs.passed > 0 && !context.files.skip_bad() {
            bail!(
                "{} of {} before image {last} have no line in the predictions, because they could not be read: repair them \
                 and leave out --resume to start over, or leave them out with --skip-bad",
                counted(inputs.passed, "image"),
                inputs.source,
            );
        }
        let images = counted(lines, "image");
        context.terminal.status(
            "Resuming",
            &format!("behind {images} of {}", path.display()),
        );
    }
    inputs.resumed = lines;
    Ok((opened, inputs))
}

/// Takes the image that a line is of, and checks that it is the one that the line names.
fn same_image(row: &Row<'_>, inputs: &mut Inputs, classes: &[String]) -> anyhow::Result<()> {
    let input = inputs.take_at(row.index)?;
    let label = input
        .label
        .filter(|_| inputs.has_labels)
        .map(|label| classes[label as usize].as_str());
    for (what, expected, found) in [
        ("is", row.path.as_deref(), input.path().as_deref()),
        ("has the label", row.label.as_deref(), label),
    ] {
        if let (Some(expected), Some(found)) = (expected, found)
            && expected != found
        {
            bail!(
                "image {} {what} `{expected}` in the predictions, but `{found}` in {}: resume with the same images in the same \
                 order",
                row.index,
                inputs.source
            );
        }
    }
    Ok(())
}
