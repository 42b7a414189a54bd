//! The assets that kiln knows.

mod mnist;
mod onnxruntime;
mod vgg16;

use crate::{Asset, Platform};

/// A name or a platform for which there is no asset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssetError {
    /// No asset has this name.
    #[error("there is no asset `{name}`: choose among {}", Asset::NAMES.join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
    },
    /// The asset depends on the platform and there is none for this one.
    #[error(
        "there is no ONNX Runtime {version} package for {platform} (there is one for {}): run with tract, or build or \
         install ONNX Runtime yourself and set KILN_ORT_LIB to its shared library",
        Platform::list()
    )]
    Platform {
        /// ONNX Runtime's version.
        version: &'static str,
        /// The operating system and architecture of this machine.
        platform: String,
    },
}

impl Asset {
    /// The names that [`named`](Self::named) takes.
    pub const NAMES: [&str; 3] = ["mnist", "vgg16", "onnxruntime"];

    /// The asset of this name, for the platform that the program runs on.
    pub fn named(name: &str) -> Result<Self, AssetError> {
        match name {
            "mnist" => Ok(Self::mnist()),
            "vgg16" => Ok(Self::vgg16()),
            "onnxruntime" => match Platform::current() {
                Some(platform) => Ok(Self::onnxruntime(platform)),
                None => Err(AssetError::Platform {
                    version: onnxruntime::VERSION,
                    platform: Platform::describe(),
                }),
            },
            _ => Err(AssetError::Unknown {
                name: name.to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;

    fn all() -> Vec<Asset> {
        let mut assets = vec![Asset::mnist(), Asset::vgg16()];
        assets.extend(Platform::ALL.map(Asset::onnxruntime));
        assets
    }

    /// Names become paths: a separator or a leading dot in one would leave the cache or hide a
    /// file.
    fn plain(name: &str) -> bool {
        !name.starts_with('.')
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    }

    #[test]
    fn every_entry_is_sound() {
        for asset in all() {
            assert!(
                Asset::NAMES.contains(&asset.name.as_str()) && plain(&asset.version),
                "{asset:?}"
            );
            assert!(
                !asset.licence.is_empty() && !asset.origin.is_empty() && !asset.sources.is_empty(),
                "{asset:?}"
            );
            for file in &asset.files {
                let digits = file
                    .sha256
                    .bytes()
                    .filter(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
                    .count();
                assert!(plain(&file.name) && file.size > 0, "{file:?}");
                assert_eq!((digits, file.sha256.len()), (64, 64), "{file:?}");
            }
            for source in &asset.sources {
                match source {
                    Source::Http { base, .. } => assert!(
                        base.starts_with("https://") && base.ends_with('/'),
                        "{base}"
                    ),
                    _ => assert_eq!(source.members().len(), asset.files.len(), "{source}"),
                }
            }
        }
    }

    #[test]
    fn every_name_leads_to_its_asset() {
        for name in Asset::NAMES {
            match Asset::named(name) {
                Ok(asset) => assert_eq!(asset.name, name),
                Err(error) => assert_eq!(
                    (name, Platform::current()),
                    ("onnxruntime", None),
                    "{error}"
                ),
            }
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let message = Asset::named("cifar").unwrap_err().to_string();
        assert_eq!(
            message,
            "there is no asset `cifar`: choose among mnist, vgg16, onnxruntime"
        );
    }
}
