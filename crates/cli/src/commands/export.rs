//! `kiln export`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::bail;
use kiln_exporter::{Exported, Options, export};
use kiln_model::{Model, Recipe};
use kiln_onnx::{Golden, Metadata};
use kiln_run::{Environment, RunDir, RunFile, Weights};
use kiln_trainer::is_finished;
use kiln_util::write_atomically;

use super::Context;
use super::train::initial_weights;
use crate::args::{ExportArgs, ExportForm};
use crate::output::Outputs;
use crate::terminal::bytes;
use crate::{Outcome, dataset, declare, golden};

pub fn run(args: &ExportArgs, context: &Context<'_>) -> anyhow::Result<Outcome> {
    let run = RunDir::open(&args.run)?;
    let recipe = run.recipe(kiln_trainer::bases())?;
    let form = &args.form;
    let mut export = recipe.export.clone();
    export.softmax |= form.softmax || form.uint8_input;
    let without_golden = export.golden && args.no_golden;
    export.golden &= !args.no_golden;
    let recipe = recipe.with_export(export);
    // What was verified and measured is the run's own file: a variant of it gets another name.
    let default = match *form {
        ExportForm {
            head_only: true, ..
        } => RunFile::HeadModel,
        ExportForm {
            uint8_input: true, ..
        } => RunFile::Uint8Model,
        ExportForm { softmax: true, .. } => RunFile::SoftmaxModel,
        _ if without_golden => RunFile::PlainModel,
        _ => RunFile::Model,
    };
    let path = args.output.clone().unwrap_or_else(|| run.file(default));
    Outputs::check(
        [("--output", Some(path.as_path()))],
        &run.files_but(default),
    )?;
    let mut trained = Trained::open(&run, recipe, context)?;
    if let Some(text) = &trained.unfinished {
        context.terminal.status("Unfinished", text);
    }
    if form.head_only {
        trained.behind_the_frozen_layers()?;
    }
    if form.uint8_input {
        trained.of_pixels()?;
    }
    // What goes into the layers behind the frozen ones is no image.
    if trained.recipe.export.golden && !form.head_only {
        match dataset::gap(&trained.recipe.data.dataset, context) {
            None => trained.golden = Some(golden_vectors(&trained, context)?),
            Some(gap) if args.output.is_none() && has_golden(&path) => bail!(
                "{} has golden vectors, which cannot be made again: {gap}; or write another file with -o",
                path.display()
            ),
            Some(gap) => context.terminal.status(
                "Without",
                &format!("golden vectors, so that `kiln verify` cannot check the file: {gap}"),
            ),
        }
    } else if args.output.is_none() && has_golden(&path) {
        bail!(
            "{} has golden vectors, and this file would have none: write another file with -o",
            path.display()
        );
    }
    write(&trained, &path, context)?;
    context.terminal.print(&format!("{}\n", path.display()))?;
    Ok(Outcome::Done)
}

/// Golden vectors of the recipe's data set, which must be at hand: exporting fetches nothing.
fn golden_vectors(trained: &Trained, context: &Context<'_>) -> anyhow::Result<Golden> {
    let images = dataset::test(&trained.recipe, context)?;
    golden::vectors(trained, &images, &dataset::test_name(&trained.recipe))
}

/// Whether there is a model with golden vectors in a file.
fn has_golden(path: &Path) -> bool {
    declare::metadata(path).is_some_and(|metadata| metadata.golden.is_some())
}

/// The key of the layer whose output a file's input is, where that is no image.
const FEATURES: &str = "features";

/// The layer whose output a file takes, where it was written with `--head-only`.
pub fn behind_layer(metadata: &Metadata) -> Option<&str> {
    let no_image = metadata.preprocessing.is_none();
    metadata
        .provenance
        .get(FEATURES)
        .filter(|_| no_image)
        .map(String::as_str)
}

/// What the keys of data files' checksums begin with.
const DATA: &str = "data:";

/// What the keys of frozen tensors' checksums begin with.
const FROZEN: &str = "frozen:";

/// A run's model with its best weights and the names of its classes.
pub struct Trained {
    pub recipe: Recipe,
    pub model: Model,
    pub weights: Weights,
    pub labels: Vec<String>,
    /// Whether the graph takes pixels.
    pub uint8_input: bool,
    /// What goes into the file for `kiln verify`.
    pub golden: Option<Golden>,
    /// The first layer that is exported.
    first_layer: usize,
    /// What to say of a training that did not finish.
    unfinished: Option<String>,
    provenance: BTreeMap<String, String>,
}

