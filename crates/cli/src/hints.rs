//! What to do about errors, for the line `help: …`.
//!
//! Libraries return hints as values, since they know neither commands nor options. Here they become
//! text: one function for each crate.

use std::error::Error;

use kiln_assets::{AssetError, AssetFile, CacheError, FetchError, Wanted};
use kiln_data::{DataError, FilesError};
use kiln_model::RecipeError;
use kiln_trainer::TrainError;

/// Returns what to do about an error: the hint of the first in its chain that has one.
pub fn help(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|error| {
        assets(error)
            .or_else(|| data(error))
            .or_else(|| model(error))
            .or_else(|| runs(error))
            .or_else(|| training(error))
    })
}

/// Hints of `kiln_assets`.
pub fn assets(error: &(dyn Error + 'static)) -> Option<String> {
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

/// Hints of `kiln_model`.
pub fn model(error: &(dyn Error + 'static)) -> Option<String> {
    use kiln_model::Hint;

    Some(match error.downcast_ref::<RecipeError>()?.hint()? {
        Hint::Sweep => "train its combinations with `kiln sweep`, or leave the sweep out with --set sweep=".into(),
        Hint::NoSweep => "train it with `kiln run`, or vary something, such as --set 'sweep.training.seed=[0, 1, 2]'".into(),
        Hint::CompileBackbone => {
            "other backbones are compiled in: name their ONNX files in KILN_BACKBONES and build kiln again, see docs/backbones.md"
                .into()
        }
        // A hint that is newer than this text.
        _ => return None,
    })
}

/// Hints of `kiln_run`.
pub fn runs(error: &(dyn Error + 'static)) -> Option<String> {
    use kiln_run::Hint;

    Some(match error.downcast_ref::<kiln_run::RunError>()?.hint()? {
        Hint::NameRun => "name a folder that `kiln train` made, such as runs/quickstart".into(),
        Hint::NameSweep => "name a folder that `kiln sweep` made, such as runs/report-sweep".into(),
        Hint::TrainFromRecipe => {
            "run `kiln train` with its recipe, which begins again in this folder".into()
        }
        Hint::RestoreWeights => "restore the file, or train again".into(),
        // A hint that is newer than this text.
        _ => return None,
    })
}

/// Hints of `kiln_trainer`.
pub fn training(error: &(dyn Error + 'static)) -> Option<String> {
    use kiln_trainer::Hint;

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
        Hint::Resume => "`kiln train --resume RUN` continues after the last whole epoch".into(),
        // A hint that is newer than this text.
        _ => return None,
    })
}

/// Hints of `kiln_data`.
pub fn data(error: &(dyn Error + 'static)) -> Option<String> {
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
        Hint::CompleteDataset => {
            "name the folder with all files, or fetch the dataset with `kiln fetch`".into()
        }
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
    fn a_device_that_is_not_built_in_says_how_to_build_it() {
        let device = kiln_trainer::DeviceKind::Cuda;
        let error = TrainError::DeviceNotBuilt { device };
        let help = help(&error.into()).unwrap();
        assert!(
            help.contains("--features cuda") && help.contains("--device cpu"),
            "{help}"
        );
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
