//! What to do about errors, for the line `help: …`.
//!
//! Libraries return hints as values, since they know neither commands nor options. Here they become
//! text: one function for each crate.

use std::error::Error as StdError;

use kiln_assets::{AssetError, AssetFile, CacheError, FetchError, Wanted};
use kiln_data::{DataError, FilesError};
use kiln_pipeline::dataset::Missing;
use kiln_pipeline::{Error, Hint};

/// Returns an error's text in the words of the command line, where an override of a recipe is an
/// argument of `--set`.
pub fn message(error: &anyhow::Error) -> String {
    let text = error.to_string();
    match text.strip_prefix("override ") {
        Some(rest) => format!("--set {rest}"),
        None => text,
    }
}

/// Returns what to do about an error: the hint of the first in its chain that has one.
pub fn help(error: &anyhow::Error) -> Option<String> {
    error
        .chain()
        .find_map(|cause| match cause.downcast_ref::<Error>() {
            Some(error) => of(error),
            None => library(cause),
        })
}

/// Returns what to do about an error of the pipeline.
pub fn of(error: &Error) -> Option<String> {
    match error.hint() {
        Some(hint) => Some(pipeline(&hint)),
        None => library(error.inner()),
    }
}

/// Returns what to do about an error of one of the libraries below the pipeline.
fn library(error: &(dyn StdError + 'static)) -> Option<String> {
    model(error)
        .or_else(|| trainer(error))
        .or_else(|| runs(error))
        .or_else(|| assets(error))
        .or_else(|| data(error))
        .or_else(|| inference(error))
        .or_else(|| onnx(error))
        .or_else(|| preprocess(error))
}

/// Describes a dataset that is not on the machine.
pub fn missing(missing: &Missing) -> String {
    match missing {
        Missing::Asset { name } => {
            format!("`{name}` is not in the cache; `kiln fetch {name}` downloads it")
        }
        Missing::Path { path } => format!("the dataset `{path}` is not there"),
        // One that is newer than this text.
        missing => format!("`{}` is not there", missing.name()),
    }
}

/// Says how to get the engine that was not compared.
pub fn absent_engines(present: &[&str]) -> &'static str {
    if has_onnx_runtime(present) {
        ""
    } else {
        " (`kiln fetch onnxruntime` adds ONNX Runtime)"
    }
}

/// Whether the engine is there that can be fetched.
pub fn has_onnx_runtime(present: &[&str]) -> bool {
    present.contains(&"ONNX Runtime")
}

/// Says how to see where a model's graph can be cut.
fn segments(file: impl std::fmt::Display) -> String {
    format!("`kiln describe {file} --segments` lists where the graph can be cut")
}

