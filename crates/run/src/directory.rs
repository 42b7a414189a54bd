//! The folder of a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kiln_model::{Base, Monitor, Recipe};
use kiln_util::{FileError, write_atomically};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Checkpoint, Environment, History, RunError, Weights, json};

/// The files of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunFile {
    /// The resolved recipe.
    Recipe,
    /// Versions, device, seed, data checksums.
    Environment,
    /// Names of the classes, in the order of the model's scores.
    Labels,
    /// Loss and accuracy by epoch.
    History,
    /// Where the training stood after the last epoch: what it takes to go on.
    LastCheckpoint,
    /// Weights after the best epoch so far.
    BestCheckpoint,
    /// The best weights of the finished training: what the exporter takes.
    Weights,
    /// Checksums of the tensors that stayed frozen.
    Frozen,
    /// The exported model.
    Model,
    /// The same model without golden vectors.
    PlainModel,
    /// A variant of the model that ends in a softmax.
    SoftmaxModel,
    /// A variant of the model that takes pixels.
    Uint8Model,
    /// The layers behind the frozen ones alone.
    HeadModel,
    /// Agreement of the implementations.
    Parity,
    /// Figures on the test images.
    Evaluation,
    /// Loss and accuracy, drawn.
    Curves,
    /// Confusion matrix, drawn.
    Confusion,
    /// What each test image was taken for.
    Predictions,
    /// All of it as a page.
    Report,
}

impl RunFile {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Recipe,
        Self::Environment,
        Self::Labels,
        Self::History,
        Self::LastCheckpoint,
        Self::BestCheckpoint,
        Self::Weights,
        Self::Frozen,
        Self::Model,
        Self::PlainModel,
        Self::SoftmaxModel,
        Self::Uint8Model,
        Self::HeadModel,
        Self::Parity,
        Self::Evaluation,
        Self::Curves,
        Self::Confusion,
        Self::Predictions,
        Self::Report,
    ];

    /// Path within the run directory.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Recipe => "recipe.toml",
            Self::Environment => "environment.json",
            Self::Labels => "labels.json",
            Self::History => "history.csv",
            Self::LastCheckpoint => "checkpoints/last.safetensors",
            Self::BestCheckpoint => "checkpoints/best.safetensors",
            Self::Weights => "weights.safetensors",
            Self::Frozen => "frozen.json",
            Self::Model => "model.onnx",
            Self::PlainModel => "model-no-golden.onnx",
            Self::SoftmaxModel => "model-softmax.onnx",
            Self::Uint8Model => "model-uint8.onnx",
            Self::HeadModel => "head.onnx",
            Self::Parity => "parity.json",
            Self::Evaluation => "eval.json",
            Self::Curves => "curves.svg",
            Self::Confusion => "confusion.svg",
            Self::Predictions => "predictions.csv",
            Self::Report => "report.html",
        }
    }
}

