//! `kiln describe`.

mod copy;
mod huggingface;
mod resolved;
mod shown;
mod text;
mod triton;

use std::path::Path;

use kiln_inference::{LoadError, ModelSpec};
use kiln_util::write_atomically;

use super::Context;
use crate::Outcome;
use crate::args::DescribeArgs;
use crate::declare::Declared;
use crate::engines;
use crate::hints;
use crate::output::{Outputs, same_file};
use shown::Description;

pub fn run(args: &DescribeArgs, context: &Context<'_>) -> anyhow::Result<Outcome> {
    let DescribeArgs {
        model: path,
        settings,
        sidecar,
        output,
        huggingface,
        triton,
        json,
    } = args;
    let outputs = || [output, huggingface, triton].into_iter().flatten();
    outputs().try_for_each(|output| refuse_model(path, output))?;
    let named = [
        ("--output", output.as_deref()),
        ("--huggingface", huggingface.as_deref()),
        ("--triton", triton.as_deref()),
    ];
    let sidecar_file = sidecar
        .clone()
        .unwrap_or_else(|| path.with_extension("toml"));
    Outputs::check(named, &[sidecar_file])?;
    let declared = Declared::by_settings(path, sidecar.as_deref(), settings)?;
    let file = engines::open(path)?;
    let fail = |kind| LoadError {
        origin: file.to_string(),
        kind,
    };
    let (bytes, model) = (
        file.bytes(),
        file.proto().map_err(|error| fail(error.into()))?,
    );
    let metadata = || file.metadata();
    let spec = ModelSpec::new(model, &declared.declaration());
    if outputs().next().is_none() {
        let spec = spec.map_err(|kind| {
            let error = declared.explain(fail(kind), metadata);
            match hints::help(&error) {
                Some(help) => format!("{error}: {help}"),
                None => error.to_string(),
            }
        });
        let description = Description::new(path, bytes, model, &spec, &declared);
        let text = if *json {
            format!("{}\n", serde_json::to_string_pretty(&description)?)
        } else {
            text::text(&description)
        };
        context.terminal.print(&text)?;
        return Ok(Outcome::Done);
    }
    let spec = spec.map_err(|kind| declared.explain(fail(kind), metadata))?;
    // All of it before any of it is written.
    let mut files = Vec::new();
    if let Some(output) = output {
        files.push((
            output.clone(),
            copy::with_metadata(bytes, model, &spec, context.terminal)?,
        ));
    }
    if let Some(output) = huggingface {
        files.push((
            output.clone(),
            huggingface::config(&spec, context.terminal)?,
        ));
    }
    if let Some(output) = triton {
        files.push((output.clone(), triton::config(model, &spec)));
        if let Some((labels, text)) = triton::labels(&spec, output) {
            refuse_other(&labels, &text)?;
            files.push((labels, text));
        }
    }
    for (file, bytes) in files {
        refuse_model(path, &file)?;
        write_atomically(&file, &bytes)?;
        context.terminal.print(&format!("{}\n", file.display()))?;
    }
    Ok(Outcome::Done)
}

/// A file that nobody named is not replaced.
fn refuse_other(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    match std::fs::read(file) {
        Ok(found) if found != bytes => {
            anyhow::bail!(
                "`{}` is there already and holds something else: move it, or write to another folder",
                file.display()
            )
        }
        _ => Ok(()),
    }
}

/// Files that are named are replaced, as everywhere; the model that is described is not.
fn refuse_model(model: &Path, output: &Path) -> anyhow::Result<()> {
    if same_file(model, output) {
        anyhow::bail!(
            "`{}` is the model itself, which is never changed in place: write to another file",
            output.display()
        );
    }
    Ok(())
}
