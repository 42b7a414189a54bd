//! Recipes that cannot be read, and runs that cannot be trained, exported, swept or reported.

use std::path::PathBuf;

use super::images::Missing;
use crate::hint::Hint;

/// A recipe file that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeFileError {
    /// Reading failed.
    #[error("cannot read the recipe {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is not text.
    #[error("the recipe {} is not UTF-8 text: recipes are TOML files", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
}

impl RecipeFileError {
    /// Returns what to do about the error.
    pub fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::Read { .. } => Hint::RecipesInModels,
            Self::NotText { .. } => Hint::CheckPath,
        })
    }
}

/// Images that no recipe can be made for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// Nothing lies at this path.
    #[error("expected a folder of images or a CSV list, found nothing at `{}`", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// Files that are read whole, at which nothing looks beforehand.
    #[error("`{}` holds CIFAR's or IDX files, expected a folder, a list, Parquet or tar files", path.display())]
    ReadWhole {
        /// The path.
        path: PathBuf,
    },
    /// The path is not UTF-8, as recipes are.
    #[error("the path `{}` is not UTF-8, and a recipe could not name it", path.display())]
    NotUtf8 {
        /// The path.
        path: PathBuf,
    },
    /// The folder is a run.
    #[error("`{}` is a run: expected a folder of images", path.display())]
    Run {
        /// The run directory.
        path: PathBuf,
    },
    /// There is nothing to tell apart.
    #[error(
        "`{dataset}` has one class only, `{class}`: a classifier needs two or more: add images of the others"
    )]
    OneClass {
        /// The dataset.
        dataset: String,
        /// The class.
        class: String,
    },
}

impl InitError {
    /// Returns what to do about the error.
    pub fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::Missing { .. } => Hint::CheckPath,
            Self::NotUtf8 { .. } => Hint::Rename,
            Self::Run { path } => Hint::UseRun { run: path.clone() },
            Self::OneClass { .. } | Self::ReadWhole { .. } => return None,
        })
    }
}

/// A run that cannot be trained or resumed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrainRunError {
    /// The run was trained on other images.
    #[error("{} was trained on other data: its checksums differ", run.display())]
    OtherData {
        /// The run directory.
        run: PathBuf,
    },
    /// Changes that a training which goes on cannot have.
    #[error(
        "{} can go on with other `epochs`, another `schedule` or `early_stopping` in its last phase, and nothing else",
        run.display()
    )]
    NotExtended {
        /// The run directory.
        run: PathBuf,
    },
    /// A training that is to go on has no checkpoint.
    #[error("{} has no checkpoint after an epoch from which it could go on", run.display())]
    NoCheckpoint {
        /// The run directory.
        run: PathBuf,
    },
    /// A training that is to go on has no epoch left.
    #[error(
        "{} has {epochs} epochs already, and by its epochs and early stopping none is left",
        run.display()
    )]
    NothingLeft {
        /// The run directory.
        run: PathBuf,
        /// The number of its epochs.
        epochs: usize,
    },
    /// Initial weights that are no run's.
    #[error("cannot begin with `{}`: {problem}", path.display())]
    Initial {
        /// The run directory or file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A frozen tensor was changed.
    #[error("tensor `{name}` is frozen, but its checksum changed: this is a bug in kiln")]
    FrozenChanged {
        /// The tensor's name.
        name: String,
    },
    /// The scales with which the epochs so far began are gone.
    #[error("{} lacks `{}`, with which its training began", run.display(), kiln_run::RunFile::Unfolded)]
    NotUnfolded {
        /// The run directory.
        run: PathBuf,
    },
}

impl TrainRunError {
    /// Returns what to do about the error.
    pub fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::OtherData { .. } | Self::NotUnfolded { .. } | Self::NoCheckpoint { .. } => {
                Hint::TrainAgain
            }
            Self::FrozenChanged { .. } => Hint::ReportBug,
            Self::NotExtended { run } => Hint::BeginWithRun { run: run.clone() },
            Self::NothingLeft { .. } => Hint::MoreEpochs,
            Self::Initial { .. } => Hint::CheckPath,
        })
    }
}

/// A phase whose learning rates cannot be tested.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RangeTestError {
    /// The recipe has fewer phases.
    #[error("expected a phase from 1 to {phases}, found {number}")]
    NoPhase {
        /// The phase asked for.
        number: usize,
        /// Number of phases.
        phases: usize,
    },
    /// L-BFGS.
    #[error(
        "the optimizer `lbfgs` has no learning rate: it finds the length of each step by itself, with the loss of all images"
    )]
    NoLearningRate,
    /// The loss is no number before a step has changed a weight.
    #[error("the loss of the first step is {loss}, before any weight has changed")]
    NotFinite {
        /// The loss.
        loss: f64,
    },
}

impl RangeTestError {
    /// Returns what to do about the error.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::NotFinite { .. } => Some(Hint::CheckWeightsAndImages),
            Self::NoPhase { .. } | Self::NoLearningRate => None,
        }
    }
}

