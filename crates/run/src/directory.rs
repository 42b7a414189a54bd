//! The folder of a run: its files, how it is made, and how it is opened again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use kiln_model::{
    Base, DataSource, FileBase, FileProblem, FileRequest, Monitor, Recipe, References, SplitRule,
};
use kiln_util::{FileError, Lock, is_temporary_name, write_atomically};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{History, RunError, Weights};

/// The files of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunFile {
    /// Resolved recipe.
    Recipe,
    /// What is known of a backbone that was read from its file.
    Backbone,
    /// Versions, device, seed, data checksums.
    Environment,
    /// Names of the classes, in the order of the model's scores.
    Labels,
    /// Loss and accuracy by epoch.
    History,
    /// Figures by epoch and on the test images, as JSON lines for other tools.
    Metrics,
    /// The same figures as TensorBoard reads them.
    Events,
    /// Where the training stood after the last epoch: what it takes to resume.
    LastCheckpoint,
    /// Trained weights after the best epoch so far.
    BestCheckpoint,
    /// All weights after the best epoch of a training that finished or was stopped.
    Weights,
    /// Checksums of the tensors that stayed frozen.
    Frozen,
    /// How long computing the features of frozen layers took.
    Features,
    /// Weights that the training began with, where they are another run's.
    Initial,
    /// Weights of unfolded convolutions and their normalizations before training.
    Unfolded,
    /// Exported model.
    Model,
    /// The same model without golden vectors.
    PlainModel,
    /// A variant of the model that ends in a softmax.
    SoftmaxModel,
    /// A variant of the model that ends in a sigmoid.
    SigmoidModel,
    /// A variant of the model that takes pixels.
    Uint8Model,
    /// Only the layers after the frozen prefix.
    HeadModel,
    /// A copy of the model in 8-bit integers.
    Int8Model,
    /// A copy of the model with weights in 8-bit integers.
    Int8WeightsModel,
    /// A copy of the model with weights in half precision.
    Fp16Model,
    /// What came of the smaller copy.
    Quantized,
    /// What the probability of a class has to exceed, where that was chosen on the validation images.
    Thresholds,
    /// Agreement of the implementations.
    Parity,
    /// Figures on the test images.
    Evaluation,
    /// Plot of loss and accuracy.
    Curves,
    /// Plot of the confusion matrix.
    Confusion,
    /// Prediction for each test image.
    Predictions,
    /// Page about all of it.
    Report,
}

// The words are paths within the run directory.
kiln_util::str_enum!(RunFile {
    Recipe = "recipe.toml",
    Backbone = "backbone.json",
    Environment = "environment.json",
    Labels = "labels.json",
    History = "history.csv",
    Metrics = "metrics.jsonl",
    Events = "events.out.tfevents.kiln",
    LastCheckpoint = "checkpoints/last.safetensors",
    BestCheckpoint = "checkpoints/best.safetensors",
    Weights = "weights.safetensors",
    Frozen = "frozen.json",
    Features = "features.json",
    Initial = "initial.safetensors",
    Unfolded = "unfolded.safetensors",
    Model = "model.onnx",
    PlainModel = "model-no-golden.onnx",
    SoftmaxModel = "model-softmax.onnx",
    SigmoidModel = "model-sigmoid.onnx",
    Uint8Model = "model-uint8.onnx",
    HeadModel = "head.onnx",
    Int8Model = "model-int8.onnx",
    Int8WeightsModel = "model-int8-weights.onnx",
    Fp16Model = "model-fp16.onnx",
    Quantized = "quantized.json",
    Thresholds = "thresholds.json",
    Parity = "parity.json",
    Evaluation = "eval.json",
    Curves = "curves.svg",
    Confusion = "confusion.svg",
    Predictions = "predictions.csv",
    Report = "report.html",
});

/// Folder of the checkpoints within the run directory.
const CHECKPOINTS: &str = "checkpoints";

/// `environment.json`: what a run was made with, so that it can be made again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Environment {
    /// Version of kiln.
    pub kiln: String,
    /// Operating system and CPU architecture, such as `linux-x86_64`.
    pub platform: String,
    /// Device of the training, such as `cpu (flex)`.
    pub device: String,
    /// Number of threads.
    pub threads: usize,
    /// Seed in the recipe.
    pub seed: u64,
    /// SHA-256 of each data file by name; of a folder of images, of what `sha256sum` prints for
    /// them in their order.
    pub data: BTreeMap<String, String>,
    /// How subsets were drawn.
    #[serde(default = "first_rule")]
    pub split_rule: SplitRule,
}