impl Trained {
    /// Reads what training left in a run directory: the best weights so far.
    pub fn open(run: &RunDir, recipe: Recipe, context: &Context<'_>) -> anyhow::Result<Self> {
        let model = recipe.model().clone();
        let Some(best) = run.best_weights(recipe.training.monitor)? else {
            anyhow::bail!(
                "{0} has no weights to export: its training did not finish its first epoch; resume it with `kiln train \
                 --resume {0}`",
                run.path().display()
            );
        };
        // A training that was killed leaves those weights alone that it changed.
        let missing = |weights: &Weights| model.params().any(|p| weights.get(&p.name).is_none());
        let weights = if best.progress.is_some() && missing(&best.weights) {
            let mut weights = initial_weights(&recipe, context)?;
            weights.extend(best.weights);
            weights
        } else {
            best.weights
        };
        let unfinished = best
            .progress
            .filter(|at| !is_finished(&recipe.training, at));
        let unfinished = unfinished.map(|at| {
            format!(
                "{}: its training was interrupted after epoch {} of {}; these are the best weights so far",
                run.path().display(),
                at.history.epochs.len(),
                recipe.training.epochs()
            )
        });
        let mut trained = Self::new(recipe, model, weights);
        trained.unfinished = unfinished;
        trained.labels = run.labels()?;
        if let Some(Environment {
            platform,
            device,
            data,
            ..
        }) = run.read_json(RunFile::Environment)?
        {
            trained
                .provenance
                .extend([("platform".into(), platform), ("device".into(), device)]);
            trained.provenance.extend(
                data.into_iter()
                    .map(|(file, checksum)| (format!("{DATA}{file}"), checksum)),
            );
        }
        for (tensor, checksum) in run.frozen()? {
            trained
                .provenance
                .insert(format!("{FROZEN}{tensor}"), checksum);
        }
        if let Some(best) = best.epoch {
            trained
                .provenance
                .insert("epoch".into(), best.epoch.to_string());
            trained
                .provenance
                .insert("val_accuracy".into(), format!("{:.4}", best.val_accuracy));
        }
        Ok(trained)
    }

    /// Puts together what belongs together; classes are called by their numbers.
    pub fn new(recipe: Recipe, model: Model, weights: Weights) -> Self {
        let labels = (0..model.classes())
            .map(|class| class.to_string())
            .collect();
        let provenance = BTreeMap::from([
            ("kiln".to_string(), kiln_util::VERSION.to_string()),
            ("recipe".to_string(), recipe.name.clone()),
            (
                "dataset".to_string(),
                recipe.data.dataset.as_str().to_string(),
            ),
            ("seed".to_string(), recipe.training.seed.to_string()),
        ]);
        Self {
            recipe,
            model,
            weights,
            labels,
            uint8_input: false,
            golden: None,
            first_layer: 0,
            unfinished: None,
            provenance,
        }
    }

    /// Leaves out the layers that no phase of the training changed, and says in the provenance
    /// where the others begin.
    fn behind_the_frozen_layers(&mut self) -> anyhow::Result<()> {
        self.first_layer = self.recipe.fixed_prefix();
        let Some(last) = self.first_layer.checked_sub(1) else {
            anyhow::bail!(
                "no layer of `{}` is frozen: leave out --head-only",
                self.recipe.name
            );
        };
        self.provenance.retain(|key, _| !key.starts_with(FROZEN));
        self.provenance
            .insert(FEATURES.into(), self.model.layers()[last].name.clone());
        Ok(())
    }

    /// Puts the preprocessing into the graph, and says in the provenance which one it is.
    pub fn of_pixels(&mut self) -> anyhow::Result<()> {
        self.uint8_input = true;
        self.provenance.insert(
            "preprocessing_in_graph".into(),
            serde_json::to_string(self.model.preprocessing())?,
        );
        Ok(())
    }

    /// The model as ONNX.
    pub fn export(&self) -> anyhow::Result<Exported> {
        let options = Options {
            labels: self.labels.clone(),
            provenance: self.provenance.clone(),
            softmax: self.recipe.export.softmax,
            first_layer: self.first_layer,
            uint8_input: self.uint8_input,
            golden: self.golden.clone(),
        };
        Ok(export(&self.model, &self.weights, &options)?)
    }
}

/// Writes the model as an ONNX file.
pub fn write(trained: &Trained, path: &Path, context: &Context<'_>) -> anyhow::Result<PathBuf> {
    let file = kiln_onnx::encode(&trained.export()?.proto);
    write_atomically(path, &file)?;
    context.terminal.status(
        "Exported",
        &format!("{} ({})", path.display(), bytes(file.len() as u64)),
    );
    Ok(path.into())
}
