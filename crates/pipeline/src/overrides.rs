//! What is specified about a model outside of its file: in a request, in a sidecar beside it, and
//! in a file of labels that either names. And what is assumed because nobody specifies it.

use std::path::{Path, PathBuf};

use kiln_inference::{
    Model, ModelOverrides, Origin, OutputKind, Repair, Sidecar, SidecarError, parse_settings,
};
use kiln_model::repeated_label;
use kiln_onnx::{Metadata, ModelProto};

use crate::configs;
pub use crate::configs::Found;
pub use crate::error::models::OverridesError;

/// What a request specifies about a model.
///
/// ```
/// use kiln_pipeline::overrides::OverridesRequest;
///
/// let settings = ["preprocess=torch".to_owned(), "size=224".to_owned()];
/// let request = OverridesRequest::parse("the request", &settings)?;
/// assert_eq!(request.specified.size, Some([224, 224]));
/// # Ok::<(), kiln_pipeline::overrides::OverridesError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct OverridesRequest {
    /// What is specified; it goes before the sidecar.
    pub specified: ModelOverrides,
    /// The sidecar; if not given, the file with the model's name and the ending `.toml`, where there
    /// is one.
    pub sidecar: Option<PathBuf>,
}

impl OverridesRequest {
    /// Creates a request.
    pub const fn new(specified: ModelOverrides, sidecar: Option<PathBuf>) -> Self {
        Self { specified, sidecar }
    }

    /// Reads settings `key=value` with the keys of a sidecar. `origin` is what messages call them;
    /// paths are relative to the working directory.
    pub fn parse(origin: &str, settings: &[String]) -> Result<Self, OverridesError> {
        Ok(Self::new(parse_settings(origin, settings)?, None))
    }

    /// Returns the files that a model is read from, with what is specified about it.
    pub fn files(&self, model: &Path) -> Vec<PathBuf> {
        [model.to_path_buf(), Sidecar::path_of(model)]
            .into_iter()
            .chain(self.sidecar.clone())
            .collect()
    }
}

/// What is specified about a model, with the sidecar read.
#[derive(Debug, Clone)]
pub struct Resolved {
    specified: ModelOverrides,
    sidecar: Option<Sidecar>,
    /// What another tool says.
    config: Option<(Found, ModelOverrides)>,
    /// Names of classes that another tool gives.
    labels: Option<(Found, ModelOverrides)>,
    /// Where a sidecar is looked for.
    beside: PathBuf,
}