/// The rule of runs that do not name theirs.
const fn first_rule() -> SplitRule {
    SplitRule::ByLabel
}

/// `features.json`: the features of frozen layers that a run computed, and did not find in the cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct FeatureTime {
    /// Seconds that it took.
    pub seconds: f64,
}

/// How far a run's training is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// No epoch is done. Environment and labels may be missing; to resume is to begin again.
    Begun,
    /// There are weights: it finished, or was interrupted after an epoch.
    Trained,
}

/// A run directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Creates a run directory, `<root>/<recipe's name>`, or with `-2`, `-3`, … where that exists,
    /// and writes the recipe. The run is the caller's as long as the lock lives.
    ///
    /// A folder that an earlier process left before it wrote a recipe is used again.
    ///
    /// # Errors
    ///
    /// [`RunError::File`] if a folder or file cannot be written.
    pub fn create(root: &Path, recipe: &Recipe) -> Result<(Self, Lock), RunError> {
        Self::create_with(root, recipe, |_| Ok(()))
    }

    /// Creates a run directory as [`create`](Self::create) does, in which the training of this run can be resumed
    /// with another recipe.
    ///
    /// # Errors
    ///
    /// [`RunError::File`] or [`RunError::Read`] if a file cannot be copied.
    pub fn create_from(&self, root: &Path, recipe: &Recipe) -> Result<(Self, Lock), RunError> {
        // Without its recipe, a folder is no run: one that was begun and not finished is never resumed.
        Self::create_with(root, recipe, |run| {
            for file in [
                RunFile::Environment,
                RunFile::Labels,
                RunFile::Features,
                RunFile::Unfolded,
                RunFile::Initial,
                RunFile::History,
                RunFile::BestCheckpoint,
                RunFile::LastCheckpoint,
            ] {
                if self.file(file).exists() {
                    run.write(file, &self.read(file)?)?;
                }
            }
            Ok(())
        })
    }

    /// Creates a run directory with what `fill` puts there before it has a recipe.
    fn create_with(
        root: &Path,
        recipe: &Recipe,
        fill: impl FnOnce(&Self) -> Result<(), RunError>,
    ) -> Result<(Self, Lock), RunError> {
        fs::create_dir_all(root).map_err(|source| write_error(root, source))?;
        let mut names = Self::names(recipe);
        loop {
            let path = root.join(names.next().unwrap_or_default());
            if let Some(lock) = claim(&path)? {
                let run = Self { path };
                remove_temporary_files(&run.path);
                let checkpoints = run.path.join(CHECKPOINTS);
                fs::create_dir_all(&checkpoints)
                    .map_err(|source| write_error(&checkpoints, source))?;
                let backbone = recipe.backbone.as_ref();
                if let Some(file) = backbone.and_then(|backbone| backbone.base.file.as_ref()) {
                    run.write_json(RunFile::Backbone, file)?;
                }
                fill(&run)?;
                run.write(RunFile::Recipe, recipe.to_toml().as_bytes())?;
                return Ok((run, lock));
            }
        }
    }

    /// Returns where [`create`](Self::create) would make the next run of a recipe. Nothing is made, and
    /// another process may take the folder first.
    pub fn next(root: &Path, recipe: &Recipe) -> PathBuf {
        let mut paths = Self::names(recipe).map(|name| root.join(name));
        let is_free = |path: &PathBuf| !path.exists() || is_unborn(path);
        paths.find(is_free).unwrap_or_else(|| root.into())
    }

    /// The names that runs of a recipe get, in order. There is always a next one.
    fn names(recipe: &Recipe) -> impl Iterator<Item = String> {
        numbered(recipe.name.clone())
    }

    /// Returns the runs that [`create`](Self::create) made of exactly this recipe, the oldest
    /// first.
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

    /// Opens a run directory that exists, to read it. Whoever writes to it takes the
    /// [`lock`](Self::lock) first.
    ///
    /// # Errors
    ///
    /// [`RunError::NotARun`] or [`RunError::NotBegun`] if there is no recipe.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        let run = Self { path: path.into() };
        if run.file(RunFile::Recipe).is_file() {
            return Ok(run);
        }
        let (path, missing) = (path.into(), RunFile::Recipe.as_str());
        if run.path.join(CHECKPOINTS).is_dir() && is_unborn(&run.path) {
            Err(RunError::NotBegun { path, missing })
        } else {
            Err(RunError::NotARun { path, missing })
        }
    }

    /// Locks the run to write to it, and removes temporary files that a killed process left.
    ///
    /// # Errors
    ///
    /// [`RunError::File`] if another process has the lock.
    pub fn lock(&self) -> Result<Lock, RunError> {
        let lock = Lock::try_lock(&self.path)?;
        if lock.is_exclusive() {
            remove_temporary_files(&self.path);
        }
        Ok(lock)
    }

    /// Returns how far its training is.
    pub fn state(&self) -> RunState {
        // An old run may have had its checkpoints removed.
        let files = [RunFile::LastCheckpoint, RunFile::Weights];
        if files.iter().any(|&file| self.file(file).is_file()) {
            RunState::Trained
        } else {
            RunState::Begun
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns where all files of the run are or will be, but one.
    pub fn files_but(&self, one: RunFile) -> Vec<PathBuf> {
        let others = RunFile::ALL.into_iter().filter(|&file| file != one);
        others.map(|file| self.file(file)).collect()
    }

    /// Returns where a file of the run is or will be.
    pub fn file(&self, file: RunFile) -> PathBuf {
        self.path.join(file.as_str())
    }

    /// Writes a file whole.
    ///
    /// # Errors
    ///
    /// [`RunError::File`]; nothing was changed then.
    pub fn write(&self, file: RunFile, bytes: &[u8]) -> Result<(), RunError> {
        Ok(write_atomically(&self.file(file), bytes)?)
    }

    /// Writes a value as JSON for people and programs.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn write_json(&self, file: RunFile, value: &impl Serialize) -> Result<(), RunError> {
        write_json(&self.file(file), value)
    }

    /// Reads what [`write_json`](Self::write_json) wrote; nothing if there is no such file.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`] or [`RunError::Content`].
    pub fn read_json<T: DeserializeOwned>(&self, file: RunFile) -> Result<Option<T>, RunError> {
        let path = self.file(file);
        if path.exists() {
            read_json(&path).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Reads the checksums of the tensors that stayed frozen, by name; none where none did.
    ///
    /// # Errors
    ///
    /// As [`read_json`](Self::read_json).
    pub fn frozen(&self) -> Result<BTreeMap<String, String>, RunError> {
        Ok(self.read_json(RunFile::Frozen)?.unwrap_or_default())
    }

    /// Reads the names of the classes, in the order of the model's scores.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`] or [`RunError::Content`].
    pub fn labels(&self) -> Result<Vec<String>, RunError> {
        read_json(&self.file(RunFile::Labels))
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`].
    pub fn read(&self, file: RunFile) -> Result<Vec<u8>, RunError> {
        read(&self.file(file))
    }

    fn read_text(&self, file: RunFile) -> Result<String, RunError> {
        String::from_utf8(self.read(file)?).map_err(|_| RunError::Content {
            path: self.file(file),
            problem: "not UTF-8 text".into(),
        })
    }

    /// Reads the resolved recipe, whose backbone, if it has one with a name, must be among these. One
    /// that was read from its file is as it was then, and so is the rule by which subsets are drawn.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`], [`RunError::Content`] or [`RunError::Recipe`].
    pub fn recipe(&self, bases: &[Base]) -> Result<Recipe, RunError> {
        self.recipe_with(bases, &[])
    }

    /// Reads the resolved recipe as [`recipe`](Self::recipe) does, with some of its values changed, such as
    /// `training.epochs=20`.
    ///
    /// # Errors
    ///
    /// As [`recipe`](Self::recipe).
    pub fn recipe_with(&self, bases: &[Base], overrides: &[String]) -> Result<Recipe, RunError> {
        let text = self.read_text(RunFile::Recipe)?;
        let file: Option<FileBase> = self.read_json(RunFile::Backbone)?;
        let base = |request: &FileRequest<'_>| {
            let file = file.clone().ok_or_else(|| FileProblem {
                is_output: false,
                problem: format!("the run has no `{}`", RunFile::Backbone),
                hint: None,
            })?;
            Base::of_file(request.weights, file).map_err(|problem| FileProblem {
                is_output: false,
                problem,
                hint: None,
            })
        };
        let recipe = Recipe::parse_written(
            &text,
            &self.file(RunFile::Recipe).display().to_string(),
            overrides,
            References::new(bases, &DataSource::classes).with_files(&base),
        )?;
        let environment: Option<Environment> = self.read_json(RunFile::Environment)?;
        Ok(match environment {
            Some(environment) => recipe.with_split_rule(environment.split_rule),
            None => recipe,
        })
    }

    /// Reads what the run was begun with.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`] or [`RunError::Content`].
    pub fn environment(&self) -> Result<Environment, RunError> {
        read_json(&self.file(RunFile::Environment))
    }

    /// Reads the history so far, judged by that figure; empty before the first epoch is done.
    ///
    /// # Errors
    ///
    /// [`RunError::Read`] or [`RunError::Content`].
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

    /// Reads weights from one of the run's files.
    pub(crate) fn weights(&self, file: RunFile) -> Result<Weights, RunError> {
        Weights::from_bytes(&self.read(file)?).map_err(|source| RunError::Weights {
            path: self.file(file),
            source,
        })
    }
}

/// Locks a folder for a new run: one that is not there yet, or that was left before it had a
/// recipe. Returns nothing if it is another's.
fn claim(path: &Path) -> Result<Option<Lock>, RunError> {
    let created = match fs::create_dir(path) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_unborn(path) => false,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        Err(source) => return Err(write_error(path, source)),
    };
    let lock = match Lock::try_lock(path) {
        Ok(lock) => lock,
        Err(FileError::Locked { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // Without locks, whoever created the folder may still be about to write to it. With them, that
    // process may have come and gone since.
    Ok(Some(lock).filter(|lock| (created || lock.is_exclusive()) && is_unborn(path)))
}

/// Whether a folder has nothing but what a run's has before its recipe.
fn is_unborn(path: &Path) -> bool {
    let is_nothing = |entry: io::Result<fs::DirEntry>| {
        entry.is_ok_and(|entry| match entry.file_name().to_str() {
            Some(CHECKPOINTS) => {
                fs::read_dir(entry.path()).is_ok_and(|mut entries| entries.next().is_none())
            }
            // What is locked where folders cannot be.
            Some(".lock") => true,
            Some(name) => is_temporary_name(name),
            None => false,
        })
    };
    fs::read_dir(path).is_ok_and(|mut entries| entries.all(is_nothing))
}

/// Removes what killed processes left in a run directory that is locked. What cannot be removed
/// does no harm.
pub(crate) fn remove_temporary_files(path: &Path) {
    for folder in [path, &path.join(CHECKPOINTS)] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(is_temporary_name) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// A name, then the same with `-2`, `-3`, … behind it.
pub(crate) fn numbered(name: String) -> impl Iterator<Item = String> {
    let others = name.clone();
    std::iter::once(name).chain((2_u64..).map(move |n| format!("{others}-{n}")))
}

pub(crate) fn write_error(path: &Path, source: io::Error) -> RunError {
    let path = path.into();
    FileError::Write { path, source }.into()
}

/// Writes a value as JSON for people and programs.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), RunError> {
    let mut json = serde_json::to_vec_pretty(value).map_err(|error| content(path, &error))?;
    json.push(b'\n');
    Ok(write_atomically(path, &json)?)
}

/// Reads what [`write_json`] wrote.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, RunError> {
    serde_json::from_slice(&read(path)?).map_err(|error| content(path, &error))
}

fn read(path: &Path) -> Result<Vec<u8>, RunError> {
    fs::read(path).map_err(|source| RunError::Read {
        path: path.into(),
        source,
    })
}

fn content(path: &Path, error: &serde_json::Error) -> RunError {
    RunError::Content {
        path: path.into(),
        problem: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        let text = "layers = [{ type = \"flatten\" }, { type = \"dense\", units = 10 }]";
        Recipe::parse(text, "small.toml", "small", &[]).unwrap()
    }

    fn create(root: &Path) -> RunDir {
        RunDir::create(root, &recipe()).unwrap().0
    }

    fn name(run: &RunDir) -> String {
        let name = run.path().file_name().unwrap();
        name.to_str().unwrap().to_owned()
    }

    #[test]
    fn an_existing_run_is_never_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let runs = root.path().join("runs");
        let names: Vec<_> = (0..3).map(|_| name(&create(&runs))).collect();
        assert_eq!(names, ["small", "small-2", "small-3"]);
    }

    #[test]
    fn a_run_opens_with_the_recipe_it_was_made_from() {
        let root = tempfile::tempdir().unwrap();
        let made = create(root.path());
        let opened = RunDir::open(made.path()).unwrap();
        assert_eq!(opened.recipe(&[]).unwrap(), recipe());
        assert_eq!(
            opened.history(Monitor::default()).unwrap(),
            History::default()
        );
        assert_eq!(opened.state(), RunState::Begun);
        opened.write(RunFile::Weights, b"").unwrap();
        assert_eq!(opened.state(), RunState::Trained);
    }

    #[test]
    fn numbers_are_read_as_they_were_written() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("numbers.json");
        // A macro F1 that once came back with another last bit, and numbers all over.
        let many = (1..2000).map(|i| (f64::from(i) * 0.737).sin() * f64::from(i).powi(i % 7 - 3));
        let numbers: Vec<f64> = std::iter::once(0.908_699_109_627_902_1)
            .chain(many)
            .collect();
        write_json(&path, &numbers).unwrap();
        assert_eq!(read_json::<Vec<f64>>(&path).unwrap(), numbers);
    }

    #[test]
    fn a_run_keeps_the_rule_that_its_subsets_were_drawn_by() {
        let root = tempfile::tempdir().unwrap();
        let run = create(root.path());
        let rule = || run.recipe(&[]).unwrap().data.split_rule;
        assert_eq!(rule(), SplitRule::Seeded);
        let mut environment = Environment {
            kiln: "0.2.0".into(),
            platform: "linux-x86_64".into(),
            device: "cpu".into(),
            threads: 2,
            seed: 0,
            data: BTreeMap::new(),
            split_rule: SplitRule::Seeded,
        };
        run.write_json(RunFile::Environment, &environment).unwrap();
        assert_eq!(rule(), SplitRule::Seeded);
        // Runs of before do not name theirs.
        let text = run.read_text(RunFile::Environment).unwrap();
        let mut fields: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&text).unwrap();
        fields.remove("split_rule");
        run.write_json(RunFile::Environment, &fields).unwrap();
        assert_eq!(rule(), SplitRule::ByLabel);
        environment.split_rule = SplitRule::ByLabel;
        assert_eq!(run.environment().unwrap(), environment);
    }

    #[test]
    fn a_folder_that_was_left_without_a_recipe_is_begun_again() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("small");
        fs::create_dir_all(folder.join("checkpoints")).unwrap();
        fs::write(folder.join(".kiln-abc.tmp"), "half a recipe").unwrap();
        let error = RunDir::open(&folder).unwrap_err();
        assert_eq!(error.hint(), Some(crate::Hint::TrainFromRecipe));
        let (run, lock) = RunDir::create(root.path(), &recipe()).unwrap();
        assert_eq!(name(&run), "small");
        assert!(!folder.join(".kiln-abc.tmp").exists());
        // Another process that has not come to its recipe yet keeps its folder.
        fs::remove_file(run.file(RunFile::Recipe)).unwrap();
        let (next, _) = RunDir::create(root.path(), &recipe()).unwrap();
        assert_eq!(name(&next), "small-2");
        drop(lock);
        // What somebody else put there is left alone.
        fs::write(folder.join("notes.txt"), "mine").unwrap();
        assert_eq!(name(&create(root.path())), "small-3");
    }

    #[test]
    fn temporary_files_of_a_killed_process_are_removed_under_the_lock() {
        let root = tempfile::tempdir().unwrap();
        let run = create(root.path());
        let left = [".kiln-1.tmp", "checkpoints/.kiln-2.tmp"].map(|name| run.path().join(name));
        let kept = run.path().join("other.tmp");
        for path in left.iter().chain([&kept]) {
            fs::write(path, "").unwrap();
        }
        let lock = run.lock().unwrap();
        assert!(left.iter().all(|path| !path.exists()) && kept.exists());
        let error = run.lock().unwrap_err();
        assert!(matches!(error, RunError::File(FileError::Locked { .. })));
        drop(lock);
        run.lock().unwrap();
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
            .map(|recipe| RunDir::create(root.path(), recipe).unwrap().0)
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
        let error = RunDir::open(root.path()).unwrap_err();
        assert_eq!(error.hint(), Some(crate::Hint::NameRun));
        let error = error.to_string();
        assert!(
            error.contains("is not a run directory: it has no `recipe.toml`"),
            "{error}"
        );
    }

    #[test]
    fn a_root_that_cannot_be_written_is_one_clear_error() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let error = RunDir::create(&file, &recipe()).unwrap_err().to_string();
        assert!(error.starts_with("cannot write"), "{error}");
    }
}
