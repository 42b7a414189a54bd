//! Taking an asset from files that the user has.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::deliver::budget;
use crate::error::{ByHand, Failure};
use crate::extract::{self, Kind};
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
        let name = || asset.name.clone();
        let refused = |reason| FetchError::Supplied {
            asset: name(),
            path: path.to_owned(),
            reason: Box::new(reason),
            by_hand: Box::new(ByHand::new(asset, folder.clone(), |_| true)),
        };
        match result {
            Ok(()) => {}
            Err(Failure::Source(reason)) => return Err(refused(reason)),
            Err(Failure::Cancelled) => return Err(FetchError::Cancelled { asset: name() }),
            Err(Failure::Cache(error)) => return Err(error.into()),
        }
        if taken.is_empty() {
            let wanted: Vec<&str> = asset.files.iter().map(|file| file.name.as_str()).collect();
            let container = path.display().to_string();
            return Err(refused(SourceError::Missing {
                container,
                member: wanted.join(" nor "),
            }));
        }
        if !self.missing(asset).is_empty() {
            let taken = taken
                .iter()
                .map(|&index| asset.files[index].name.clone())
                .collect();
            let by_hand = Box::new(self.by_hand(asset));
            return Err(FetchError::SuppliedInPart {
                asset: name(),
                path: path.to_owned(),
                taken,
                by_hand,
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
    match extract::kind(path).map_err(|error| unreadable(path, &error))? {
        Kind::Zip | Kind::TarGz => {
            extract::extract(path, budget(asset), &|member| asset.position(member), sink)
        }
        Kind::Single => {
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
#[path = "supply_tests.rs"]
mod tests;
