//! What is said about a model outside of its file: by options, and by a sidecar beside it.

mod args;
mod labels;
mod sidecar;

use std::path::{Path, PathBuf};

use kiln_inference::{LoadError, LoadErrorKind, Model, ModelOverrides, Origin};
use kiln_model::repeated_label;
use kiln_onnx::Metadata;

use crate::commands::behind_layer;
use crate::terminal::Terminal;
pub use args::DeclarationArgs;
use kiln_util::thousands;

/// A key, and whether a declaration has it.
pub type Says = (&'static str, fn(&ModelOverrides) -> bool);

/// What is said about a model outside of its file. Options go before the sidecar.
pub struct Declared {
    options: ModelOverrides,
    /// The sidecar, and what to call it.
    sidecar: Option<(PathBuf, ModelOverrides)>,
    /// How an option is written: `--size`, or `--set size`.
    prefix: &'static str,
    /// Where a sidecar is looked for.
    beside: PathBuf,
}

impl Declared {
    /// By the options of a command that runs a model.
    pub fn by_options(model: &Path, args: &DeclarationArgs) -> anyhow::Result<Self> {
        let options = ModelOverrides {
            preprocess: args.preprocess,
            size: args.size,
            channels: args.channels,
            antialias: args.antialias.then_some(true),
            scale: args.scale,
            mean: args.mean.clone(),
            std: args.std.clone(),
            labels: args
                .labels
                .as_deref()
                .map(labels::read)
                .transpose()
                .map_err(anyhow::Error::msg)?,
            layout: args.layout,
            output: args.output,
        };
        Self::new(model, args.sidecar.as_deref(), options, "--")
    }

    /// By `key=value` settings.
    pub fn by_settings(
        model: &Path,
        sidecar: Option<&Path>,
        settings: &[String],
    ) -> anyhow::Result<Self> {
        // Paths on the command line are relative to the working directory.
        let options =
            ModelOverrides::parse("", "--set", settings, |file| labels::read(Path::new(file)))?;
        Self::new(model, sidecar, options, "--set ")
    }

    fn new(
        model: &Path,
        sidecar: Option<&Path>,
        options: ModelOverrides,
        prefix: &'static str,
    ) -> anyhow::Result<Self> {
        let beside = model.with_extension("toml");
        Ok(Self {
            options,
            sidecar: sidecar::find(sidecar, &beside)?,
            prefix,
            beside,
        })
    }

    /// All of it as one.
    pub fn declaration(&self) -> ModelOverrides {
        let sidecar = self
            .sidecar
            .as_ref()
            .map(|(_, declaration)| declaration.clone());
        self.options.clone().or(sidecar.unwrap_or_default())
    }

    /// In words, who says something that `says` finds in a declaration, and that has these keys.
    pub fn describe(&self, origin: Origin, keys: &[Says]) -> String {
        if origin != Origin::Declared {
            return match origin {
                Origin::Metadata => "metadata",
                Origin::Graph => "graph",
                _ => "default",
            }
            .into();
        }
        let options = keys
            .iter()
            .filter(|(_, says)| says(&self.options))
            .map(|(key, _)| format!("{}{key}", self.prefix));
        let options: Vec<String> = options.collect();
        let sidecar = self
            .sidecar
            .iter()
            .filter(|(_, said)| keys.iter().any(|(_, says)| says(said)));
        // A name for the preprocessing stands for all that it comprises.
        let hidden =
            self.options.preprocess.is_some() && keys.iter().any(|(key, _)| *key == "preprocess");
        let sidecar = sidecar
            .filter(|_| !hidden)
            .map(|(path, _)| path.display().to_string());
        options
            .into_iter()
            .chain(sidecar)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Says what to do where a model's file does not say what it needs, or what the file is, where
    /// it is part of a model by its metadata.
    pub fn explain(
        &self,
        error: LoadError,
        metadata: impl FnOnce() -> Option<Metadata>,
    ) -> anyhow::Error {
        if matches!(
            error.kind,
            LoadErrorKind::NotSaid { .. } | LoadErrorKind::Input { .. }
        ) && let Some(layer) = metadata().as_ref().and_then(behind_layer)
        {
            return anyhow::anyhow!(
                "{} holds only the layers behind `{layer}` (`kiln export --head-only`) and takes the output of that layer, not \
                 images: name the file of the whole model",
                error.origin
            );
        }
        match error.kind {
            LoadErrorKind::NotSaid { what, .. } => self.not_said(&error.origin, what),
            LoadErrorKind::Sigmoid => anyhow::anyhow!(
                "{} ends in a sigmoid, so its scores are not logits, and need not sum to 1: give {} to use them as they are, \
                 {} to apply a softmax, or write it in {} (docs/third-party.md)",
                error.origin,
                self.setting("output", "probabilities"),
                self.setting("output", "logits"),
                self.beside.display()
            ),
            _ => error.into(),
        }
    }

    /// Says what to do where nothing says `what` of the model.
    pub fn not_said(&self, model: &str, what: &str) -> anyhow::Error {
        let setting = match what {
            "labels" => self.setting("labels", "FILE.txt"),
            "size of the images" => self.setting("size", "N"),
            _ => self.setting("preprocess", "raw|caffe|torch|tf|unit"),
        };
        anyhow::anyhow!(
            "{model} does not say the {what}: give {setting}, or write it in {} (docs/third-party.md)",
            self.beside.display()
        )
    }

    /// How a key is given on the command line.
    fn setting(&self, key: &str, value: &str) -> String {
        let gap = if self.prefix == "--" { ' ' } else { '=' };
        format!("{}{key}{gap}{value}", self.prefix)
    }
}

/// The files that a model is read from, and what is said about it.
pub fn files(model: &Path, args: &DeclarationArgs) -> Vec<PathBuf> {
    let DeclarationArgs {
        labels, sidecar, ..
    } = args;
    let named = [labels, sidecar].into_iter().flatten().cloned();
    [model.to_path_buf(), model.with_extension("toml")]
        .into_iter()
        .chain(named)
        .collect()
}

/// What a model's file says about it; nothing where it cannot be read, which loading it says
/// better.
pub fn metadata(model: &Path) -> Option<Metadata> {
    kiln_onnx::load(model).ok()?.metadata().ok()
}

/// Says so where the classes have no names, or nobody says what the output is.
pub fn note_defaults(model: &Model, terminal: &Terminal) {
    let origins = &model.contract().origins;
    if origins.labels == Origin::Default {
        let classes = thousands(model.labels().len());
        terminal.status("Note", &format!("the model does not name its {classes} classes: they are called by their numbers from 0 (--labels FILE.txt)"));
    }
    // As in ImageNet's list of short names.
    if let Some([first, second]) = repeated_label(model.labels()) {
        let name = &model.labels()[first];
        terminal.status("Note", &format!("classes {first} and {second} are both called `{name}`: results cannot tell them apart by name (--labels FILE.txt)"));
    }
    if origins.output == Origin::Default {
        terminal.status(
            "Note",
            "the model does not say what its output is: it is taken for logits (--output logits|probabilities)",
        );
    }
}

#[cfg(test)]
mod tests;
