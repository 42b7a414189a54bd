//! What to do about an error, as a value: the program says it in the words of its own interface.

use std::path::PathBuf;

/// What to do about an error.
///
/// Values name no options and no commands: the command line prints them as `help: …`, a server may
/// answer with a field.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// Check that the path is right and can be read.
    CheckPath,
    /// Check the content of the file.
    CheckFile,
    /// Check the glob pattern.
    CheckPattern,
    /// Check the names of the classes, or use another dataset.
    CheckClasses,
    /// Rename the file or folder, so that its path is UTF-8.
    Rename,
    /// Write to another file.
    OtherFile,
    /// Make room on the disk; then resume where that is possible, or start over.
    MakeRoom {
        /// Whether what was written can be resumed.
        resumable: bool,
    },

    /// Specify a key of the model overrides, in the request or in the sidecar.
    Specify {
        /// `preprocess`, `size` or `labels`.
        key: &'static str,
        /// Where a sidecar is looked for.
        sidecar: PathBuf,
    },
    /// Give each class a name of its own by specifying the labels.
    UniqueLabels,
    /// Use the engine that can compute on a GPU.
    EngineForCuda,
    /// Load the whole model rather than its head.
    WholeModel,
    /// Convert the model to a newer operator set, or make its weights alone smaller.
    NewerOpset {
        /// The oldest that will do.
        needed: i64,
    },
    /// Name layers as the list of those in 8 bits does.
    QuantizedLayers {
        /// One that is called nearly so.
        near: Option<String>,
    },
    /// Export the model of a run first.
    ExportFirst {
        /// The run directory.
        run: PathBuf,
    },
    /// Export the model with golden vectors.
    ExportWithGolden,

    /// Use what `--data` of an evaluation may be: a dataset's name, a folder of class folders, a
    /// list in CSV.
    UseDataset,
    /// Name a subset, since the folder has several and none for testing.
    UseSubset {
        /// One of them.
        example: PathBuf,
    },
    /// Evaluate on the dataset that the model was trained for.
    MatchDataset,
    /// Name images, or a list of them.
    GiveImages,
    /// Name the files, in place of a pattern.
    GiveFiles,
    /// Add a column `label` to the list.
    AddLabels,
    /// Specify it in a file beside the model rather than in a copy.
    Sidecar,
    /// Specify that each class has a score by itself.
    IndependentClasses,
    /// Name the files of a subset.
    UseFiles {
        /// A pattern of such.
        example: PathBuf,
    },
    /// Name such files by the recipe's key `files`.
    UseFilesKey,
    /// Repair or remove the images that cannot be read, or skip them.
    SkipUnreadable,
    /// Remove the images for which the model gives no number, or skip them.
    SkipUnclassified,

    /// End the file's name in one of these.
    EndIn {
        /// `.csv`, `.jsonl`.
        endings: &'static [&'static str],
    },
    /// Write to another file, or start over in place of resuming.
    StartOver,
    /// Write lines, which can be resumed, and make a Parquet file of them afterwards.
    Lines,
    /// Resume the shard, so that it is whole.
    FinishShard,
    /// Name the files of the other shards too.
    AddShards,
    /// Name one file for each shard.
    LeaveOutFile,
    /// Remove the line and all below it, or start over in place of resuming.
    RemoveLine,
    /// Resume with the same images in the same order.
    SameImages,
    /// Repair the images and start over, or skip them.
    RepairAndStartOver,

    /// Look at where the graph of a model can be cut.
    ListSegments {
        /// The model's file.
        file: PathBuf,
    },
    /// Take this output of the graph.
    TakeOutput {
        /// A segment.
        output: String,
    },
    /// Specify the size of the images.
    SpecifySize,
    /// Name one of the model's classes, or give its number.
    NameClass {
        /// How many there are.
        classes: usize,
    },
    /// Give a size in pixels from 1 on that is not too large.
    Within {
        /// `patch` or `stride`.
        key: &'static str,
        /// The largest that is possible.
        most: usize,
    },
    /// Explain the model by covering patches of the image, which needs its scores alone.
    CoverPatches,
    /// Use smaller batches.
    SmallerBatches,
    /// Compare models with the same classes in the same order.
    SameClasses,
    /// Move the file away, or write to another folder.
    OtherFolder,
    /// Leave out this format, which cannot express the model.
    LeaveOutFormat {
        /// `Hugging Face`.
        format: &'static str,
        /// What else would do.
        or: Option<&'static str>,
    },

    /// Leave out a key of the recipe, or do something else.
    LeaveOutKey {
        /// `data.test_split`.
        key: &'static str,
        /// What else would do.
        or: &'static str,
    },
    /// Raise the limit, change the split, or add images.
    AddImages,
    /// Add images of the class, or remove the class.
    AddImagesOrRemoveClass,
    /// Fetch an asset, or write another file.
    FetchAsset {
        /// Its name.
        name: &'static str,
    },
    /// Write another file than the run's own.
    OtherOutput,
    /// Report the error: it is a bug.
    ReportBug,
    /// See the recipes that come with kiln.
    RecipesInModels,
    /// Train the recipe again.
    TrainAgain,
    /// Begin another training with the weights of the run.
    BeginWithRun {
        /// The run directory.
        run: PathBuf,
    },
    /// Give a number of epochs that is larger.
    MoreEpochs,
    /// Check the weights that the training begins with, the images and their preprocessing.
    CheckWeightsAndImages,
    /// Resume the training of a run.
    ResumeTraining {
        /// The run directory.
        run: PathBuf,
    },
    /// Resume the run, or train its recipe again.
    UseRun {
        /// The run directory.
        run: PathBuf,
    },
    /// Export the whole model, since no layer is frozen.
    WholeExport,
    /// Ask for the probabilities of this function.
    Probabilities {
        /// `softmax` or `sigmoid`.
        of: &'static str,
    },
}
