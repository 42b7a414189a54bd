//! Networks out of published weights: converted once, and kept beside the weights.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use kiln_assets::{Asset, Fetched, FetchedFile};
use kiln_util::{VERSION, write_atomically};
use kiln_zoo::{Network, read_labels};

use crate::context::Context;
use crate::error::Result;
use crate::error::models::{NetworkError, OverridesError};

/// Returns the network whose weights an asset has, if it is of such a kind.
pub(crate) fn of(asset: &Asset) -> Option<Network> {
    asset.name.parse().ok()
}

/// What stands for a file of labels: the names of the 1,000 classes of `ImageNet`, which are fetched.
pub const IMAGENET: &str = "imagenet";

/// Reads the names of classes from a text file, one a line; or returns those of `ImageNet`'s 1,000 classes where the
/// path is `imagenet` and no such file is there.
///
/// # Errors
///
/// The file cannot be read, or the names not be fetched.
pub fn labels(path: &Path, context: &Context<'_>) -> Result<Vec<String>> {
    if path != Path::new(IMAGENET) || path.exists() {
        return Ok(kiln_inference::read_labels(path).map_err(OverridesError::from)?);
    }
    let asset = Asset::named("imagenet-labels")?;
    let fetched = context
        .assets
        .require(&asset, context.observer, &context.cancel)?;
    let file = fetched
        .files
        .first()
        .ok_or(NetworkError::Files { found: 0 })?;
    let bytes = fs::read(&file.path).map_err(NetworkError::unreadable(&file.path))?;
    Ok(read_labels(&bytes).map_err(NetworkError::labels(&file.path))?)
}

/// Returns where a network's model is kept, `folder` being that of its weights.
///
/// It is converted once. A change to the conversion raises the asset's version, and with it the folder.
pub(crate) fn file(network: Network, folder: &Path) -> PathBuf {
    folder.join(format!("{network}.onnx"))
}

/// Makes the model of a network out of its weights and labels, unless it is there already; returns it in
/// place of them.
pub(crate) fn converted(network: Network, asset: &Asset, sources: Fetched) -> Result<Fetched> {
    let path = file(network, &sources.folder);
    if !path.is_file() {
        write_atomically(&path, &convert(network, asset, &sources)?)?;
    }
    let size = fs::metadata(&path).map_err(NetworkError::unreadable(&path))?;
    let origin = sources.files.into_iter().map(|file| file.origin).next();
    Ok(Fetched {
        folder: sources.folder,
        files: vec![FetchedFile {
            path,
            size: size.len(),
            origin: origin.unwrap_or(kiln_assets::Origin::Cache),
        }],
    })
}

/// Returns the model file's content.
fn convert(network: Network, asset: &Asset, sources: &Fetched) -> Result<Vec<u8>> {
    let paths: Vec<&Path> = sources
        .files
        .iter()
        .map(|file| file.path.as_path())
        .collect();
    let read = |path: &Path| fs::read(path).map_err(NetworkError::unreadable(path));
    let (weights, labels) = match paths[..] {
        [weights] => (weights, Vec::new()),
        [weights, labels] => {
            let names = read_labels(&read(labels)?).map_err(NetworkError::labels(labels))?;
            (weights, names)
        }
        _ => return Err(NetworkError::Files { found: paths.len() }.into()),
    };
    let model = network
        .convert(&read(weights)?, labels, provenance(asset))
        .map_err(NetworkError::weights(weights))?;
    Ok(kiln_onnx::encode(&model))
}

/// Where the files come from: for each one its package and checksum.
fn provenance(asset: &Asset) -> BTreeMap<String, String> {
    let mut provenance = BTreeMap::from([
        ("kiln".to_owned(), VERSION.to_owned()),
        ("network".to_owned(), asset.name.clone()),
        ("license".to_owned(), asset.license.clone()),
        ("origin".to_owned(), asset.origin.clone()),
    ]);
    for (index, (file, part)) in asset.files.iter().zip(["weights", "labels"]).enumerate() {
        let source = asset.sources.iter().find(|source| source.has(index));
        provenance.extend(source.map(|source| (part.to_owned(), source.to_string())));
        provenance.insert(format!("{part}_sha256"), file.sha256.clone());
    }
    provenance
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_is_an_asset() {
        for network in Network::ALL {
            let asset = Asset::named(network.as_str()).unwrap();
            assert_eq!(of(&asset), Some(network));
            assert_eq!(
                asset.files.len(),
                1 + usize::from(network.classes().is_some())
            );
            let provenance = provenance(&asset);
            assert!(provenance["weights"].starts_with("Python package "));
            assert_eq!(provenance["weights_sha256"], asset.files[0].sha256);
            assert_eq!(
                provenance.contains_key("labels"),
                network.classes().is_some()
            );
        }
        assert_eq!(of(&Asset::vgg16()), None);
    }

    #[test]
    fn weights_that_are_none_leave_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let weights = folder.path().join("weights");
        fs::write(&weights, "cos\nsystem\n.").unwrap();
        let sources = Fetched {
            folder: folder.path().into(),
            files: vec![FetchedFile {
                path: weights,
                size: 12,
                origin: kiln_assets::Origin::Cache,
            }],
        };
        let network = Network::MobileNetV2;
        let error = converted(network, &Asset::mobilenet_v2(), sources).unwrap_err();
        assert!(error.to_string().starts_with("cannot convert "), "{error}");
        assert!(!file(network, folder.path()).exists());
    }
}