/// Hints of `kiln_pipeline`.
fn pipeline(hint: &Hint) -> String {
    match hint {
        Hint::CheckPath => "check the path".into(),
        Hint::CheckFile => "check the file".into(),
        Hint::CheckPattern => "check the pattern".into(),
        Hint::CheckClasses => "check the names, or the dataset".into(),
        Hint::Rename => "rename it".into(),
        Hint::OtherFile => "name another file".into(),
        Hint::MakeRoom { resumable: true } => "make room, and use --resume or begin again".into(),
        Hint::MakeRoom { resumable: false } => "make room".into(),
        Hint::Specify { key, sidecar } => {
            let value = match *key {
                "labels" => "FILE.txt",
                "size" => "N",
                _ => "raw|caffe|torch|tf|unit",
            };
            format!(
                "give --{key} {value} (`kiln describe`: --set {key}={value}), or write it in {} \
                 (docs/third-party.md)",
                sidecar.display()
            )
        }
        Hint::UniqueLabels => "give each a name of its own with --labels".into(),
        Hint::EngineForCuda => "use --engine ort with --device cuda".into(),
        Hint::NewerOpset { needed } => format!(
            "convert it first, such as with Python's `onnx.version_converter.convert_version(model, {needed})`; \
             `--fp16` takes any opset"
        ),
        Hint::QuantizedLayers { near: Some(near) } => format!("did you mean `{near}`?"),
        Hint::QuantizedLayers { near: None } => {
            "`kiln describe MODEL.onnx --segments` lists the layers".into()
        }
        Hint::WholeModel => "name the file of the whole model".into(),
        Hint::ExportFirst { run } => format!("`kiln export {}` writes its model", run.display()),
        Hint::ExportWithGolden => {
            "`kiln export RUN` writes golden vectors if the dataset is at hand".into()
        }
        Hint::UseDataset => {
            "use mnist:test, mnist:train, or the path of a folder of images, a CSV file or a Parquet file".into()
        }
        Hint::UseSubset { example } => {
            format!("name the folder to evaluate, such as {}", example.display())
        }
        Hint::MatchDataset => "evaluate on the dataset that it was trained for".into(),
        Hint::GiveImages => "name images, or a list of them with --list".into(),
        Hint::GiveFiles => "name the files".into(),
        Hint::IndependentClasses => {
            "say so if each class has a score by itself: `--output sigmoid`, or `sigmoid_logits` before the sigmoid".into()
        }
        Hint::Sidecar => {
            "write the same into a file beside the model, its name ending in .toml (docs/third-party.md)".into()
        }
        Hint::AddLabels => "add a column `label` to the list".into(),
        Hint::UseFilesKey => "write `files = …` in place of `folder = …`".into(),
        Hint::UseFiles { example } => format!("name the files, such as `{}`", example.display()),
        Hint::SkipUnreadable => "repair or remove them, or skip them with --skip-bad".into(),
        Hint::SkipUnclassified => {
            "skip such images with --skip-bad; a graph may divide by zero for an image of one color"
                .into()
        }
        Hint::EndIn { endings } => {
            let (last, others) = match endings {
                [only] => (*only, String::new()),
                [others @ .., last] => (*last, format!("{} or ", others.join(", "))),
                [] => ("another word", String::new()),
            };
            format!("end its name in {others}{last}")
        }
        Hint::Lines => {
            "write .csv or .jsonl, which can be resumed; `kiln merge` makes a Parquet file of it".into()
        }
        Hint::FinishShard => "complete it with --resume, with the same images and model".into(),
        Hint::AddShards => "name the files of these shards too".into(),
        Hint::LeaveOutFile => "name one file for each shard of one job".into(),
        Hint::StartOver => "write to another file, or leave out --resume to start over".into(),
        Hint::RemoveLine => {
            "remove the line and all below it, or leave out --resume to start over".into()
        }
        Hint::SameImages => "resume with the same images in the same order".into(),
        Hint::RepairAndStartOver => {
            "repair them and leave out --resume to start over, or skip them with --skip-bad".into()
        }
        Hint::ListSegments { file } => segments(file.display()),
        Hint::TakeOutput { output } => format!("give --output {output}"),
        Hint::SpecifySize => "give --size N".into(),
        Hint::NameClass { classes } => format!(
            "name one of its {}, or give a number from 0 to {}",
            kiln_util::counted(*classes as u64, "class"),
            classes.saturating_sub(1)
        ),
        Hint::Within { key, most } => format!("give a --{key} from 1 to {most}"),
        Hint::CoverPatches => "leave out --method: occlusion needs the model's scores alone".into(),
        Hint::SmallerBatches => "use a smaller --batch-size".into(),
        Hint::SameClasses => "compare models with the same classes in the same order".into(),
        Hint::OtherFolder => "move it away, or name another folder".into(),
        Hint::LeaveOutFormat { format, or } => match or {
            Some(or) => format!("leave out {format}, or {or}"),
            None => format!("leave out {format}"),
        },
        Hint::LeaveOutKey { key, or } => format!("leave out `{key}`, or {or}"),
        Hint::AddImages => "raise `data.limit`, change `data.test_split` or \
                            `data.validation_split`, or add images"
            .into(),
        Hint::AddImagesOrRemoveClass => "add some, or remove the class".into(),
        Hint::FetchAsset { name } => {
            format!("`kiln fetch {name}` downloads it, or write another file with -o")
        }
        Hint::OtherOutput => "write another file with -o".into(),
        Hint::ReportBug => "please report it".into(),
        Hint::RecipesInModels => {
            "the recipes that come with kiln are in models/, and a folder of images needs none".into()
        },
        Hint::TrainAgain => "train it again with `kiln run`".into(),
        Hint::BeginWithRun { run } => {
            let run = run.display();
            format!("`kiln train RECIPE --set training.init={run}` begins another training with its weights")
        }
        Hint::CheckWeightsAndImages => {
            "check the weights it begins with, the images and their preprocessing".into()
        }
        Hint::MoreEpochs => {
            "give more, such as `--set training.epochs=20`, or change `training.early_stopping` too".into()
        }
        Hint::ResumeTraining { run } => {
            format!("`kiln train --resume {}` resumes it", run.display())
        }
        Hint::UseRun { run } => {
            let run = run.display();
            format!("`kiln run --resume {run}` resumes it, `kiln run {run}/recipe.toml` trains it again")
        }
        Hint::WholeExport => "leave out --head-only".into(),
        Hint::Probabilities { of } => format!("give --{of}"),
        // A hint that is newer than this text.
        _ => "see the documentation".into(),
    }
}

