//! What to do about errors, for the line `help: …`.
//!
//! Libraries return hints as values, since they know neither commands nor options. Here they become
//! text: one function for each crate.

use std::error::Error;

use kiln_assets::{AssetError, AssetFile, CacheError, FetchError, Wanted};
use kiln_data::{DataError, FilesError};

/// Returns what to do about an error: the hint of the first in its chain that has one.
pub fn help(error: &anyhow::Error) -> Option<String> {
    error
        .chain()
        .find_map(|error| assets(error).or_else(|| data(error)))
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
    use super::*;

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