/// A backbone that cannot be read from its file, or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackboneError {
    /// The file cannot be read.
    #[error(transparent)]
    Load(kiln_onnx::LoadError),
    /// The file is another one than the run was trained with.
    #[error("the backbone `{}` has changed since the recipe was read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A sidecar that makes no preprocessing record.
    #[error(transparent)]
    Preprocessing(kiln_model::OverridesError),
    /// No engine loads it.
    #[error(
        "no engine runs the backbone{}",
        .0.as_ref().map_or_else(String::new, |error| format!(": {error}"))
    )]
    NoEngine(Option<Box<kiln_inference::LoadError>>),
    /// Segments that Burn cannot compute.
    #[error(transparent)]
    Segments(kiln_model::ModelError),
    /// Tensors that cannot be read.
    #[error(transparent)]
    Values(kiln_import::GraphError),
    /// No head can be grafted onto it.
    #[error(transparent)]
    Graft(kiln_exporter::GraftError),
    /// The frozen part of an exported file is not the original's: a mistake in kiln.
    #[error("the nodes or tensors of the backbone differ in the exported file")]
    NotKept,
    /// Training images that change in every epoch.
    #[error(
        "the frozen part of this backbone runs on an inference engine, once for every image, and `[augmentation]` \
         changes the images in every epoch: give it a number of `views`, such as 4"
    )]
    Augmentation,
    /// A form of export that such a model does not have.
    #[error("a model with a backbone from a file cannot be exported with {form}")]
    Form {
        /// The form.
        form: &'static str,
    },
}

impl BackboneError {
    /// Returns what to do about the error.
    pub fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::Load(_) => Hint::CheckPath,
            Self::Changed { .. } => Hint::TrainAgain,
            Self::NotKept => Hint::ReportBug,
            Self::Augmentation
            | Self::Preprocessing(_)
            | Self::Segments(_)
            | Self::Values(_)
            | Self::NoEngine(_)
            | Self::Graft(_)
            | Self::Form { .. } => return None,
        })
    }
}

/// A run that cannot be exported as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExportRunError {
    /// The run has no weights: its training did not finish an epoch.
    #[error("{} has no weights: its training did not finish the first epoch", run.display())]
    NoWeights {
        /// The run directory.
        run: PathBuf,
    },
    /// Burn computes scores that are not numbers.
    #[error("Burn computes scores that are not numbers: the weights are unusable")]
    NotFinite,
    /// It was cancelled while thresholds were chosen.
    #[error("the export was stopped while thresholds were chosen")]
    Stopped,
    /// Thresholds are chosen on images that are not there.
    #[error(
        "`export.threshold` is \"best_f1\", which is chosen on the validation images, and the dataset {} is not there",
        missing.name()
    )]
    NoThresholds {
        /// What is missing.
        missing: Missing,
    },
    /// The probabilities of the other kind were asked for.
    #[error(
        "the model is trained with the loss `{loss}`: its probabilities are those of a {right}"
    )]
    OtherProbabilities {
        /// Its loss.
        loss: &'static str,
        /// The function that its probabilities are of.
        right: &'static str,
    },
    /// Only the head was asked for, and no layer is frozen.
    #[error("no layer of `{recipe}` is frozen: there is no head to export alone")]
    NoFrozenPrefix {
        /// The recipe's name.
        recipe: String,
    },
    /// The file in the run has golden vectors, and those of the new one cannot be made.
    #[error(
        "{} has golden vectors, which cannot be made again without the dataset {}",
        path.display(), missing.name()
    )]
    GoldenLost {
        /// The file.
        path: PathBuf,
        /// What would be needed.
        missing: Missing,
    },
    /// The file in the run has golden vectors, and the new one would have none.
    #[error("{} has golden vectors, and this file would have none", path.display())]
    GoldenReplaced {
        /// The file.
        path: PathBuf,
    },
}

impl ExportRunError {
    /// Returns what to do about the error.
    pub fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::NoWeights { run } => Hint::ResumeTraining { run: run.clone() },
            Self::NotFinite => Hint::TrainAgain,
            Self::NoThresholds {
                missing: Missing::Asset { name },
            }
            | Self::GoldenLost {
                missing: Missing::Asset { name },
                ..
            } => Hint::FetchAsset { name },
            Self::Stopped | Self::NoThresholds { .. } => return None,
            Self::OtherProbabilities { right, .. } => Hint::Probabilities { of: right },
            Self::NoFrozenPrefix { .. } => Hint::WholeExport,
            Self::GoldenLost { .. } | Self::GoldenReplaced { .. } => Hint::OtherOutput,
        })
    }
}

/// A run that cannot be reported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReportRunError {
    /// The training did not finish an epoch.
    #[error("{} has no epoch to report: its training did not finish the first", run.display())]
    NoEpoch {
        /// The run directory.
        run: PathBuf,
    },
    /// Another number of runs than can be compared.
    #[error("expected 2 to {most} runs to compare, found {found}")]
    Runs {
        /// Number of runs found.
        found: usize,
        /// Most that one page compares.
        most: usize,
    },
    /// The predictions are not those of the run's test images.
    #[error("{}: {problem}", path.display())]
    Predictions {
        /// The file of predictions.
        path: PathBuf,
        /// Expected and found.
        problem: String,
    },
}

impl ReportRunError {
    /// Returns what to do about the error.
    pub fn hint(&self) -> Option<Hint> {
        Some(match self {
            Self::NoEpoch { run } => Hint::ResumeTraining { run: run.clone() },
            Self::Predictions { .. } => Hint::TrainAgain,
            Self::Runs { .. } => return None,
        })
    }
}

/// A sweep that cannot be run or reported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SweepError {
    /// A combination cannot be run.
    #[error("combination `{label}`: {source}")]
    Combination {
        /// The combination.
        label: String,
        /// Why it cannot be run.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The results cannot be written as CSV.
    #[error("cannot write the results as CSV: {0}")]
    Csv(#[from] csv::Error),
    /// Pruning compares combinations of one process.
    #[error(
        "`sweep.halving` compares all combinations after the same epochs, so that processes cannot share the sweep: leave out the \
         shard, or set `sweep.halving` to false"
    )]
    HalvingShared,
}