/// Hints of `kiln_assets`.
pub fn assets(error: &(dyn StdError + 'static)) -> Option<String> {
    use kiln_assets::Hint;

    let hint = if let Some(error) = error.downcast_ref::<FetchError>() {
        error.hint()?
    } else if let Some(error) = error.downcast_ref::<CacheError>() {
        error.hint()?
    } else {
        error.downcast_ref::<AssetError>()?.hint()?
    };
    Some(match hint {
        Hint::LeaveOfflineMode(wanted) => {
            format!(
                "leave out --offline and unset KILN_OFFLINE, or {}",
                supply(&wanted)
            )
        }
        Hint::GoOnline(wanted) => format!(
            "go online or install a package client named above and try again, or {}",
            supply(&wanted)
        ),
        Hint::Supply(wanted) => supply(&wanted),
        Hint::FetchAgain => "run the same command again to resume".into(),
        Hint::NameCache => "set KILN_CACHE to a folder to use instead".into(),
        Hint::RepairCache => {
            "free space or grant access there, or set KILN_CACHE to another folder".into()
        }
        Hint::InstallOnnxRuntime => {
            "run with --engine tract, or build or install ONNX Runtime yourself and set KILN_ORT_LIB to its shared library"
                .into()
        }
        // A hint that is newer than this text.
        _ => return None,
    })
}

/// Hints of `kiln_data`.
fn data(error: &(dyn StdError + 'static)) -> Option<String> {
    use kiln_data::Hint;

    let hint = if let Some(error) = error.downcast_ref::<DataError>() {
        error.hint()?
    } else {
        error.downcast_ref::<FilesError>()?.hint()?
    };
    Some(match hint {
        Hint::SkipUnreadable { images } => {
            let them = if images == 1 { "it" } else { "them" };
            format!("repair or remove {them}, or skip {them} with --skip-bad")
        }
        Hint::SkipEmptyClasses { classes } => {
            let (them, folders) = match classes.len() {
                1 => ("it", "its folder"),
                _ => ("them", "their folders"),
            };
            format!("add images, remove {folders}, or skip {them} with --skip-bad")
        }
        Hint::RenameClasses => "give each class a name of its own with --labels".into(),
        Hint::NameSubsets => {
            "put a folder for each class into `train`, and into `val` and `test` if there are such images, \
             or list the images with their classes in a CSV file"
                .into()
        }
        Hint::CompleteDataset => {
            "name the folder with all files, or fetch the dataset with `kiln fetch`".into()
        }
        Hint::AddLabelFile => "add the file of labels, or rename the files".into(),
        Hint::FreeTemporary => {
            "free disk space there, or set TMPDIR to a folder that has room".into()
        }
        Hint::Store(cure) => store(cure)?.into(),
        _ => return None,
    })
}

/// Hints about object stores and web servers.
fn store(cure: kiln_data::Cure) -> Option<&'static str> {
    use kiln_data::Cure;

    Some(match cure {
        Cure::CheckUrl => "check the URL; that of a folder ends in `/`",
        Cure::GiveCredentials { scheme: "gs" } => {
            "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a file of a service account"
        }
        Cure::GiveCredentials { .. } => {
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE to a profile that has keys"
        }
        Cure::CheckCredentials => {
            "check the credentials, and that they allow to read and to list the bucket"
        }
        Cure::ExportCredentials => {
            "check what is specified; of what is not supported, the store's own program gives credentials: \
             `eval \"$(aws configure export-credentials --format env)\"`, or set GOOGLE_OAUTH_ACCESS_TOKEN to what \
             `gcloud auth print-access-token` prints"
        }
        Cure::NewUrl => {
            "check the URL: a signature in it allows one method for some time, so it may have to be made anew"
        }
        Cure::Download => "download the files, and name those",
        Cure::RunAgain => "run it again: a file of predictions is continued with --resume",
        _ => return None,
    })
}

/// Asks for files of an asset. Reads as the end of a sentence.
fn supply(wanted: &Wanted) -> String {
    let name = &wanted.asset;
    let how = if wanted.single {
        format!(
            "run `kiln fetch {name} --from FILE` with this file, or an archive (.gz, .tgz, .zip, .whl) of it:"
        )
    } else {
        format!(
            "run `kiln fetch {name} --from FOLDER` with a folder, or an archive (.tgz, .zip), of:"
        )
    };
    let file = |AssetFile { name, size, sha256 }: &AssetFile| {
        format!("\n  {name}, {size} bytes, SHA-256 {sha256}")
    };
    let files: String = wanted.files.iter().map(file).collect();
    let folder = wanted.folder.display();
    format!("{how}{files}\nWhat is supplied is verified and stored in {folder}")
}

/// Hints of `kiln_inference`.
fn inference(error: &(dyn StdError + 'static)) -> Option<String> {
    use kiln_inference::{EngineError, Hint, LoadError, RunError, VerifyError};

    let hint = if let Some(error) = error.downcast_ref::<LoadError>() {
        error.hint()?
    } else if let Some(error) = error.downcast_ref::<EngineError>() {
        error.hint()?
    } else if let Some(error) = error.downcast_ref::<RunError>() {
        error.hint()?
    } else {
        error.downcast_ref::<VerifyError>()?.hint()?
    };
    if let Some(command) = install(&hint) {
        return Some(format!(
            "run `{command}`, or set KILN_ORT_LIB to the library's file"
        ));
    }
    Some(match hint {
        Hint::SupportedDevice { engines } => {
            let engines = engines
                .iter()
                .map(|engine| format!("--engine {engine}, or "));
            format!("use {}--device cpu", engines.collect::<String>())
        }
        Hint::InstallCuda => {
            "use a GPU build of ONNX Runtime with CUDA and cuDNN installed, or --device cpu".into()
        }
        Hint::OutputIsLogits => "give --output logits if it holds those".into(),
        Hint::ChooseOutput => "name one of these with --output-name".into(),
        Hint::OutputIsSigmoid => {
            "leave out --threshold, or say that each class has a score by itself with --output sigmoid|sigmoid_logits".into()
        }
        Hint::MatchThresholds => "give --threshold one number, or one for each class with commas between them".into(),
        Hint::TwoLabels => "give two labels with --labels: the score is that of the second".into(),
        Hint::NoDistribution => {
            "give --output sigmoid if each class has a probability by itself, --output logits if these are none; if the model ends \
             in a softmax, export it with one over the classes".into()
        }
        other => other.to_string(),
    })
}

/// The command that installs what a hint of `kiln_inference` asks for.
pub fn install(hint: &kiln_inference::Hint) -> Option<&'static str> {
    (*hint == kiln_inference::Hint::InstallOnnxRuntime).then_some("kiln fetch onnxruntime")
}

/// Hints of `kiln_preprocess`.
fn preprocess(error: &(dyn StdError + 'static)) -> Option<String> {
    let error = error.downcast_ref::<kiln_preprocess::PreprocessError>()?;
    Some(error.hint().to_string())
}

/// Hints of `kiln_onnx`.
fn onnx(error: &(dyn StdError + 'static)) -> Option<String> {
    use kiln_onnx::{DecodeError, LoadError, MetadataError, TensorError};

    let hint = if let Some(error) = error.downcast_ref::<LoadError>() {
        error.hint()?
    } else if let Some(error) = error.downcast_ref::<DecodeError>() {
        error.hint()?
    } else if let Some(error) = error.downcast_ref::<MetadataError>() {
        error.hint()?
    } else {
        error.downcast_ref::<TensorError>()?.hint()?
    };
    Some(hint.to_string())
}

/// Hints of `kiln_model`.
fn model(error: &(dyn StdError + 'static)) -> Option<String> {
    use kiln_model::{Hint, RecipeError};

    Some(match error.downcast_ref::<RecipeError>()?.hint()? {
        Hint::Sweep => "train its combinations with `kiln sweep`, or leave the sweep out with --set sweep=".into(),
        Hint::NoSweep => "train it with `kiln run`, or vary something, such as --set 'sweep.training.seed=[0, 1, 2]'".into(),
        Hint::BackboneFile => {
            "for another network, leave out `name` and give its ONNX file: weights = \"digits.onnx\"".into()
        }
        Hint::FetchWeights { asset } => format!("run `kiln fetch {asset}` where there is a network"),
        Hint::ListSegments { file } => segments(file),
        // A hint that is newer than this text.
        _ => return None,
    })
}

/// Hints of `kiln_run`.
fn runs(error: &(dyn StdError + 'static)) -> Option<String> {
    use kiln_run::Hint;

    Some(match error.downcast_ref::<kiln_run::RunError>()?.hint()? {
        Hint::NameRun => "name a folder that `kiln train` made, such as runs/quickstart".into(),
        Hint::NameSweep => "name a folder that `kiln sweep` made, such as runs/report-sweep".into(),
        Hint::TrainFromRecipe => {
            "run `kiln train` with its recipe, which begins again in this folder".into()
        }
        Hint::OtherFolder => "name another folder".into(),
        Hint::RestoreWeights => "restore the file, or train again".into(),
        Hint::SweepApart => {
            "use a folder with locks (NFS has them from version 4 on), or run the sweep in one process"
                .into()
        }
        // A hint that is newer than this text.
        _ => return None,
    })
}

/// Hints of `kiln_trainer`.
fn trainer(error: &(dyn StdError + 'static)) -> Option<String> {
    use kiln_trainer::{Hint, TrainError};

    let error = error.downcast_ref::<TrainError>()?;
    // An error that is passed on as it is does not stand in the chain.
    if let TrainError::Data(error) = error {
        return data(error);
    }
    Some(match error.hint()? {
        Hint::UseMoreImages => "use more of the dataset, or another validation_split".into(),
        Hint::LowerLearningRate => {
            "lower `training.optimizer.learning_rate`, or check the data and `input.preprocess`"
                .into()
        }
        Hint::ReportBug => "this is a bug in kiln, please report it with the recipe".into(),
        Hint::UseBackboneFile { asset: None } => {
            "specify an ONNX file of this network in float32".into()
        }
        Hint::UseBackboneFile { asset: Some(asset) } => format!(
            "specify an ONNX file of this network in float32, such as `kiln fetch {asset}` brings"
        ),
        Hint::ShrinkModel => "use smaller images or layers".into(),
        Hint::TrainAgain => "train again from the beginning".into(),
        Hint::BuildWithDevice(device) => format!(
            "build it with `cargo build --release -p kiln-cli --features {device}`, or train with --device cpu"
        ),
        Hint::UseCpu => {
            "`kiln doctor` shows what is missing; --device cpu trains on the CPU".into()
        }
        Hint::UseFloat32 => {
            "leave `training.precision` out, or train with --set training.precision=float32".into()
        }
        Hint::Resume => "`kiln train --resume RUN` continues after the last whole epoch".into(),
        // A hint that is newer than this text.
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use kiln_model::Recipe;

    use super::*;

    #[test]
    fn hints_name_commands_and_options() {
        let text = "layers = [{ type = \"flatten\" }, { type = \"dense\", units = 10 }]\n[sweep]\n";
        let error = Recipe::parse(text, "r.toml", "r", &[]).unwrap_err();
        let help = help(&error.into()).unwrap();
        assert!(help.contains("`kiln sweep`"), "{help}");
    }

    #[test]
    fn an_error_that_was_wrapped_keeps_its_hint() {
        let error = FilesError::Unreadable {
            name: "`digits`".into(),
            bad: 2,
            total: 9,
            examples: Vec::new(),
        };
        let error = anyhow::Error::from(DataError::from(error)).context("while training");
        let help = help(&error);
        assert_eq!(
            help.as_deref(),
            Some("repair or remove them, or skip them with --skip-bad")
        );
    }

    #[test]
    fn files_to_supply_are_listed_with_their_checksums() {
        let folder = tempfile::tempdir().unwrap();
        let cache = kiln_assets::Cache::at(folder.path());
        let cancel = kiln_util::CancelToken::new();
        let fetcher = kiln_assets::Fetcher::new(cache, &kiln_assets::Silent, &cancel);
        let error = fetcher
            .with_offline(true)
            .fetch(&kiln_assets::Asset::vgg16())
            .unwrap_err();
        let help = assets(&error).unwrap();
        let mut lines = help.lines();
        assert_eq!(
            lines.next(),
            Some(
                "leave out --offline and unset KILN_OFFLINE, or run `kiln fetch vgg16 --from FILE` with this file, or an \
                 archive (.gz, .tgz, .zip, .whl) of it:"
            )
        );
        assert!(lines.next().unwrap().contains(" bytes, SHA-256 "), "{help}");
        assert!(
            lines
                .next()
                .unwrap()
                .starts_with("What is supplied is verified and stored in "),
            "{help}"
        );
    }

    #[test]
    fn other_errors_have_none() {
        assert_eq!(help(&anyhow::anyhow!("no such thing")), None);
    }
}
