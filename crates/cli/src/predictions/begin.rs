//! Predictions and the images that they still lack.

use std::path::Path;

use super::{Columns, Origin, PredictionsFile, Row};
use crate::args::BatchArgs;
use crate::commands::Context;
use crate::inputs::Inputs;
use crate::terminal::thousands;

/// Opens the predictions of a model on some images, anew or, with `--resume`, behind the lines that are there, of which `each`
/// hears; and gives the images that have no line yet.
pub fn begin(
    path: &Path,
    (model, classes): (&Path, &[String]),
    inputs: Inputs,
    args: &BatchArgs,
    context: &Context<'_>,
    each: &mut dyn FnMut(&Row<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<(PredictionsFile, Inputs)> {
    if args.resume && path == Path::new("-") {
        anyhow::bail!("--resume goes on with a file: give --predictions one in place of `-`");
    }
    let shard = args.shard.map(|shard| shard.to_string());
    let origin = Origin::new(model, &inputs.name, shard, Columns::of(&inputs, classes))?;
    let (file, kept) = PredictionsFile::open(path, &origin, args.resume, each)?;
    let file = file.flush_every(args.flush_every());
    let Some((last, name)) = &kept.last else { return Ok((file, inputs)) };
    let inputs = inputs.resume(kept.lines, *last, name.as_deref(), context.files.skip_bad())?;
    let lines = thousands(kept.lines as usize);
    context.terminal.status("Resuming", &format!("behind {lines} images of {}", path.display()));
    Ok((file, inputs))
}