/// A run directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Makes a new one, `<root>/<recipe's name>`, or with `-2`, `-3`, … where that exists, and
    /// writes the recipe.
    pub fn create(root: &Path, recipe: &Recipe) -> Result<Self, RunError> {
        let fail = |path: &Path, source| FileError::Write {
            path: path.into(),
            source,
        };
        std::fs::create_dir_all(root).map_err(|source| fail(root, source))?;
        for name in Self::names(recipe) {
            let path = root.join(name);
            match std::fs::create_dir(&path) {
                Ok(()) => {
                    let run = Self { path };
                    let checkpoints = run.file(RunFile::LastCheckpoint);
                    let checkpoints = checkpoints.parent().unwrap_or(&run.path);
                    std::fs::create_dir(checkpoints).map_err(|source| fail(checkpoints, source))?;
                    run.write(RunFile::Recipe, recipe.to_toml().as_bytes())?;
                    return Ok(run);
                }
                // Another process may have made it since: the next name is tried.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(fail(&path, source).into()),
            }
        }
        unreachable!("there is always a next name")
    }

    /// The names that runs of a recipe get, in order.
    fn names(recipe: &Recipe) -> impl Iterator<Item = String> {
        std::iter::once(recipe.name.clone()).chain((2..).map(|n| format!("{}-{n}", recipe.name)))
    }

    /// Those that [`create`](Self::create) made of exactly this recipe, the oldest first.
    pub fn of(root: &Path, recipe: &Recipe) -> Vec<Self> {
        let paths = Self::names(recipe)
            .map(|name| root.join(name))
            .take_while(|path| path.exists());
        let runs = paths.filter_map(|path| Self::open(&path).ok());
        let text = recipe.to_toml();
        runs.filter(|run| {
            run.read_text(RunFile::Recipe)
                .is_ok_and(|found| found == text)
        })
        .collect()
    }

    /// Opens one that exists.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        let run = Self { path: path.into() };
        if run.file(RunFile::Recipe).is_file() {
            Ok(run)
        } else {
            Err(RunError::NotARun {
                path: path.into(),
                missing: RunFile::Recipe.name(),
            })
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where all files of the run are or will be, but one.
    pub fn files_but(&self, one: RunFile) -> Vec<PathBuf> {
        RunFile::ALL
            .into_iter()
            .filter(|&file| file != one)
            .map(|file| self.file(file))
            .collect()
    }

    /// Where a file of the run is or will be.
    pub fn file(&self, file: RunFile) -> PathBuf {
        self.path.join(file.name())
    }

    /// Writes a file whole.
    pub fn write(&self, file: RunFile, bytes: &[u8]) -> Result<(), RunError> {
        Ok(write_atomically(&self.file(file), bytes)?)
    }

    /// Writes a value as JSON for people and programs.
    pub fn write_json(&self, file: RunFile, value: &impl Serialize) -> Result<(), RunError> {
        json::write(&self.file(file), value)
    }

    /// Reads what [`write_json`](Self::write_json) wrote; nothing if there is no such file.
    pub fn read_json<T: DeserializeOwned>(&self, file: RunFile) -> Result<Option<T>, RunError> {
        let path = self.file(file);
        if path.exists() {
            json::read(&path).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Checksums of the tensors that stayed frozen, by name; empty where none were.
    pub fn frozen(&self) -> Result<BTreeMap<String, String>, RunError> {
        Ok(self.read_json(RunFile::Frozen)?.unwrap_or_default())
    }

    /// Names of the classes, in the order of the model's scores.
    pub fn labels(&self) -> Result<Vec<String>, RunError> {
        json::read(&self.file(RunFile::Labels))
    }

    /// A file's bytes.
    pub fn read(&self, file: RunFile) -> Result<Vec<u8>, RunError> {
        let path = self.file(file);
        std::fs::read(&path).map_err(|source| RunError::Read { path, source })
    }

    fn read_text(&self, file: RunFile) -> Result<String, RunError> {
        String::from_utf8(self.read(file)?).map_err(|_| RunError::Content {
            path: self.file(file),
            problem: "not UTF-8 text".into(),
        })
    }

    /// The resolved recipe, whose backbone, if it has one, must be among these.
    pub fn recipe(&self, bases: &[Base]) -> Result<Recipe, RunError> {
        let text = self.read_text(RunFile::Recipe)?;
        Ok(Recipe::parse_with(
            &text,
            &self.file(RunFile::Recipe).display().to_string(),
            "run",
            &[],
            bases,
        )?)
    }

    /// What the run was begun with.
    pub fn environment(&self) -> Result<Environment, RunError> {
        json::read(&self.file(RunFile::Environment))
    }

    /// The history so far, judged by that figure; empty before the first epoch is done.
    pub fn history(&self, monitor: Monitor) -> Result<History, RunError> {
        if !self.file(RunFile::History).exists() {
            return Ok(History::new(monitor));
        }
        let history = History::from_csv(&self.read_text(RunFile::History)?).map_err(|error| {
            RunError::Content {
                path: self.file(RunFile::History),
                problem: error.to_string(),
            }
        })?;
        Ok(History { monitor, ..history })
    }

    /// Where the training stands; nothing before its first epoch is done.
    pub fn checkpoint(&self) -> Result<Option<Checkpoint>, RunError> {
        let path = self.file(RunFile::LastCheckpoint);
        if !path.exists() {
            return Ok(None);
        }
        let checkpoint = Checkpoint::from_bytes(&self.read(RunFile::LastCheckpoint)?);
        checkpoint
            .map(Some)
            .map_err(|source| RunError::Weights { path, source })
    }

    /// Weights from one of the run's files.
    pub fn weights(&self, file: RunFile) -> Result<Weights, RunError> {
        Weights::from_bytes(&self.read(file)?).map_err(|source| RunError::Weights {
            path: self.file(file),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        let text = "layers = [{ type = \"flatten\" }, { type = \"dense\", units = 10 }]";
        Recipe::parse(text, "small.toml", "small", &[]).unwrap()
    }

    #[test]
    fn an_existing_run_is_never_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let runs = root.path().join("runs");
        let names: Vec<_> = (0..3)
            .map(|_| {
                RunDir::create(&runs, &recipe())
                    .unwrap()
                    .path()
                    .file_name()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        assert_eq!(names, ["small", "small-2", "small-3"]);
    }

    #[test]
    fn a_run_opens_with_the_recipe_it_was_made_from() {
        let root = tempfile::tempdir().unwrap();
        let made = RunDir::create(root.path(), &recipe()).unwrap();
        let opened = RunDir::open(made.path()).unwrap();
        assert_eq!(opened.recipe(&[]).unwrap(), recipe());
        assert_eq!(
            opened.history(Monitor::default()).unwrap(),
            History::default()
        );
    }

    #[test]
    fn runs_are_found_by_their_recipe() {
        let root = tempfile::tempdir().unwrap();
        let other = Recipe::parse(
            &recipe().to_toml(),
            "o.toml",
            "o",
            &["description=other".into()],
        )
        .unwrap();
        let made: Vec<_> = [recipe(), other, recipe()]
            .iter()
            .map(|recipe| RunDir::create(root.path(), recipe).unwrap())
            .collect();
        assert_eq!(
            RunDir::of(root.path(), &recipe()),
            [made[0].clone(), made[2].clone()]
        );
        assert_eq!(RunDir::of(&root.path().join("none"), &recipe()), []);
    }

    #[test]
    fn a_folder_that_is_no_run_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let error = RunDir::open(root.path()).unwrap_err().to_string();
        assert!(
            error.contains("is not a run directory: it has no `recipe.toml`"),
            "{error}"
        );
    }

    #[test]
    fn a_root_that_cannot_be_written_is_one_clear_error() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = RunDir::create(&file, &recipe()).unwrap_err().to_string();
        assert!(error.starts_with("cannot write"), "{error}");
    }
}