/// A key, and whether overrides have it.
pub(crate) type Key = (&'static str, fn(&ModelOverrides) -> bool);

/// Who specifies something about a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Specifier<'a> {
    /// The request, by this key.
    Request(&'static str),
    /// A sidecar.
    Sidecar(&'a Path),
    /// Another tool.
    Config(&'a Found),
    /// The metadata of the file.
    Metadata,
    /// The graph.
    Graph,
    /// The scores of test images.
    Values,
    /// Nobody.
    Default,
}

impl Resolved {
    /// Reads the sidecar of a model.
    pub fn new(model: &Path, request: &OverridesRequest) -> Result<Self, OverridesError> {
        Ok(Self {
            specified: request.specified.clone(),
            sidecar: find_sidecar(request.sidecar.as_deref(), model)?,
            config: None,
            labels: None,
            beside: Sidecar::path_of(model),
        })
    }

    /// Looks for what another tool says about the preprocessing of a model, and returns where that
    /// is. To be called where neither a request nor a sidecar nor the file's own metadata specify it:
    /// they go before.
    pub fn find_config(
        &mut self,
        model: &Path,
        proto: &ModelProto,
    ) -> Result<Option<&Found>, OverridesError> {
        self.config = configs::find(model, proto)?;
        Ok(self.config.as_ref().map(|(found, _)| found))
    }

    /// Looks for the names of the classes that another tool gives, unless somebody else does.
    pub fn find_labels(&mut self, model: &Path, proto: &ModelProto) {
        let named = self.all().labels.is_some()
            || proto.metadata().is_ok_and(|found| found.labels.is_some());
        if !named {
            self.labels = configs::find_labels(model, proto).map(|(found, labels)| {
                let overrides = ModelOverrides {
                    labels: Some(labels),
                    ..ModelOverrides::default()
                };
                (found, overrides)
            });
        }
    }

    /// Joins all of it.
    pub fn all(&self) -> ModelOverrides {
        let sidecar = self.sidecar.iter().map(|sidecar| &sidecar.overrides);
        let config = self.config.iter().chain(&self.labels);
        let config = config.map(|(_, it)| it);
        sidecar
            .chain(config)
            .cloned()
            .fold(self.specified.clone(), ModelOverrides::or)
    }

    /// Where a sidecar is looked for.
    pub fn beside(&self) -> &Path {
        &self.beside
    }

    /// Returns who specifies something of this origin that has these keys.
    pub(crate) fn specifiers(&self, origin: Origin, keys: &[Key]) -> Vec<Specifier<'_>> {
        match origin {
            Origin::Metadata => return vec![Specifier::Metadata],
            Origin::Graph => return vec![Specifier::Graph],
            Origin::Values => return vec![Specifier::Values],
            Origin::Default => return vec![Specifier::Default],
            Origin::Declared => {}
        }
        let requested = keys
            .iter()
            .filter(|(_, has)| has(&self.specified))
            .map(|&(key, _)| Specifier::Request(key));
        // A name for the preprocessing stands for all that it comprises.
        let hidden =
            self.specified.preprocess.is_some() && keys.iter().any(|(key, _)| *key == "preprocess");
        let sidecar = self
            .sidecar
            .iter()
            .filter(|found| !hidden && keys.iter().any(|(_, has)| has(&found.overrides)))
            .map(|found| Specifier::Sidecar(&found.path));
        let mut specifiers: Vec<_> = requested.chain(sidecar).collect();
        let config = self
            .config
            .iter()
            .chain(&self.labels)
            .filter(|(_, found)| keys.iter().any(|(_, has)| has(found)));
        if specifiers.is_empty() {
            specifiers.extend(config.map(|(found, _)| Specifier::Config(found)));
        }
        specifiers
    }
}

/// Returns what a model's file says about it; nothing where it cannot be read, which loading it
/// explains better.
pub fn metadata(model: &Path) -> Option<Metadata> {
    kiln_onnx::load(model).ok()?.metadata().ok()
}

/// Reads the sidecar that was named, or else the one beside the model if there is one.
fn find_sidecar(named: Option<&Path>, model: &Path) -> Result<Option<Sidecar>, SidecarError> {
    match named {
        Some(path) => Sidecar::read(path).map(Some),
        None => Sidecar::of(model),
    }
}

/// Something that makes results of a model say less than they seem to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// Nobody names the classes: they are called by their numbers, from 0.
    UnnamedClasses {
        /// Number of classes.
        classes: usize,
        /// Whether they may be none: the graph ends as one of features does.
        features: bool,
    },
    /// Nobody names the two classes of a model with one score: they are called negative and positive.
    UnnamedBinary,
    /// Two classes have one name, as in `ImageNet`'s list of short names.
    RepeatedName {
        /// The number of one.
        first: usize,
        /// The number of the other.
        second: usize,
        /// The name.
        name: String,
    },
    /// Nobody specifies what the scores are: they are taken for logits.
    AssumedLogits,
    /// Nobody specifies what the scores are: those of test images were probabilities.
    GuessedProbabilities,
    /// The scores are probabilities of each class by itself: an image can have several classes, those whose
    /// probability exceeds a half.
    Independent,
    /// Nobody specifies which output has the scores: this one was chosen.
    ChosenOutput {
        /// Its name.
        name: String,
    },
    /// Images are run one at a time: the graph fails at several, though it leaves their number open.
    OneAtATime,
    /// An image's scores depend on those it is run with: values are quantized by their range in a
    /// batch.
    BatchDependent,
    /// Something was put right in the graph, without which scores were others.
    Repaired(Repair),
}

/// Lists what is assumed about a model that classified something.
pub fn notes(model: &Model) -> Vec<Note> {
    let origins = &model.spec().origins;
    let unnamed = (origins.labels == Origin::Default).then(|| {
        if model.spec().scores.is_binary {
            Note::UnnamedBinary
        } else {
            Note::UnnamedClasses {
                classes: model.labels().len(),
                features: model.spec().scores.is_features,
            }
        }
    });
    let repeated = repeated_label(model.labels()).map(|[first, second]| Note::RepeatedName {
        first,
        second,
        name: model.labels()[first].clone(),
    });
    let output = match (origins.output, model.output_kind()) {
        (Origin::Default, _) => Some(Note::AssumedLogits),
        (Origin::Values, _) => Some(Note::GuessedProbabilities),
        (Origin::Graph, OutputKind::Sigmoid) if origins.threshold == Origin::Default => {
            Some(Note::Independent)
        }
        (Origin::Graph | Origin::Declared | Origin::Metadata, _) => None,
    };
    let chosen = (origins.output_name == Origin::Graph).then(|| Note::ChosenOutput {
        name: model.spec().output_name.clone(),
    });
    let one_at_a_time = model.runs_one_at_a_time().then_some(Note::OneAtATime);
    let batch = (model.spec().is_batch_dependent && one_at_a_time.is_none())
        .then_some(Note::BatchDependent);
    let repaired = model
        .repairs()
        .iter()
        .filter(|repair| repair.changes_scores());
    let notes = [unnamed, repeated, output, chosen, one_at_a_time, batch];
    let notes = notes.into_iter().flatten();
    notes.chain(repaired.cloned().map(Note::Repaired)).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn sidecar(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("model.toml"), text).unwrap();
        fs::write(folder.path().join("names.txt"), "cat\ndog\n").unwrap();
        let model = folder.path().join("model.onnx");
        (folder, model)
    }

    fn error(model: &Path, request: &OverridesRequest) -> String {
        Resolved::new(model, request)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn a_file_of_another_tool_is_no_sidecar() {
        let resolve = |text: &str| {
            let (_folder, model) = sidecar(text);
            Resolved::new(&model, &OverridesRequest::default())
        };
        for text in [
            "[model]\nname = \"resnet\"\n[train]\nlr = 0.1\n",
            "seed = 3\nepochs = 5\n[input]\nsize = 3\n",
            "",
        ] {
            assert_eq!(resolve(text).unwrap().all(), ModelOverrides::default());
        }
        // One with a slip is one.
        for text in [
            "preproces = \"torch\"",
            "size = 7\nlabel = \"a\"",
            "no toml",
        ] {
            assert!(resolve(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_request_goes_before_the_sidecar() {
        let (_folder, model) = sidecar("preprocess = \"caffe\"\nlabels = \"names.txt\"\nsize = 7");
        let specified = ModelOverrides {
            size: Some([4, 5]),
            ..ModelOverrides::default()
        };
        let resolved = Resolved::new(&model, &OverridesRequest::new(specified, None)).unwrap();
        let all = resolved.all();
        assert_eq!(
            (all.size, all.labels),
            (Some([4, 5]), Some(vec!["cat".into(), "dog".into()]))
        );
        let path = model.with_extension("toml");
        assert_eq!(
            resolved.specifiers(Origin::Declared, &[("size", |d| d.size.is_some())]),
            [Specifier::Request("size"), Specifier::Sidecar(&path)]
        );
        assert_eq!(
            resolved.specifiers(
                Origin::Declared,
                &[("preprocess", |d| d.preprocess.is_some())]
            ),
            [Specifier::Sidecar(&path)]
        );
    }

    #[test]
    fn a_recipe_beside_the_model_is_no_sidecar() {
        let (folder, model) = sidecar("[[layers]]\ntype = \"flatten\"\n");
        let found = Resolved::new(&model, &OverridesRequest::default()).unwrap();
        assert_eq!(found.all(), ModelOverrides::default());
        // Unless it is named.
        let named = OverridesRequest {
            sidecar: Some(folder.path().join("model.toml")),
            ..OverridesRequest::default()
        };
        assert!(
            error(&model, &named)
                .contains("model.toml:1: unknown key `layers`: did you mean `labels`?")
        );
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let (folder, model) = sidecar("layout = \"hwc\"");
        let message = error(&model, &OverridesRequest::default());
        assert!(
            message.contains("model.toml:1: `layout` cannot be \"hwc\": did you mean `nhwc`?"),
            "{message}"
        );
        let named = OverridesRequest {
            sidecar: Some(folder.path().join("none.toml")),
            ..OverridesRequest::default()
        };
        assert!(error(&model, &named).contains("none.toml: No such file"));
        fs::write(folder.path().join("model.toml"), "labels = \"none.txt\"").unwrap();
        let message = error(&model, &OverridesRequest::default());
        assert!(
            message.contains("model.toml:1: cannot use the labels"),
            "{message}"
        );
    }
}
